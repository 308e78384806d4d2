package session

import (
	"fmt"
	"net"
	"testing"

	"github.com/redisx/redisx/internal/servers/serverstest"
)

// BenchmarkCallers measures commands per second on one connection to a real
// server, by the number of concurrent callers.
func BenchmarkCallers(b *testing.B) {
	addr := serverstest.Start(b).Addr
	for _, callers := range []int{1, 8, 64, 512, 4096} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			c, err := Open(bg, nc, Config{Node: addr}, Hello{})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			b.ReportAllocs()
			left := make(chan struct{}, callers)
			per := b.N/callers + 1
			b.ResetTimer()
			for range callers {
				go func() {
					r := request("ECHO", "some value")
					for range per {
						reply, err := c.Do(bg, &r)
						if err != nil {
							b.Error(err)
							break
						}
						reply.Release()
					}
					left <- struct{}{}
				}()
			}
			for range callers {
				<-left
			}
		})
	}
}
