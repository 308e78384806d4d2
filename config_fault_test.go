package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// rotating is a provider of credentials whose answer changes.
type rotating struct {
	asked atomic.Int32
	mu    sync.Mutex
	now   redisx.Credentials
	err   error
}

func (r *rotating) ask(context.Context) (redisx.Credentials, error) {
	r.asked.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now, r.err
}

func (r *rotating) set(username, password string, expires time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = redisx.Credentials{Username: username, Password: redisx.Secret(password), Expires: expires}
}

// connectRotating connects as the provider says.
func connectRotating(t *testing.T, addr string, r *rotating) *redisx.Client {
	t.Helper()
	client, err := redisx.ConnectConfig(bg, redisx.Config{Addr: addr, ClientName: "rotating", Credentials: r.ask})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// must runs commands, each a line of words.
func must(t *testing.T, client *redisx.Client, lines ...string) {
	t.Helper()
	for _, line := range lines {
		words := strings.Fields(line)
		args := make([]any, len(words)-1)
		for i, w := range words[1:] {
			args[i] = w
		}
		if _, err := client.Cmd(bg, words[0], args...); err != nil {
			t.Fatalf("%s: %v", words[0], err)
		}
	}
}

// guests returns the connections named rotating: their users by their ids.
func guests(t *testing.T, admin *redisx.Client) map[string]string {
	t.Helper()
	list, err := admin.Cmd(bg, "CLIENT", "LIST")
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]string{}
	for line := range strings.Lines(list.Text()) {
		fields := map[string]string{}
		for _, f := range strings.Fields(line) {
			name, value, _ := strings.Cut(f, "=")
			fields[name] = value
		}
		if fields["name"] == "rotating" {
			users[fields["id"]] = fields["user"]
		}
	}
	return users
}

// traffic runs commands on client from several goroutines until stop is called,
// which returns how many succeeded. Every failure is an error of the test.
func traffic(t *testing.T, client *redisx.Client) (stop func() int64) {
	var callers sync.WaitGroup
	var done atomic.Int64
	over := make(chan struct{})
	for i := range 20 {
		callers.Go(func() {
			for key := fmt.Sprint("k", i); ; done.Add(1) {
				select {
				case <-over:
					return
				default:
				}
				if err := client.Set(bg, key, "v"); err != nil {
					t.Errorf("a command: %v", err)
					return
				}
			}
		})
	}
	return func() int64 {
		close(over)
		callers.Wait()
		return done.Load()
	}
}

func TestCredentialsRotateOnLiveConnectionsWithoutAnError(t *testing.T) {
	srv := serverstest.Start(t)
	admin := connect(t, srv.URL())
	must(t, admin, "ACL SETUSER blue on >one ~* &* +@all", "ACL SETUSER green on >two ~* &* +@all")
	r := &rotating{}
	r.set("blue", "one", time.Time{})
	client := connectRotating(t, srv.Addr, r)
	watch, err := client.Watch(bg, "watched") // on a connection that stands
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	sub, err := client.Subscribe(bg, redisx.Channels("news"))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	openSessions(t, client, 5)() // they idle now
	before := guests(t, admin)
	if len(before) != 8 {
		t.Fatalf("connections: %v", before)
	}

	stop := traffic(t, client)
	r.set("green", "two", time.Time{})
	asked := r.asked.Load()
	if err := client.Reauthenticate(bg); err != nil {
		t.Fatal(err)
	}
	after := guests(t, admin)
	for id := range before {
		if after[id] != "green" {
			t.Errorf("connection %s is %q", id, after[id])
		}
	}
	if got := r.asked.Load() - asked; got != 1 || len(after) != len(before) {
		t.Errorf("asked %d times; connections %v, were %v", got, after, before)
	}
	must(t, admin, "ACL DELUSER blue") // which ends all connections of blue
	if n := stop(); n == 0 {
		t.Error("no traffic")
	}
	must(t, admin, "SET watched x")
	select {
	case <-watch.Changed():
	case <-time.After(5 * time.Second):
		t.Error("the push did not come")
	}
	must(t, admin, "PUBLISH news hello")
	ctx, cancel := context.WithTimeout(bg, 5*time.Second)
	defer cancel()
	if m, err := sub.Next(ctx); err != nil || m.Payload != "hello" {
		t.Errorf("the subscription gave %+v, %v", m, err)
	}
}

