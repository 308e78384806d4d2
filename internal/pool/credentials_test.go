package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/session"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

// door is a server in memory that lets in who knows a password of the day.
type door struct {
	mu     sync.Mutex
	valid  map[string]bool
	guests map[*guest]bool
	auths  int
	delay  time.Duration // of a dial
}

// guest is one connection at the server.
type guest struct {
	nc       *simnet.Conn
	password string
}

func newDoor(valid ...string) *door {
	d := &door{guests: map[*guest]bool{}}
	d.accept(valid...)
	return d
}

// accept sets the passwords of the day. Who is in stays in.
func (d *door) accept(valid ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.valid = map[string]bool{}
	for _, v := range valid {
		d.valid[v] = true
	}
}

// in returns how many connections came in with each password.
func (d *door) in() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := map[string]int{}
	for g := range d.guests {
		n[g.password]++
	}
	return n
}

// authenticated returns how many AUTH came.
func (d *door) authenticated() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.auths
}

func (d *door) dial(ctx context.Context) (net.Conn, error) {
	if err := session.Sleep(ctx, d.delay); err != nil {
		return nil, err
	}
	client, server := simnet.Pipe(simnet.Options{})
	g := &guest{nc: server}
	d.mu.Lock()
	d.guests[g] = true
	d.mu.Unlock()
	go func() {
		d.serve(g)
		server.Close()
		d.mu.Lock()
		delete(d.guests, g)
		d.mu.Unlock()
	}()
	return client, nil
}

func (d *door) serve(g *guest) {
	rd := resp3.NewReader(g.nc, resp3.Limits{})
	for {
		v, err := rd.Read()
		if err != nil {
			return
		}
		var words []string
		for e := range v.Elems() {
			words = append(words, e.Text())
		}
		reply := d.answer(g, words)
		if _, err := g.nc.Write([]byte(reply)); err != nil {
			return
		}
	}
}

func (d *door) answer(g *guest, words []string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	reply := "+OK\r\n"
	switch words[0] {
	case "HELLO":
		reply = "%1\r\n+proto\r\n:3\r\n"
		if len(words) < 5 {
			return reply
		}
	case "AUTH":
		d.auths++
	case "CLIENT":
		if words[1] == "ID" {
			return ":1\r\n"
		}
		return reply
	case "GET":
		return string(resp3.AppendBulk(nil, g.password))
	default:
		return reply
	}
	password := words[len(words)-1]
	if !d.valid[password] {
		return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	}
	g.password = password
	return reply
}

// vault is a provider of credentials.
type vault struct {
	asked atomic.Int32
	mu    sync.Mutex
	give  Credentials
	life  time.Duration // from when they are asked for, 0: for ever
	err   error
	takes time.Duration
}

func (v *vault) ask(ctx context.Context) (Credentials, error) {
	v.asked.Add(1)
	v.mu.Lock()
	give, life, err, takes := v.give, v.life, v.err, v.takes
	v.mu.Unlock()
	if life > 0 {
		give.Expires = time.Now().Add(life)
	}
	if ended := session.Sleep(ctx, takes); ended != nil {
		return Credentials{}, ended
	}
	return give, err
}

func (v *vault) set(password string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.give.Password, v.err = password, err
}

// withVault runs f with a node whose credentials are those of v.
func withVault(t *testing.T, v *vault, f func(n *Node, d *door)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor("old", "new")
		n := New(Config{Dial: d.dial, Session: session.Config{Node: "door"}, Credentials: v.ask})
		defer n.Close() // also if f fails
		f(n, d)
		n.Close()
		synctest.Wait()
		if len(n.keeper.conns) != 0 || len(d.in()) != 0 {
			t.Errorf("left: %d identities, %v at the server", len(n.keeper.conns), d.in())
		}
		if err := n.Reauthenticate(bg); !errors.Is(err, ErrClosed) {
			t.Errorf("Reauthenticate after Close: %v", err)
		}
	})
}

