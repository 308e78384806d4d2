package coord_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/faultproxy"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// pair is a primary and its replica. Clients reach whichever is primary through
// front; the replica reaches the primary through link.
type pair struct {
	primary, replica *servers.Server
	front, link      *faultproxy.Proxy
}

func startPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{primary: serverstest.Start(t, servers.Options{Args: []string{"--repl-diskless-sync-delay", "0"}}), replica: serverstest.Start(t)}
	p.front, p.link = through(t, p.primary.Addr), through(t, p.primary.Addr)
	host, port, err := net.SplitHostPort(p.link.Addr)
	if err != nil {
		t.Fatal(err)
	}
	dstest.Cmd(t, dstest.Connect(t, p.replica), "REPLICAOF", host, port)
	dstest.Cmd(t, dstest.Connect(t, p.primary), "SET", "joined", "1")
	replica := dstest.Connect(t, p.replica)
	dstest.Eventually(t, 10*time.Second, "the replica has joined", func() bool { return !dstest.Cmd(t, replica, "GET", "joined").IsNull() })
	return p
}

func through(t *testing.T, addr string) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.Start(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func (p *pair) client(t *testing.T) *redisx.Client {
	return dstest.ConnectTo(t, "redis://"+p.front.Addr)
}

// failOver kills the primary and promotes the replica.
func (p *pair) failOver(t *testing.T) {
	t.Helper()
	p.primary.Kill()
	dstest.Cmd(t, dstest.Connect(t, p.replica), "REPLICAOF", "NO", "ONE")
	p.front.Switch(p.replica.Addr)
}

func TestATermSurvivesAFailoverThatKeepsIt(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	c := p.client(t)
	term := campaign(t, c, coord.Name("A"))
	replica := dstest.Connect(t, p.replica)
	dstest.Eventually(t, 5*time.Second, "the term is on the replica", func() bool { return !dstest.Cmd(t, replica, "HGET", electionLease, "id").IsNull() })
	next, ended := leading(t, p.client(t))
	p.failOver(t)
	renewed(t, 1, func() map[string]time.Duration {
		i := leader(t, replica)
		return map[string]time.Duration{i.Leader: i.Left}
	})
	if err := term.Context().Err(); err != nil {
		t.Fatalf("the term ended: %v", context.Cause(term.Context()))
	}
	if _, err := term.Do(t.Context(), command.Set("x", "1")); err != nil {
		t.Errorf("a write after the failover: %v", err)
	}
	resign(t, term)
	if n := <-next; n.Token() <= term.Token() {
		t.Errorf("term %d follows %d", n.Token(), term.Token())
	}
	ended()
}

// leading leads in the background whenever it can, also after errors, and hands
// out its terms. ended makes it end.
func leading(t *testing.T, c command.Doer, opts ...coord.Option) (terms <-chan *coord.Term, ended func()) {
	ctx, cancel := context.WithCancel(t.Context())
	led, done := make(chan *coord.Term, 100), make(chan error, 1)
	go func() {
		done <- coord.NewElection(c, "cron", append(opts, coord.Again())...).Lead(ctx, func(ctx context.Context, term *coord.Term) error {
			led <- term
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	return led, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Lead returned %v", err)
		}
	}
}

// TestTermsRiseAcrossAFailoverThatForgetsOne has the primary die before it told
// the replica of the term.
func TestTermsRiseAcrossAFailoverThatForgetsOne(t *testing.T) {
	t.Parallel()
	for range dstest.Rounds(2, 20) {
		p := startPair(t)
		const ttl = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		told := observe(ctx, coord.NewElection(p.client(t), "cron"))
		sees(t, told)
		c := p.client(t)
		resign(t, campaign(t, c, coord.TTL(ttl))) // this one the replica knows

		p.link.Apply(faultproxy.Fault{Kind: faultproxy.Hole})
		first := campaign(t, c, coord.TTL(ttl))
		if _, err := first.Do(t.Context(), command.Set("x", "1")); err != nil {
			t.Fatal(err)
		}
		// Seen, or the observer might come to it only after the failover.
		for i := sees(t, told); i.Term != first.Token() || !i.Led; {
			i = sees(t, told)
		}
		failed := time.Now()
		p.failOver(t)
		second, ended := leading(t, p.client(t), coord.TTL(ttl))
		next := <-second
		if next.Token() <= first.Token() {
			t.Errorf("term %d follows %d", next.Token(), first.Token())
		}
		if _, err := first.Do(t.Context(), command.Set("x", "late")); err == nil {
			t.Error("the forgotten leader could write")
		} else if !errors.Is(err, lease.ErrFenced) && !errors.As(err, new(*command.Error)) {
			t.Errorf("the forgotten leader's write returned %v", err)
		}
		lost := loss(t, first)
		if took := time.Since(failed); took > ttl+slack(500*time.Millisecond) {
			t.Errorf("the forgotten leader learnt of it after %v, by %v", took, lost)
		}
		last := first.Token()
		for last != next.Token() {
			i := sees(t, told)
			if i.Term < last {
				t.Fatalf("term %d was told after %d", i.Term, last)
			}
			last = i.Term
		}
		ended()
		cancel()
	}
}