// openSessions holds so many sessions until the returned function is called.
func openSessions(t *testing.T, client *redisx.Client, many int) (end func()) {
	t.Helper()
	var open, all sync.WaitGroup
	open.Add(many)
	over := make(chan struct{})
	for range many {
		all.Go(func() {
			once := sync.OnceFunc(open.Done)
			defer once()
			err := client.WithSession(bg, func(context.Context, *redisx.Session) error {
				once()
				<-over
				return nil
			})
			if err != nil {
				t.Errorf("a session: %v", err)
			}
		})
	}
	open.Wait()
	return func() {
		close(over)
		all.Wait()
	}
}

// The server would queue an AUTH that comes after MULTI, so there is none.
func TestASessionIsNotDisturbedByARotation(t *testing.T) {
	srv := serverstest.Start(t)
	admin := connect(t, srv.URL())
	must(t, admin, "ACL SETUSER blue on >one ~* &* +@all", "ACL SETUSER green on >two ~* &* +@all")
	r := &rotating{}
	r.set("blue", "one", time.Time{})
	client := connectRotating(t, srv.Addr, r)
	err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error {
		if _, err := s.Cmd(ctx, "WATCH", "k"); err != nil {
			return err
		}
		r.set("green", "two", time.Time{})
		if err := client.Reauthenticate(ctx); err != nil {
			return err
		}
		users := map[string]int{}
		for _, user := range guests(t, admin) {
			users[user]++
		}
		if users["blue"] != 1 || users["green"] != 1 {
			t.Errorf("connections by user: %v", users)
		}
		_, err := s.Incr(ctx, "k")
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := client.WithSession(bg, func(ctx context.Context, s *redisx.Session) error { return s.Set(ctx, "k", "v") }); err != nil {
		t.Error(err)
	}
	for id, user := range guests(t, admin) {
		if user != "green" {
			t.Errorf("connection %s is still %s", id, user)
		}
	}
}

func TestAStormOfSessionsAsksOnce(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Password: canary})
	r := &rotating{}
	r.set("", canary, time.Time{})
	client := connectRotating(t, srv.Addr, r)
	end := openSessions(t, client, 100)
	if got := r.asked.Load(); got > 3 { // once for each second that it takes
		t.Errorf("asked %d times for 100 sessions", got)
	}
	end()
}

func TestCredentialsThatEndAreRenewedInTime(t *testing.T) {
	srv := serverstest.Start(t)
	admin := connect(t, srv.URL())
	must(t, admin, "ACL SETUSER token on >one ~* &* +@all")
	r := &rotating{}
	r.set("token", "one", time.Now().Add(2*time.Second))
	client := connectRotating(t, srv.Addr, r)
	stop := traffic(t, client)
	must(t, admin, "ACL SETUSER token >two")
	r.set("token", "two", time.Now().Add(time.Hour))
	for end := time.Now().Add(2 * time.Second); r.asked.Load() < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the provider was not asked before the credentials ended")
		}
	}
	if n := stop(); n == 0 {
		t.Error("no traffic")
	}
}

func TestARefusedRotationClosesAndIsTold(t *testing.T) {
	srv := serverstest.Start(t)
	admin := connect(t, srv.URL())
	must(t, admin, "ACL SETUSER blue on >one ~* &* +@all")
	r := &rotating{}
	r.set("blue", "one", time.Time{})
	client := connectRotating(t, srv.Addr, r)
	r.set("blue", canary, time.Time{})
	var refused redisx.ServerError
	if err := client.Reauthenticate(bg); !errors.As(err, &refused) || refused.Code() != "WRONGPASS" || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v", err)
	}
	eventually(t, "the refused connection is closed", func() bool { return len(guests(t, admin)) == 0 })
	start := time.Now()
	_, err := client.Get(bg, "k")
	if !errors.As(err, &refused) || refused.Code() != "WRONGPASS" || !redisx.SafeToRetry(err) || strings.Contains(err.Error(), canary) {
		t.Errorf("the next command: %v", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
	r.set("blue", "one", time.Time{})
	eventually(t, "the client comes back", func() bool { return client.Set(bg, "k", "v") == nil })
}

// eventually waits up to 10 s for something to be true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 10 s: %s", what)
		}
	}
}

