package redisx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/telemetry"
)

// witness keeps everything that a client tells.
type witness struct {
	mu       sync.Mutex
	started  int
	commands []telemetry.Command
	keys     []string
	retries  []telemetry.Retry
	conns    []telemetry.Conn
	panics   []telemetry.Panic
	wire     bytes.Buffer
	refuse   error
}

type spanKey struct{}

func (w *witness) CommandStarted(ctx context.Context, c *telemetry.Command) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started++
	w.keys = append(w.keys, c.Keys()...)
	return context.WithValue(ctx, spanKey{}, w.started)
}

func (w *witness) CommandEnded(ctx context.Context, c *telemetry.Command) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ended := *c
	ended.Keys = nil
	if ctx.Value(spanKey{}) == nil {
		ended.Name = "lost its context"
	}
	w.commands = append(w.commands, ended)
}

func (w *witness) AdmitCommand(context.Context, *telemetry.Command) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuse
}

func (w *witness) CommandRetried(_ context.Context, r telemetry.Retry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retries = append(w.retries, r)
}

func (w *witness) ConnChanged(c telemetry.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, c)
}

func (w *witness) WireMoved(e telemetry.Wire) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wire.Write(e.Data)
}

func (w *witness) ObserverPanicked(p telemetry.Panic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.panics = append(w.panics, p)
}

// taken returns the commands told of since the last call.
func (w *witness) taken() []telemetry.Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.commands
	w.commands = nil
	return c
}