// who returns as whom a command on the shared connection runs.
func who(t *testing.T, n *Node) string {
	t.Helper()
	reply, err := n.Do(bg, get("who"))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Release()
	return reply.View().Text()
}

// with calls f while it has a private connection, which is not kept if f fails.
func with(ctx context.Context, n *Node, f func() error) error {
	c, err := n.Take(ctx)
	if err != nil {
		return err
	}
	n.Give(c, f() == nil)
	return nil
}

// hold takes so many private connections at once, until the returned function
// is called.
func hold(t *testing.T, n *Node, many int) (giveBack func()) {
	t.Helper()
	var held, all sync.WaitGroup
	held.Add(many)
	back := make(chan struct{})
	for range many {
		all.Go(func() {
			got := sync.OnceFunc(held.Done)
			defer got() // who gets none must not hold up the test
			err := with(bg, n, func() error {
				got()
				<-back
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	held.Wait()
	return func() {
		close(back)
		all.Wait()
	}
}

func TestAStormOfDialsAsksTheProviderOnce(t *testing.T) {
	for _, takes := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
		v := &vault{give: Credentials{Password: "old"}, takes: takes}
		withVault(t, v, func(n *Node, d *door) {
			if err := n.Open(bg); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			v.asked.Store(0)
			hold(t, n, 100)()
			if got := v.asked.Load(); got != 1 {
				t.Errorf("the provider takes %v: asked %d times for 100 connections", takes, got)
			}
		})
	}
}

func TestADialUsesTheCredentialsOfNowAndOldConnectionsStay(t *testing.T) {
	v := &vault{give: Credentials{Username: "u", Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		if got := who(t, n); got != "old" {
			t.Errorf("runs as %q", got)
		}
		v.set("new", nil)
		d.accept("new")
		time.Sleep(2 * time.Second)
		giveBack := hold(t, n, 3)
		if got := d.in(); got["old"] != 1 || got["new"] != 3 {
			t.Errorf("at the server: %v", got)
		}
		giveBack()
		if got := who(t, n); got != "old" {
			t.Errorf("the connection that was open runs as %q", got)
		}
	})
}

var errVault = errors.New("the vault is sealed")

func TestAFailingProviderSurfacesAtOnceAndIsNotHammered(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}, err: errVault}
	withVault(t, v, func(n *Node, d *door) {
		start := time.Now()
		err := n.Open(bg)
		wantNotSent(t, err, errVault)
		if time.Since(start) != 0 || !strings.Contains(err.Error(), "credentials provider") {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		for time.Since(start) < 10*time.Second {
			_, err := n.Do(bg, get("a"))
			wantNotSent(t, err, errVault)
		}
		if got := v.asked.Load(); got > 10 {
			t.Errorf("asked %d times in 10 s", got)
		}
		if len(d.in()) != 0 {
			t.Error("the server was dialled without credentials")
		}
		v.set("old", nil)
		time.Sleep(10 * time.Second)
		if got := who(t, n); got != "old" {
			t.Errorf("runs as %q", got)
		}

		v.set("", errVault) // while the shared connection is up
		time.Sleep(2 * time.Second)
		v.asked.Store(0)
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
			err := with(ctx, n, func() error { return nil })
			if !command.SafeToRetry(err) {
				t.Fatalf("a private connection without credentials: %v", err)
			}
			cancel()
		}
		if got := v.asked.Load(); got > 11 {
			t.Errorf("asked %d times in 10 s for private connections", got)
		}
	})
}

func TestASlowProviderIsGivenDialTimeout(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}, takes: time.Hour}
	withVault(t, v, func(n *Node, d *door) {
		start := time.Now()
		err := n.Open(bg)
		wantNotSent(t, err, context.DeadlineExceeded)
		if took := time.Since(start); took != n.cfg.DialTimeout || !strings.Contains(err.Error(), "credentials provider") {
			t.Errorf("%v after %v", err, took)
		}
		ctx, cancel := context.WithTimeout(bg, 30*time.Millisecond)
		defer cancel()
		start = time.Now()
		_, err = n.Do(ctx, get("a"))
		wantNotSent(t, err, context.DeadlineExceeded)
		if took := time.Since(start); took > 30*time.Millisecond {
			t.Errorf("a call took %v", took)
		}
	})
}

