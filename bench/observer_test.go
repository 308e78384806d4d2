package bench

import (
	"context"
	"net"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/telemetry"
)

// memory dials a server in memory that answers GET and the handshake.
type memory struct{}

func (memory) Dial(context.Context, string, string) (net.Conn, error) {
	client, server := simnet.Pipe(simnet.Options{})
	go func() {
		defer server.Close()
		rd := resp3.NewReader(server, resp3.Limits{})
		for {
			v, err := rd.Read()
			if err != nil {
				return
			}
			reply := "+OK\r\n"
			c := v.Cursor()
			if name, _ := c.Next(); name.Text() == "HELLO" {
				reply = "%1\r\n+proto\r\n:3\r\n"
			}
			if _, err := server.Write([]byte(reply)); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// The observers do nothing, so that only the telling of events is measured.
type (
	nopCommand struct{}
	nopWire    struct{}
	nopConn    struct{}
	nopGate    struct{}
)

func (nopCommand) CommandStarted(ctx context.Context, _ *telemetry.Command) context.Context {
	return ctx
}
func (nopCommand) CommandEnded(context.Context, *telemetry.Command)    {}
func (nopWire) WireMoved(telemetry.Wire)                               {}
func (nopConn) ConnChanged(telemetry.Conn)                             {}
func (nopGate) AdmitCommand(context.Context, *telemetry.Command) error { return nil }

// BenchmarkObserver compares a call that nobody observes with calls that are
// observed by somebody who does nothing. "none" and "conn" must not differ.
func BenchmarkObserver(b *testing.B) {
	for _, tt := range []struct {
		name      string
		observers []redisx.Observer
	}{
		{"none", nil},
		{"conn", []redisx.Observer{nopConn{}}},
		{"gate", []redisx.Observer{nopGate{}}},
		{"command", []redisx.Observer{nopCommand{}}},
		{"wire", []redisx.Observer{nopWire{}}},
		{"all", []redisx.Observer{nopCommand{}, nopGate{}, nopConn{}, nopWire{}}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			client, err := redisx.ConnectConfig(context.Background(), redisx.Config{Dialer: memory{}, Observers: tt.observers})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			b.ReportAllocs()
			stop := reportCPU(b)
			for b.Loop() {
				if _, err := client.Get(context.Background(), "key"); err != nil {
					b.Fatal(err)
				}
			}
			stop()
		})
	}
}