func connectObserved(t *testing.T, url string, set func(*redisx.Config), observers ...redisx.Observer) *redisx.Client {
	t.Helper()
	cfg, err := redisx.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Observers = observers
	if set != nil {
		set(&cfg)
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	client, err := redisx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestEveryCommandIsToldOfOnceWithItsOutcome(t *testing.T) {
	srv := serverstest.Start(t)
	w := &witness{}
	client := connectObserved(t, srv.URL(), nil, w)
	want := func(what string, name string, o telemetry.Outcome, attempts int) telemetry.Command {
		t.Helper()
		got := w.taken()
		if len(got) != 1 || got[0].Name != name || got[0].Outcome != o || got[0].Attempts != attempts ||
			(o == telemetry.OK) != (got[0].Err == nil) || got[0].Duration <= 0 {
			t.Fatalf("%s: told %+v, want %s %s after %d attempts", what, got, name, o, attempts)
		}
		return got[0]
	}
	client.Set(bg, "k", "v")
	if c := want("a write", "SET", telemetry.OK, 1); c.RequestBytes == 0 || c.ReplyBytes == 0 || c.Node != srv.Addr {
		t.Errorf("%+v", c)
	}
	client.Get(bg, "absent")
	want("an answer that is nothing", "GET", telemetry.OK, 1)
	client.LPush(bg, "k", "x")
	want("an error reply", "LPUSH", telemetry.Failed, 1)
	client.Cmd(bg, "SELECT", 1)
	want("what the client refuses", "SELECT", telemetry.NotSent, 0)
	ctx, cancel := context.WithCancel(bg)
	cancel()
	client.Get(ctx, "k")
	want("cancelled before it was sent", "GET", telemetry.NotSent, 0)
	srv.Pause()
	ctx, cancel = context.WithCancel(bg)
	onceSent(t, client, cancel)
	client.Incr(ctx, "n")
	if c := want("cancelled after it was sent", "INCR", telemetry.Maybe, 1); !errors.Is(c.Err, context.Canceled) {
		t.Errorf("%v", c.Err)
	}
	srv.Resume()
	client.BLPop(bg, 10*time.Millisecond, "queue")
	if c := want("one that blocks", "BLPOP", telemetry.OK, 1); c.Block != 10*time.Millisecond {
		t.Errorf("%v", c.Block)
	}

	p := client.Pipeline()
	p.Set("a", "1")
	p.LPush("a", "x")
	p.Get("a")
	p.Exec(bg)
	c := want("a pipeline", "PIPELINE", telemetry.Failed, 1)
	if len(c.Batch) != 3 || c.Batch[0].Outcome != telemetry.OK || c.Batch[1].Outcome != telemetry.Failed || c.Batch[2].Name != "GET" {
		t.Errorf("%+v", c.Batch)
	}
	tx := client.Tx()
	tx.Incr("n")
	tx.Exec(bg)
	all := w.taken() // a client asks once whether MULTI is allowed
	if c := all[len(all)-1]; c.Name != "MULTI" || len(c.Batch) != 3 || c.Outcome != telemetry.OK {
		t.Errorf("a transaction: %+v", c)
	}
	client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error { _, err := s.Get(ctx, "a"); return err })
	want("a session's", "GET", telemetry.OK, 1)
	if keys := strings.Join(w.keys, " "); !strings.HasPrefix(keys, "k absent k k n queue a a a") {
		t.Errorf("keys %s", keys)
	}
}

func TestAGateRefusesBeforeAnythingIsSent(t *testing.T) {
	srv := serverstest.Start(t)
	w := &witness{}
	client := connectObserved(t, srv.URL(), nil, w)
	open := errors.New("the breaker is open")
	w.refuse = open
	sent := client.Stats().Commands
	err := client.Set(bg, "k", "v")
	var e *redisx.Error
	if !errors.Is(err, open) || !errors.As(err, &e) || e.Outcome != command.NotSent || !redisx.SafeToRetry(err) {
		t.Errorf("%v", err)
	}
	p := client.Pipeline()
	f := p.Get("k")
	if err := p.Exec(bg); !errors.Is(err, open) {
		t.Errorf("a pipeline: %v", err)
	}
	if _, err := f.Result(); !errors.Is(err, open) {
		t.Errorf("a command of it: %v", err)
	}
	if got := w.taken(); len(got) != 2 || got[0].Outcome != telemetry.NotSent || got[1].Batch[0].Outcome != telemetry.NotSent {
		t.Errorf("told %+v", got)
	}
	if n := client.Stats().Commands - sent; n != 0 {
		t.Errorf("%d commands were sent", n)
	}
}

// grenade panics in everything that it is told, as long as it is armed.
type grenade struct{ armed atomic.Bool }

func (g *grenade) pull() {
	if g.armed.Load() {
		panic("grenade")
	}
}

func (g *grenade) CommandStarted(ctx context.Context, _ *telemetry.Command) context.Context {
	g.pull()
	return ctx
}
func (g *grenade) CommandEnded(context.Context, *telemetry.Command) { g.pull() }
func (g *grenade) ConnChanged(telemetry.Conn)                       { g.pull() }
func (g *grenade) WireMoved(telemetry.Wire)                         { g.pull() }

func TestAnObserverThatPanicsBreaksNoConnection(t *testing.T) {
	srv := serverstest.Start(t)
	g, w := &grenade{}, &witness{}
	g.armed.Store(true)
	client := connectObserved(t, srv.URL(), nil, g, w)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			key := fmt.Sprint("k", i)
			if err := client.Set(bg, key, key); err != nil {
				t.Error(err)
			}
			if v, err := client.Get(bg, key); v != key || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
	wg.Wait()
	st := client.Stats()
	if st.Reconnects != 0 || st.Panics < 200 || len(w.panics) == 0 || w.panics[0].Observer != "*redisx_test.grenade" {
		t.Errorf("%d reconnects, %d panics, told of %d", st.Reconnects, st.Panics, len(w.panics))
	}
}

// A read that is answered at last is no error, but its attempts are seen; an
// increment whose connection is cut after it ran stays one increment.
func TestExecuteThenDrop(t *testing.T) {
	incr := func(ctx context.Context, c *redisx.Client) error { _, err := c.Incr(ctx, "n"); return err }
	get := func(ctx context.Context, c *redisx.Client) error { _, err := c.Get(ctx, "k"); return err }
	set := func(ctx context.Context, c *redisx.Client) error { return c.Set(ctx, "k", "v") }
	for _, tt := range []struct {
		name     string
		run      func(context.Context, *redisx.Client) error
		ctx      context.Context
		attempts int
	}{
		{"INCR", incr, bg, 1},
		{"INCR", incr, redisx.Repeatable(bg), 1},
		{"GET", get, bg, 3},
		{"SET", set, bg, 1},
		{"SET", set, redisx.Repeatable(bg), 3},
		{"SET", func(ctx context.Context, c *redisx.Client) error {
			_, err := c.Cmd(ctx, "SET", "k", "v", "NX")
			return err
		}, redisx.Repeatable(bg), 1},
	} {
		srv, w := newFakeServer(t), &witness{}
		client := connectObserved(t, srv.url, nil, w)
		var seen atomic.Int64
		srv.play(tt.name, func(c *wire) { seen.Add(1); c.Close() })
		err := tt.run(tt.ctx, client)
		var e *redisx.Error
		if !errors.As(err, &e) || e.Outcome != command.Maybe || e.Attempts != tt.attempts || seen.Load() != int64(tt.attempts) {
			t.Errorf("%s: %v, the server saw %d, want %d", tt.name, err, seen.Load(), tt.attempts)
		}
		if got := w.taken(); len(got) != 1 || got[0].Attempts != tt.attempts || got[0].Outcome != telemetry.Maybe {
			t.Errorf("%s: told %+v", tt.name, got)
		}
		again := tt.attempts - 1
		if st := client.Stats(); st.Retries.Maybe != int64(again) || st.Errors.Maybe != 1 || len(w.retries) != again {
			t.Errorf("%s: %+v, %+v, told of %d retries", tt.name, st.Retries, st.Errors, len(w.retries))
		}
	}
}

// A server that reads its data set refuses commands until it has it.
func TestALoadingServerIsWaitedFor(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Args: []string{
		"--save", "3600 1000000", "--key-load-delay", "400", "--loading-process-events-interval-bytes", "1024",
	}})
	w := &witness{}
	client := connectObserved(t, srv.URL(), func(c *redisx.Config) { c.OfflineWait = 20 * time.Second; c.Retry.NotRun = 1000 }, w)
	p := client.Pipeline()
	for i := range 2000 {
		p.Set(fmt.Sprint("key", i), strings.Repeat("x", 50))
	}
	if err := p.Exec(bg); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Cmd(bg, "SAVE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	restarted := make(chan error, 1)
	go func() { restarted <- srv.Restart(ctx) }()
	for over := false; !over; {
		select {
		case err := <-restarted:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		default:
		}
		if v, err := client.Get(ctx, "key0"); err != nil || len(v) != 50 {
			t.Fatalf("GET = %q, %v", v, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if st := client.Stats(); st.Retries.Refused == 0 || len(w.retries) == 0 {
		t.Errorf("%+v: the server was never seen loading, the test shows nothing; %+v", st.Retries, w.conns)
	}
}

func TestNoSecretReachesEventsWireOrLog(t *testing.T) {
	const password, wrong = "swordfish-right", "swordfish-wrong"
	srv := serverstest.Start(t, servers.Options{Password: password})
	w := &witness{}
	var log bytes.Buffer
	client := connectObserved(t, srv.URL(), func(c *redisx.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}, w)
	client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
		s.Cmd(ctx, "AUTH", wrong)
		s.Cmd(ctx, "HELLO", 3, "AUTH", "user", wrong, wrong)
		s.Cmd(ctx, "ACL", "SETUSER", "u", ">"+wrong, "+"+wrong)
		s.Cmd(ctx, "CONFIG", "GET", "requirepass")
		return nil
	})
	client.Cmd(bg, "CONFIG", "SET", "requirepass", password)
	client.Cmd(bg, "ACL", "SETUSER", "u", ">"+wrong, "~"+wrong)
	client.Set(bg, "k", "shown")
	cfg, _ := redisx.ParseURL(srv.URL())
	cfg.Password = wrong
	cfg.Observers = []redisx.Observer{w}
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := redisx.ConnectConfig(bg, cfg); err == nil {
		t.Error("a wrong password was accepted")
	}
	client.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	told := fmt.Sprintf("%+v %+v %+v", w.commands, w.retries, w.conns)
	for where, text := range map[string]string{"events": told, "wire": w.wire.String(), "log": log.String()} {
		if strings.Contains(text, "swordfish") {
			t.Errorf("a password in the %s: %s", where, text)
		}
	}
	if !strings.Contains(w.wire.String(), "shown") || !strings.Contains(log.String(), "WRONGPASS") || len(w.commands) < 5 {
		t.Errorf("nothing was shown: the test shows nothing; log %s", &log)
	}
}

func TestStateFollowsTheConnection(t *testing.T) {
	srv := serverstest.Start(t)
	w := &witness{}
	client := connectObserved(t, srv.URL(), nil, w)
	if s := client.State(); !s.Up || s.Err != nil || time.Since(s.Since) > time.Minute {
		t.Errorf("%+v", s)
	}
	srv.Kill()
	for end := time.Now().Add(5 * time.Second); client.State().Up && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if s := client.State(); s.Up || s.Err == nil || s.Since.IsZero() {
		t.Errorf("without a server: %+v", s)
	}
	until(t, "word of the end", func() bool { // it may come after that of the next dial
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.conns[len(w.conns)-1].State == telemetry.Down
	})
	client.Get(bg, "k")
	if s := client.State(); s.Up || s.Err == nil || !strings.Contains(s.Err.Error(), "refused") {
		t.Errorf("after a dial: %+v", s)
	}
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	if err := srv.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	for client.Set(ctx, "k", "v") != nil && ctx.Err() == nil {
	}
	if s := client.State(); !s.Up || client.Stats().Reconnects != 1 || client.Stats().DialFailures == 0 {
		t.Errorf("%+v, %+v", s, client.Stats())
	}
	client.Close()
	if st := client.Stats(); st.Conns != 0 || st.InFlight != 0 || client.State().Up {
		t.Errorf("after Close: %+v", st)
	}
	var states []string
	for _, c := range w.conns {
		if c.Role == "shared" && (len(states) == 0 || states[len(states)-1] != string(c.State)) {
			states = append(states, string(c.State))
		}
	}
	got := strings.Join(states, " ")
	if !strings.HasPrefix(got, "dialing up down dialing dial_failed") || !strings.HasSuffix(got, "dialing up down") {
		t.Errorf("states %s", got)
	}
}

func TestAnObserverMayCloseTheClientWhenACommandEnds(t *testing.T) {
	srv := serverstest.Start(t)
	c := &leaver{}
	c.client.Store(connectObserved(t, srv.URL(), nil, c))
	if err := c.client.Load().Set(bg, "k", "v"); err != nil {
		t.Error(err)
	}
	if _, err := c.client.Load().Get(bg, "k"); !redisx.SafeToRetry(err) {
		t.Errorf("after Close: %v", err)
	}
}

type leaver struct{ client atomic.Pointer[redisx.Client] }

func (c *leaver) CommandStarted(ctx context.Context, _ *telemetry.Command) context.Context {
	return ctx
}
func (c *leaver) CommandEnded(context.Context, *telemetry.Command) { c.client.Load().Close() }

func TestAnObserverThatListensToNothingIsRefused(t *testing.T) {
	_, err := redisx.ConnectConfig(bg, redisx.Config{Observers: []redisx.Observer{"me"}})
	if err == nil || !strings.Contains(err.Error(), "string implements no interface") {
		t.Errorf("%v", err)
	}
}
