package redisx_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// idOf returns the server's number of the session's connection.
func idOf(t *testing.T, s *redisx.Session) int64 {
	t.Helper()
	id, err := redisx.Do(bg, s, command.ClientID())
	if err != nil {
		t.Error(err)
	}
	return id
}

// sessionID returns the number of the connection that a session gets now, after
// it did what fn does.
func sessionID(t *testing.T, client *redisx.Client, fn func(ctx context.Context, s *redisx.Session) error) (id int64, err error) {
	t.Helper()
	err = client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
		id = idOf(t, s)
		if fn == nil {
			return nil
		}
		return fn(ctx, s)
	})
	return id, err
}

func TestAConnectionIsKeptOnlyIfItIsAsItWas(t *testing.T) {
	inBothProtocols(t, func(t *testing.T, client *redisx.Client) {
		sends := func(words ...string) func(context.Context, *redisx.Session) error {
			return func(ctx context.Context, s *redisx.Session) error {
				var args []any
				for _, w := range words[1:] {
					args = append(args, w)
				}
				_, err := s.Cmd(ctx, words[0], args...)
				return err
			}
		}
		mine := errors.New("mine")
		for _, tt := range []struct {
			name string
			kept bool
			err  error
			fn   func(context.Context, *redisx.Session) error
		}{
			{"reads and writes", true, nil, func(ctx context.Context, s *redisx.Session) error { return s.Set(ctx, "k", "v") }},
			{"an error of its user's", true, mine, func(context.Context, *redisx.Session) error { return mine }},
			{"a transaction", true, nil, func(ctx context.Context, s *redisx.Session) error {
				tx := s.Tx()
				tx.Incr("n")
				return errors.Join(s.Watch(ctx, "k"), tx.Exec(ctx))
			}},
			{"watched keys", true, nil, sends("WATCH", "k")},
			{"WAIT", true, nil, sends("WAIT", "0", "0")},
			{"SELECT", false, nil, sends("SELECT", "1")},
			{"SELECT in a transaction", false, nil, func(ctx context.Context, s *redisx.Session) error {
				tx := s.Tx()
				redisx.Queue(tx, command.Untyped("SELECT", 1))
				return tx.Exec(ctx)
			}},
			{"SELECT in a pipeline", false, nil, func(ctx context.Context, s *redisx.Session) error {
				p := s.Pipeline()
				redisx.Queue(p, command.Untyped("SELECT", 1))
				return p.Exec(ctx)
			}},
			{"MULTI by hand", false, nil, sends("MULTI")},
			{"a name", false, nil, sends("CLIENT", "SETNAME", "x")},
			{"NO-EVICT", false, nil, sends("CLIENT", "NO-EVICT", "on")},
			{"RESET", false, nil, sends("RESET")},
			{"READONLY", false, nil, func(ctx context.Context, s *redisx.Session) error {
				s.Cmd(ctx, "READONLY")
				return nil
			}},
			{"a command in flight", false, nil, func(ctx context.Context, s *redisx.Session) error {
				ctx, cancel := context.WithCancel(ctx)
				onceSent(t, client, cancel)
				if _, err := redisx.Do(ctx, s, command.BLPop(0, "empty")); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				return nil
			}},
		} {
			before, err := sessionID(t, client, tt.fn)
			if err != tt.err {
				t.Errorf("%s: %v", tt.name, err)
			}
			if after, _ := sessionID(t, client, nil); (before == after) != tt.kept {
				t.Errorf("%s: kept %v, want %v", tt.name, before == after, tt.kept)
			}
			if n, err := redisx.Do(bg, client, command.Exists("k")); err != nil || n > 1 {
				t.Error(err)
			}
		}
		// Where UNWATCH cannot be sent any more, the connection goes.
		ctx, cancel := context.WithCancel(bg)
		var watched int64
		err := client.WithSession(ctx, func(ctx context.Context, s *redisx.Session) error {
			defer cancel()
			watched = idOf(t, s)
			return s.Watch(ctx, "k")
		})
		if after, _ := sessionID(t, client, nil); err != nil || after == watched {
			t.Errorf("a connection that watches is kept, error %v", err)
		}
		// What was watched is forgotten.
		if _, err := sessionID(t, client, sends("WATCH", "k")); err != nil {
			t.Error(err)
		}
		if err := client.Set(bg, "k", "changed"); err != nil {
			t.Error(err)
		}
		if _, err := sessionID(t, client, func(ctx context.Context, s *redisx.Session) error { return s.Tx().Exec(ctx) }); err != nil {
			t.Errorf("a session inherits what another watched: %v", err)
		}
	})
}

func TestAPanicClosesTheConnectionAndGoesOn(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	var before int64
	func() {
		defer func() {
			if r := recover(); r != "mine" {
				t.Errorf("recovered %v", r)
			}
		}()
		sessionID(t, client, func(_ context.Context, s *redisx.Session) error {
			before = idOf(t, s)
			panic("mine")
		})
	}()
	if after, err := sessionID(t, client, nil); err != nil || after == before {
		t.Errorf("connection %d is used again, error %v", before, err)
	}
}

