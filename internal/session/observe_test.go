package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/observe"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/telemetry"
)

// watcher keeps what it is told.
type watcher struct {
	mu          sync.Mutex
	out, in     bytes.Buffer // what was shown
	outN, inN   int          // what was told of
	pushes      []telemetry.Push
	states      []telemetry.Conn
	duringState func()
}

func (w *watcher) WireMoved(e telemetry.Wire) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Out {
		w.out.Write(e.Data)
		w.outN += e.Size
	} else {
		w.in.Write(e.Data)
		w.inN += e.Size
	}
}

func (w *watcher) PushReceived(p telemetry.Push) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pushes = append(w.pushes, p)
}

func (w *watcher) ConnChanged(c telemetry.Conn) {
	w.mu.Lock()
	w.states = append(w.states, c)
	w.mu.Unlock()
	if w.duringState != nil {
		w.duringState()
	}
}

func watched(t *testing.T) (*watcher, Config) {
	t.Helper()
	w := &watcher{}
	s, err := observe.New([]telemetry.Observer{w})
	if err != nil {
		t.Fatal(err)
	}
	return w, Config{Observers: s, Group: &Group{}, Role: "shared", ID: 3}
}

func tableRequest(t *testing.T, name string, args ...any) command.Request {
	t.Helper()
	r := command.Untyped(name, args...).Request()
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return r
}

const canary = "swordfish"

// Commands and replies are shown as they travel; of what may hold a secret, only
// the size.
func TestTheWireIsShownWithoutSecrets(t *testing.T) {
	w, cfg := watched(t)
	inBubble(t, cfg, simnet.Options{}, func(c *Conn, p *peer) {
		var sent, received int
		for _, tt := range []struct {
			r     command.Request
			reply string
			shown bool
		}{
			{tableRequest(t, "SET", "k", "plain"), "+OK\r\n", true},
			{tableRequest(t, "AUTH", "user", canary), "-ERR " + canary + "\r\n", false},
			{tableRequest(t, "HELLO", 3, "AUTH", "user", canary), "+OK " + canary + "\r\n", false},
			{tableRequest(t, "CONFIG", "SET", "requirepass", canary), "+OK\r\n", false},
			{tableRequest(t, "CONFIG", "GET", "requirepass"), "$9\r\n" + canary + "\r\n", false},
			{tableRequest(t, "ACL", "SETUSER", "u", ">"+canary), "+OK\r\n", false},
			{tableRequest(t, "ACL", "GENPASS"), "$9\r\n" + canary + "\r\n", false},
			{tableRequest(t, "MIGRATE", "h", 1, "k", 0, 5, "AUTH", canary), "+OK\r\n", false},
			{tableRequest(t, "SENTINEL", "SET", "m", "auth-pass", canary), "+OK\r\n", false},
			{tableRequest(t, "MODULE.AUTH", canary), "+" + canary + "\r\n", false},
			{tableRequest(t, "GET", "k"), "$5\r\nplain\r\n", true},
		} {
			w.mu.Lock()
			w.out.Reset()
			w.in.Reset()
			w.mu.Unlock()
			done := make(chan error)
			go func() {
				reply, err := c.Do(context.Background(), &tt.r)
				reply.Release()
				done <- err
			}()
			p.next()
			p.send(tt.reply)
			<-done
			encoded := tt.r.Append(nil)
			sent += len(encoded)
			received += len(tt.reply)
			wantOut, wantIn := "", ""
			if tt.shown {
				wantOut, wantIn = string(encoded), tt.reply
			}
			if w.out.String() != wantOut || w.in.String() != wantIn {
				t.Errorf("%s: shown %q and %q, want %q and %q", tt.r.Name(), &w.out, &w.in, wantOut, wantIn)
			}
			if w.outN != sent || w.inN != received {
				t.Errorf("%s: told of %d and %d bytes, want %d and %d", tt.r.Name(), w.outN, w.inN, sent, received)
			}
		}
		n := cfg.Group.Counts()
		if n.BytesOut != int64(sent) || n.BytesIn != int64(received) || n.Commands != 11 || n.Open != 1 {
			t.Errorf("counted %+v, want %d and %d bytes of 11 commands", n, sent, received)
		}
	})
}

// Secrets among many commands in one write, some of which are withdrawn before
// it, are still the ones that are hidden.
func TestHiddenPartsMoveWithTheStream(t *testing.T) {
	for _, leaves := range []int{0, 1} { // a secret, and a command before secrets
		hiddenPartsMove(t, leaves)
	}
}

