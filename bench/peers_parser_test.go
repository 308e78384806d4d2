package bench

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/redis/rueidis"
)

// wire is a connection in memory. It swallows what is written and serves the
// answers to the handshake first; after that, as many bytes of a corpus as the
// benchmark says are due.
type wire struct {
	hello []byte // served before anything else
	src   *stream
	due   chan int // how many bytes the next pipeline's replies have
	left  int
	done  chan struct{}
}

func (w *wire) Read(p []byte) (int, error) {
	if len(w.hello) > 0 {
		n := copy(p, w.hello)
		w.hello = w.hello[n:]
		return n, nil
	}
	if w.left == 0 {
		select {
		case w.left = <-w.due:
		case <-w.done:
			return 0, net.ErrClosed
		}
	}
	n, err := w.src.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}

func (w *wire) Write(p []byte) (int, error)      { return len(p), nil }
func (w *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func (w *wire) Close() error {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
	return nil
}

func newWire(c corpus) *wire {
	return &wire{src: newStream(c.unit), due: make(chan int, 1), done: make(chan struct{})}
}

// dial returns another connection that shares what is due. Clients may open
// several.
func (w *wire) dial() *wire {
	return &wire{hello: []byte(helloReply), src: w.src, due: w.due, done: make(chan struct{})}
}

const helloReply = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n" +
	"$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"

// batch is how many commands one pipeline has. It is a multiple of the replies
// in one unit of every corpus.
const batch = 7 * 64

// BenchmarkParserPeers measures what can be reached of the peers' decoders from
// outside. redigo's is nearly bare: Conn.Receive. Those of rueidis and go-redis
// are not exported, so their clients run pipelines over a connection in memory,
// and the cost of the client is in the figure. One operation is one frame.
func BenchmarkParserPeers(b *testing.B) {
	ctx := context.Background()
	for _, c := range corpora {
		replies := c.frames - c.pushes
		bytes := batch / replies * len(c.unit)
		frames := batch / replies * c.frames
		b.Run(c.name+"/rueidis-client", func(b *testing.B) {
			w := newWire(c)
			client, err := rueidis.NewClient(rueidis.ClientOption{
				InitAddress: []string{"127.0.0.1:1"},
				DialCtxFn: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
					return w.dial(), nil
				},
				DisableCache:       true,
				ForceSingleClient:  true,
				DisableRetry:       true,
				ClientSetInfo:      rueidis.DisableClientSetInfo,
				ReadBufferEachConn: 64 << 10,
				PipelineMultiplex:  -1,
			})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { b.StopTimer(); client.Close() }()
			cmds := make(rueidis.Commands, batch)
			b.ReportAllocs()
			b.ResetTimer()
			report := reportCPU(b)
			defer report()
			for done := 0; done < b.N; done += frames {
				for i := range cmds {
					cmds[i] = client.B().Get().Key("k").Build()
				}
				w.due <- bytes
				for _, res := range client.DoMulti(ctx, cmds...) {
					if err := res.NonRedisError(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		if c.resp3 { // go-redis drops a connection with a push in a pipeline; redigo is RESP2 only
			continue
		}
		b.Run(c.name+"/goredis-client", func(b *testing.B) {
			w := newWire(c)
			client := goredis.NewClient(&goredis.Options{
				Dialer:                   func(context.Context, string, string) (net.Conn, error) { return w.dial(), nil },
				DisableIdentity:          true,
				MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
				MaxRetries:               -1,
				PoolSize:                 1,
				ReadBufferSize:           64 << 10,
			})
			defer func() { b.StopTimer(); client.Close() }()
			b.ReportAllocs()
			b.ResetTimer()
			report := reportCPU(b)
			defer report()
			for done := 0; done < b.N; done += frames {
				w.due <- bytes
				p := client.Pipeline()
				for range batch {
					p.Do(ctx, "GET", "k")
				}
				if _, err := p.Exec(ctx); err != nil && err != goredis.Nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/redigo", func(b *testing.B) {
			w := newWire(c)
			conn := redis.NewConn(w, 0, 0)
			b.ReportAllocs()
			b.ResetTimer()
			report := reportCPU(b)
			defer report()
			for i := range b.N {
				if i%batch == 0 {
					w.due <- bytes
				}
				if _, err := conn.Receive(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