// Who asks first may leave: the answer is also for the others.
func TestACallerThatLeavesDoesNotTakeTheAnswerAlong(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		time.Sleep(2 * time.Second)
		v.mu.Lock()
		v.takes = time.Second
		v.mu.Unlock()
		v.asked.Store(0)
		ctx, cancel := context.WithCancel(bg)
		left := make(chan error)
		go func() { left <- with(ctx, n, func() error { return nil }) }()
		synctest.Wait()
		stayed := make(chan error)
		go func() { stayed <- with(bg, n, func() error { return nil }) }()
		synctest.Wait()
		cancel()
		wantNotSent(t, <-left, context.Canceled)
		if err := <-stayed; err != nil || v.asked.Load() != 1 {
			t.Errorf("%v, asked %d times", err, v.asked.Load())
		}
	})
}

func TestAPanicInTheProviderIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Dial: newDoor().dial, Credentials: func(context.Context) (Credentials, error) { panic("oops") }})
		err := n.Open(bg)
		if !command.SafeToRetry(err) || !strings.Contains(err.Error(), "panic: oops") {
			t.Errorf("error %v", err)
		}
		n.Close()
	})
}

func TestReauthenticateReachesEveryConnection(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		for range 100 {
			if _, err := n.Dial(bg, session.Config{Standing: true}); err != nil {
				t.Fatal(err)
			}
		}
		hold(t, n, keepIdle)() // they idle now
		if got := d.in()["old"]; got != 101+keepIdle {
			t.Fatalf("%d connections", got)
		}
		v.set("new", nil)
		d.accept("new")
		asked := v.asked.Load()
		if err := n.Reauthenticate(bg); err != nil {
			t.Fatal(err)
		}
		if got := d.in(); got["new"] != 101+keepIdle || len(got) != 1 {
			t.Errorf("at the server: %v", got)
		}
		if got := v.asked.Load() - asked; got != 1 {
			t.Errorf("asked %d times", got)
		}
		if got := who(t, n); got != "new" || len(n.idle) != keepIdle {
			t.Errorf("runs as %q, %d idle", got, len(n.idle))
		}
		giveBack := hold(t, n, keepIdle)
		if got := d.in()["new"]; got != 101+keepIdle {
			t.Errorf("%d connections: the idle ones were not used", got)
		}
		giveBack()
	})
}

// Between MULTI and EXEC the server would queue an AUTH, and EXEC answer one
// reply too many.
func TestAConnectionInACallersHandsIsLeftAloneAndClosedWhenItComesBack(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		giveBack := hold(t, n, 5)
		v.set("new", nil)
		if err := n.Reauthenticate(bg); err != nil {
			t.Fatal(err)
		}
		if got := d.in(); got["old"] != 5 || got["new"] != 1 || d.authenticated() != 1 {
			t.Errorf("at the server: %v after %d AUTH", got, d.authenticated())
		}
		giveBack()
		synctest.Wait()
		if got := d.in(); got["old"] != 0 || len(n.idle) != 0 {
			t.Errorf("at the server: %v, %d idle", got, len(n.idle))
		}
	})
}

func TestAConnectionWhoseAuthIsRefusedIsClosed(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		standing, err := n.Dial(bg, session.Config{Standing: true})
		if err != nil {
			t.Fatal(err)
		}
		hold(t, n, 3)()
		v.set("wr0ng", nil)
		var refused resp3.ServerError
		err = n.Reauthenticate(bg)
		if !errors.As(err, &refused) || refused.Code() != "WRONGPASS" || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("error %v", err)
		}
		synctest.Wait()
		if got := d.in(); len(got) != 0 || standing.Err() == nil || len(n.idle) != 0 {
			t.Errorf("at the server: %v; standing %v, %d idle", got, standing.Err(), len(n.idle))
		}
		n.Drop(standing)
		_, err = n.Do(bg, get("a"))
		if !errors.As(err, &refused) || !command.SafeToRetry(err) {
			t.Errorf("the next command: %v", err)
		}
		v.set("new", nil)
		time.Sleep(10 * time.Second)
		if got := who(t, n); got != "new" {
			t.Errorf("runs as %q", got)
		}
	})
}

