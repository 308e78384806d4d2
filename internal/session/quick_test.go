package session

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
)

var getSpec = command.NewSpec(command.Spec{Name: "ECHO", Arity: 2})

func TestQuick(t *testing.T) {
	addr := os.Getenv("ADDR")
	if addr == "" { return }
	nc, err := net.Dial("tcp", addr)
	if err != nil { t.Fatal(err) }
	c, err := Open(context.Background(), nc, Config{Node: addr}, Hello{ClientName: "t"})
	if err != nil { t.Fatal(err) }
	for _, g := range []int{1, 8, 64, 512, 4096} {
		var wg sync.WaitGroup
		n := 400000 / g
		if g==1 {n=50000}
		t0 := time.Now()
		for i := range g {
			wg.Go(func() {
				ctx := context.Background()
				for j := range n {
					s := fmt.Sprintf("v%d-%d", i, j)
					r := command.NewRequest(getSpec, command.Str(s))
					rep, err := c.Do(ctx, &r)
					if err != nil { t.Error(err); return }
					if rep.View().Text() != s { t.Errorf("got %s want %s", rep.View().Text(), s); return }
					rep.Release()
				}
			})
		}
		wg.Wait()
		d := time.Since(t0)
		t.Logf("g=%d %.0f k/s", g, float64(g*n)/d.Seconds()/1000)
	}
	c.Close()
}