func TestADeletedUserIsReplacedAtTheNextCommand(t *testing.T) {
	srv := serverstest.Start(t)
	admin := connect(t, srv.URL())
	must(t, admin, "ACL SETUSER blue on >one ~* &* +@all", "ACL SETUSER green on >two ~* &* +@all -incr")
	r := &rotating{}
	r.set("blue", "one", time.Time{})
	client := connectRotating(t, srv.Addr, r)
	must(t, client, "SET k v")
	r.set("green", "two", time.Time{})
	time.Sleep(1100 * time.Millisecond) // an answer serves for a second
	must(t, admin, "ACL DELUSER blue")
	eventually(t, "the client comes back", func() bool {
		v, err := client.Get(bg, "k")
		if err != nil && !errors.As(err, new(*redisx.Error)) {
			t.Errorf("an error without a class: %v", err)
		}
		return v == "v"
	})
	var refused redisx.ServerError
	if _, err := client.Incr(bg, "n"); !errors.As(err, &refused) || refused.Code() != "NOPERM" || !redisx.SafeToRetry(err) {
		t.Errorf("what green may not do: %v", err)
	}
}

func TestAServerThatComesBackWithAnotherPassword(t *testing.T) {
	first := serverstest.Start(t, servers.Options{Password: "one"})
	_, port, err := net.SplitHostPort(first.Addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	r := &rotating{}
	r.set("", "one", time.Time{})
	client := connectRotating(t, first.Addr, r)
	fixed := connect(t, first.URL())
	first.Close()
	second := serverstest.Start(t, servers.Options{Password: canary, Port: n})
	if second.Addr != first.Addr {
		t.Fatal(second.Addr)
	}
	var refused redisx.ServerError
	eventually(t, "the old password is refused", func() bool {
		_, err := fixed.Get(bg, "k")
		return errors.As(err, &refused) && refused.Code() == "WRONGPASS" && redisx.SafeToRetry(err)
	})
	r.set("", canary, time.Time{})
	eventually(t, "the provider's password is taken", func() bool { return client.Set(bg, "k", "v") == nil })
}

// A full server answers before it is asked, and closes.
func TestAFullServerIsNamedWhicheverWayItsAnswerComes(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Args: []string{"--maxclients", "1"}})
	connect(t, srv.URL())
	for _, url := range []string{srv.URL(), srv.SocketURL(), srv.URL() + "?protocol=2"} {
		for range 50 {
			client, err := redisx.Connect(bg, url)
			if err == nil {
				client.Close()
				t.Fatal("the server is not full")
			}
			if !strings.Contains(err.Error(), "max number of clients") || !redisx.SafeToRetry(err) {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
}

func TestConnectionsThatAreKilledAllTheTimeAreReplacedAtABoundedRate(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Password: canary})
	admin := connect(t, srv.SocketURL())
	r := &rotating{}
	r.set("", canary, time.Time{})
	client := connectRotating(t, srv.Addr, r)
	base, dialled, start := runtime.NumGoroutine(), info(t, admin, "total_connections_received"), time.Now()
	var done, failed atomic.Int64
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for time.Since(start) < 3*time.Second {
				ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
				_, err := client.Incr(ctx, "n")
				cancel()
				var e *redisx.Error
				switch {
				case err == nil:
					done.Add(1)
				case errors.As(err, &e):
					failed.Add(1)
				default:
					t.Errorf("an error without a class: %v", err)
				}
			}
		})
	}
	for time.Since(start) < 3*time.Second {
		killClients(t, admin)
		time.Sleep(20 * time.Millisecond)
	}
	callers.Wait()
	if n := info(t, admin, "total_connections_received") - dialled; n > 20*4 || n < 3 {
		t.Errorf("%d dials in 3 s", n)
	}
	if got := r.asked.Load(); got > 6 {
		t.Errorf("the provider was asked %d times in 3 s", got)
	}
	eventually(t, "the client comes back", func() bool { return client.Set(bg, "k", "v") == nil })
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= base })
	t.Logf("%d increments, %d errors", done.Load(), failed.Load())
}

func TestAURLConnectsUnderTLSAndWithAClientCertificate(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Password: canary, TLS: &servers.TLS{Mutual: true}})
	certs := srv.Certificates
	files := neturl.Values{"ca": {certs.CA}, "cert": {certs.Client}, "key": {certs.ClientKey}}.Encode()
	client := connect(t, srv.TLSURL()+"?"+files)
	if err := client.Set(bg, "k", "v"); err != nil {
		t.Error(err)
	}
	for query, want := range map[string]string{
		"":                                 "not trusted",
		"?ca=" + certs.CA:                  "certificate required",
		"?" + files + "&server_name=other": `not for "other"`,
	} {
		_, err := redisx.Connect(bg, srv.TLSURL()+query)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) || !redisx.SafeToRetry(err) {
			t.Errorf("%q: %v; want %q", query, err, want)
		}
	}
	client = connect(t, srv.TLSURL()+"?"+files+"&server_name=localhost")
	if v, err := client.Get(bg, "k"); err != nil || v != "v" {
		t.Errorf("%q, %v", v, err)
	}
}