func TestWhenTheProviderFailsReauthenticateChangesNothing(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		v.set("", errVault)
		if err := n.Reauthenticate(bg); !errors.Is(err, errVault) {
			t.Errorf("error %v", err)
		}
		if got := who(t, n); got != "old" {
			t.Errorf("runs as %q", got)
		}
	})
}

func TestReauthenticateReturnsWithItsContextAndGoesOn(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		v.mu.Lock()
		v.give.Password, v.takes = "new", time.Second
		v.mu.Unlock()
		ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := n.Reauthenticate(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		time.Sleep(time.Second)
		if got := who(t, n); got != "new" {
			t.Errorf("runs as %q", got)
		}
	})
}

func TestManyCallsOfReauthenticateShareTheRounds(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}, takes: 10 * time.Millisecond}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		v.asked.Store(0)
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if err := n.Reauthenticate(bg); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := v.asked.Load(); got > 2 || d.authenticated() > 2 {
			t.Errorf("asked %d times, %d AUTH", got, d.authenticated())
		}
	})
}

// A dial that had its answer before a round must not end with old credentials
// after it.
func TestADialUnderWayTakesPartInTheRound(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		d.delay = time.Second
		conn := make(chan *session.Conn)
		go func() {
			c, err := n.Dial(bg, session.Config{})
			if err != nil {
				t.Error(err)
			}
			conn <- c
		}()
		synctest.Wait()
		v.set("new", nil)
		if err := n.Reauthenticate(bg); err != nil {
			t.Fatal(err)
		}
		<-conn
		if got := d.in(); got["new"] != 2 || len(got) != 1 {
			t.Errorf("at the server: %v", got)
		}
	})
}

func TestCredentialsAreRenewedBeforeTheyEnd(t *testing.T) {
	const life = time.Hour
	v := &vault{give: Credentials{Password: "old"}, life: life}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		var at []time.Duration
		start, asked := time.Now(), v.asked.Load()
		for len(at) < 20 {
			time.Sleep(10 * time.Second)
			if now := v.asked.Load(); now != asked {
				at = append(at, time.Since(start))
				start, asked = time.Now(), now
			}
			if time.Since(start) > life {
				t.Fatal("the credentials have ended")
			}
		}
		if lo, hi := slices.Min(at), slices.Max(at); lo < life*74/100 || hi > life*91/100 || lo == hi {
			t.Errorf("renewed after %v to %v", lo, hi)
		}
		if got := d.authenticated(); got < 20 {
			t.Errorf("%d AUTH", got)
		}

		v.set("", errVault) // and comes back before they end
		time.Sleep(life * 91 / 100)
		failed := v.asked.Load() - asked
		if failed < 2 || failed > 60 {
			t.Errorf("a failing provider was asked %d times", failed)
		}
		v.set("new", nil)
		time.Sleep(2 * time.Minute)
		if got := who(t, n); got != "new" {
			t.Errorf("runs as %q", got)
		}
	})
}

// A provider with a wrong clock, or a token that it forgot to renew.
func TestCredentialsThatHaveEndedAreNotRenewedInAHotLoop(t *testing.T) {
	v := &vault{give: Credentials{Password: "old", Expires: time.Unix(1, 0)}}
	withVault(t, v, func(n *Node, d *door) {
		who(t, n)
		time.Sleep(time.Hour)
		if got := v.asked.Load(); got < 30 || got > 80 {
			t.Errorf("asked %d times in an hour", got)
		}
		if got := who(t, n); got != "old" {
			t.Errorf("runs as %q", got)
		}
	})
}