func TestASessionThatIsOverSendsNothing(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	var kept *redisx.Session
	var tx *redisx.Tx
	if _, err := sessionID(t, client, func(_ context.Context, s *redisx.Session) error {
		kept, tx = s, s.Tx()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	n := tx.Incr("n")
	p := kept.Pipeline()
	p.Incr("n")
	_, err1 := kept.Incr(bg, "n")
	_, err2 := n.Result()
	if !errors.Is(err2, redisx.ErrNotExecuted) {
		t.Error(err2)
	}
	for i, err := range []error{err1, tx.Exec(bg), p.Exec(bg), kept.Watch(bg, "k")} {
		if !errors.Is(err, redisx.ErrSessionOver) || !redisx.SafeToRetry(err) {
			t.Errorf("%d: %v", i, err)
		}
	}
	wantText(t, client, "n", "nothing")
}

// Goroutines that outlive their sessions must never touch a connection that
// serves another caller.
func TestAGoroutineThatOutlivesItsSessionDisturbsNobody(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	stop := make(chan struct{})
	var stray, users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for range 50 {
				err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
					begun := make(chan struct{})
					stray.Go(func() {
						for n := 0; ; n++ {
							select {
							case <-stop:
								return
							default:
							}
							if _, err := s.Cmd(bg, "SELECT", 1); errors.Is(err, redisx.ErrSessionOver) {
								return
							}
							if n == 0 {
								close(begun)
							}
						}
					})
					<-begun
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				err = client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
					if err := s.Set(ctx, "in0", "v"); err != nil {
						return err
					}
					info, err := s.Cmd(ctx, "CLIENT", "INFO")
					if !strings.Contains(info.Text(), " db=0 ") {
						t.Errorf("somebody changed the session's database: %s", info.Text())
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
	close(stop)
	stray.Wait()
}

// The shared connection must refuse whatever changes it, and say where to go.
func TestTheSharedConnectionRefusesWhatBindsIt(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	refused := func(cmd command.Cmd[struct{}], name string) string {
		t.Helper()
		_, err := redisx.Do(bg, client, cmd)
		p := client.Pipeline()
		f := redisx.Queue(p, cmd)
		perr := p.Exec(bg)
		_, ferr := f.Result()
		var e *redisx.Error
		if !errors.As(err, &e) || e.Phase != "build" || outcome(t, err) != command.NotSent || perr == nil || outcome(t, ferr) != command.NotSent {
			t.Errorf("%s: %v; in a pipeline: %v, %v", name, err, perr, ferr)
			return ""
		}
		return err.Error()
	}
	tested := 0
	for spec := range command.Table() {
		if spec.Retry != command.RetrySession {
			continue
		}
		tested++
		hint := "Client.WithSession"
		switch name := spec.Name; {
		case strings.HasSuffix(name, "SUBSCRIBE"):
			hint = "Client.Subscribe"
		case slices.Contains([]string{"MONITOR", "SYNC", "PSYNC", "REPLCONF", "CLIENT REPLY", "SCRIPT DEBUG"}, name):
			hint = "no connection of a client"
		}
		r := command.NewRequest(spec, command.Str("1"), command.Str("1"))
		if says := refused(command.New(r, command.AsAny), spec.Name); !strings.Contains(says, hint) {
			t.Errorf("%s: %q does not name %s", spec.Name, says, hint)
		}
	}
	if tested < 20 {
		t.Errorf("the table has %d session commands", tested)
	}
	for line, hint := range map[string]string{
		"EXEC": "WithSession", "ASKING": "WithSession", "READONLY": "WithSession", "readwrite": "WithSession",
		"CLIENT NO-EVICT on": "WithSession", "client no-touch on": "WithSession", "CLIENT CAPA redirect": "WithSession",
		"CLIENT IMPORT-SOURCE on": "WithSession", "HIMPORT PREPARE x": "WithSession",
		"MONITOR": "no connection", "SYNC": "no connection", "PSYNC ? -1": "no connection", "REPLCONF x y": "no connection",
		"CLIENT REPLY OFF": "no connection", "client reply skip": "no connection", "SCRIPT DEBUG YES": "no connection",
		"SSUBSCRIBE c": "Client.Subscribe", "unsubscribe": "Client.Subscribe",
	} {
		words := strings.Fields(line)
		var args []any
		for _, w := range words[1:] {
			args = append(args, w)
		}
		if says := refused(command.As(command.Untyped(words[0], args...), command.AsAny), line); !strings.Contains(says, hint) {
			t.Errorf("%s: %q does not name %s", line, says, hint)
		}
	}
	for _, ok := range []string{"CLIENT LIST", "CLIENT HELP", "SCRIPT EXISTS x", "PING", "CLIENT UNBLOCK 0"} {
		words := strings.Fields(ok)
		var args []any
		for _, w := range words[1:] {
			args = append(args, w)
		}
		if _, err := client.Cmd(bg, words[0], args...); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}

func TestASessionRefusesWhatCannotBeMatchedWithAReply(t *testing.T) {
	client := connect(t, serverstest.Start(t).URL())
	err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
		for _, words := range [][]string{{"SUBSCRIBE", "c"}, {"MONITOR"}, {"CLIENT", "REPLY", "OFF"}, {"PSYNC", "?", "-1"}} {
			var args []any
			for _, w := range words[1:] {
				args = append(args, w)
			}
			if _, err := s.Cmd(ctx, words[0], args...); outcome(t, err) != command.NotSent {
				t.Errorf("%s: %v", words, err)
			}
			p := s.Pipeline()
			redisx.Queue(p, command.Untyped(words[0], args...))
			if err := p.Exec(ctx); outcome(t, err) != command.NotSent {
				t.Errorf("%s in a pipeline: %v", words, err)
			}
		}
		return s.Set(ctx, "k", "v")
	})
	if err != nil {
		t.Error(err)
	}
}