func hiddenPartsMove(t *testing.T, leaves int) {
	w, cfg := watched(t)
	inBubble(t, cfg, simnet.Options{Window: 64}, func(c *Conn, p *peer) {
		var wg sync.WaitGroup
		big := tableRequest(t, "SET", "k", strings.Repeat("x", 200))
		wg.Go(func() { c.Do(context.Background(), &big) }) // its write blocks
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		for i := range 6 {
			r := tableRequest(t, "SET", "k", "plain")
			if i%2 == 0 {
				r = tableRequest(t, "AUTH", canary)
			}
			on := context.Background()
			if i == leaves {
				on = ctx
			}
			wg.Go(func() { c.Do(on, &r) })
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		for range 6 {
			p.next()
		}
		p.send(strings.Repeat("+OK\r\n", 6))
		wg.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if s := w.out.String(); strings.Contains(s, canary) || strings.Count(s, "plain") != 3-leaves {
			t.Errorf("shown %q, want the others in the clear and no secret", s)
		}
		if got := cfg.Group.Counts(); got.Commands != 6 || int64(w.outN) != got.BytesOut {
			t.Errorf("counted %+v, told of %d bytes", got, w.outN)
		}
	})
}

func TestPushesAreToldByTheirKind(t *testing.T) {
	w, cfg := watched(t)
	inBubble(t, cfg, simnet.Options{}, func(c *Conn, p *peer) {
		frame := ">2\r\n$10\r\ninvalidate\r\n_\r\n"
		long := ">1\r\n$200\r\n" + strings.Repeat("k", 200) + "\r\n"
		p.send(frame + long + ">0\r\n")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(w.pushes) != 3 || w.pushes[0] != (telemetry.Push{ID: 3, Node: "peer:1", Kind: "invalidate", Size: len(frame)}) ||
			len(w.pushes[1].Kind) != longKind || w.pushes[2].Kind != "" {
			t.Errorf("%+v", w.pushes)
		}
		if n := cfg.Group.Counts(); n.Pushes != 3 {
			t.Errorf("%d pushes counted", n.Pushes)
		}
	})
}

func TestTheEndOfAConnectionIsToldOnceAndAfterItsBeginning(t *testing.T) {
	for _, how := range []string{"closed", "lost"} {
		w, cfg := watched(t)
		w.duringState = func() { cfg.Group.Counts() } // must not lock itself out
		inBubble(t, cfg, simnet.Options{}, func(c *Conn, p *peer) {
			c.Announce(time.Second)
			time.Sleep(5 * time.Second)
			if how == "lost" {
				p.nc.Cut()
				time.Sleep(2 * time.Second)
			}
			c.Close()
			c.Close()
			if len(w.states) != 2 || w.states[0].State != telemetry.Up || w.states[0].Took != time.Second ||
				w.states[1].State != telemetry.Down || w.states[1].Took < 5*time.Second || w.states[1].ID != 3 || w.states[1].Role != "shared" {
				t.Errorf("%s: %+v", how, w.states)
			}
			if err := w.states[1].Err; (how == "closed") != (err == nil) {
				t.Errorf("%s: the end was because of %v", how, err)
			}
		})
	}
}

func TestAConnectionThatDiesBeforeItIsUpHasFailed(t *testing.T) {
	w, cfg := watched(t)
	inBubble(t, cfg, simnet.Options{}, func(c *Conn, _ *peer) {
		c.Fail(io.ErrUnexpectedEOF)
		c.Announce(0)
		c.Close()
		if len(w.states) != 1 || w.states[0].State != telemetry.DialFailed || !errors.Is(w.states[0].Err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v", w.states)
		}
	})
}

func TestOrphansAreCountedUntilTheirRepliesCome(t *testing.T) {
	cfg := Config{Group: &Group{}}
	inBubble(t, cfg, simnet.Options{}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				r := request("GET", "k")
				c.Do(ctx, &r)
			})
			synctest.Wait()
		}
		cancel()
		wg.Wait()
		if n := cfg.Group.Counts(); n.Orphans != 3 || n.InFlight != 3 || n.Bytes == 0 {
			t.Errorf("%+v, want three orphans", n)
		}
		p.send(strings.Repeat("+OK\r\n", 3))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if n := cfg.Group.Counts(); n.Orphans != 0 || n.InFlight != 0 || n.Bytes != 0 || n.Buffers == 0 {
			t.Errorf("%+v, want none in flight, and a buffer", n)
		}
		c.Close()
		if n := cfg.Group.Counts(); n.Open != 0 || n.Commands != 3 || n.BytesIn != 15 || n.Buffers != 0 {
			t.Errorf("after the end: %+v", n)
		}
	})
}

// Without observers a call costs what it did.
func TestNobodyWatchingAllocatesNothing(t *testing.T) {
	allocs := func(cfg Config) float64 {
		client, server := simnet.Pipe(simnet.Options{})
		c := New(client, cfg)
		defer c.Close()
		go func() {
			defer server.Close()
			rd := resp3.NewReader(server, resp3.Limits{})
			for {
				if _, err := rd.Read(); err != nil {
					return
				}
				if _, err := server.Write([]byte("+OK\r\n")); err != nil {
					return
				}
			}
		}()
		r := request("GET", "k")
		return testing.AllocsPerRun(300, func() {
			reply, err := c.Do(context.Background(), &r)
			if err != nil {
				t.Error(err)
			}
			reply.Release()
		})
	}
	s, err := observe.New([]telemetry.Observer{quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	bare := allocs(Config{})
	if with := allocs(Config{Group: &Group{}}); with > bare+0.5 {
		t.Errorf("%v allocations with statistics, %v without", with, bare)
	}
	if with := allocs(Config{Observers: s}); with > bare+0.5 {
		t.Errorf("%v allocations with an observer of something else, %v without", with, bare)
	}
}

// quiet listens to what does not happen here.
type quiet struct{}

func (quiet) CommandRetried(context.Context, telemetry.Retry) {}