func TestASlowConsumerIsNotCutOffByARound(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		waiting, goOn := make(chan struct{}), make(chan struct{})
		c, err := n.Dial(bg, session.Config{Standing: true, PushWaits: true, OnPush: func(resp3.View) {
			close(waiting)
			<-goOn
		}})
		if err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		for g := range d.guests {
			if g.password == "old" {
				g.nc.Write([]byte(">1\r\n+x\r\n"))
			}
		}
		d.mu.Unlock()
		<-waiting
		v.set("new", nil)
		if err := n.Reauthenticate(bg); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * n.cfg.DialTimeout)
		if err := c.Err(); err != nil {
			t.Errorf("the subscriber was closed: %v", err)
		}
		close(goOn)
		synctest.Wait()
		if got := d.in(); got["new"] != 2 || len(got) != 1 {
			t.Errorf("at the server: %v", got)
		}
	})
}

// Under RESP2 a subscriber takes no AUTH.
func TestASubscriberUnderRESP2IsClosedByARound(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		n.cfg.Hello.RESP2 = true
		died := make(chan error, 1)
		c, err := n.Dial(bg, session.Config{Standing: true, Subscriber: true, OnClose: func(err error) { died <- err }})
		if err != nil {
			t.Fatal(err)
		}
		v.set("new", nil)
		if err := n.Reauthenticate(bg); err != nil {
			t.Error(err)
		}
		<-died
		n.Drop(c)
		synctest.Wait()
		if got := d.in(); got["new"] != 1 || len(got) != 1 || d.authenticated() != 3 { // two to come in
			t.Errorf("at the server: %v after %d AUTH", got, d.authenticated())
		}
	})
}

func TestCloseEndsAProviderThatHangs(t *testing.T) {
	v := &vault{takes: time.Hour}
	withVault(t, v, func(n *Node, d *door) {
		failed := make(chan error, 2)
		go func() { _, err := n.Do(bg, get("a")); failed <- err }()
		go func() { failed <- n.Reauthenticate(bg) }()
		synctest.Wait()
		n.Close()
		for range 2 {
			if err := <-failed; err == nil {
				t.Error("no error")
			}
		}
	})
}

func TestWithoutAProviderThereIsNothingToAsk(t *testing.T) {
	inBubble(t, func(n *Node, s *site) {
		if err := n.Reauthenticate(bg); !errors.Is(err, errNoProvider) {
			t.Errorf("error %v", err)
		}
	})
}

// Rounds, dials, deaths and returns at once: nobody may be left with credentials
// older than the last round.
func TestNobodyIsLeftBehindByARound(t *testing.T) {
	v := &vault{give: Credentials{Password: "old"}}
	withVault(t, v, func(n *Node, d *door) {
		var all sync.WaitGroup
		over := make(chan struct{})
		end := sync.OnceFunc(func() { close(over); all.Wait() })
		defer end()
		for i := range 20 {
			all.Go(func() {
				for {
					select {
					case <-over:
						return
					case <-time.After(time.Duration(i+1) * time.Millisecond):
					}
					with(bg, n, func() error {
						time.Sleep(time.Duration(i+1) * time.Millisecond)
						if i%5 == 0 {
							return errVault // it is not kept
						}
						return nil
					})
				}
			})
		}
		for round := range 50 {
			password := fmt.Sprint("p", round)
			d.accept(password)
			v.set(password, nil)
			if err := n.Reauthenticate(bg); err != nil {
				t.Fatal(err)
			}
			if got := who(t, n); got != password {
				t.Fatalf("round %d: runs as %q", round, got)
			}
			time.Sleep(7 * time.Millisecond)
		}
		end()
		synctest.Wait()
		if got := d.in(); len(got) != 1 || got["p49"] == 0 {
			t.Errorf("at the server: %v", got)
		}
	})
}
