package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

var bgctx = context.Background()

// cachedServer returns a server and a client of it, whose cache is in use.
func cachedServer(t *testing.T, cfg redisx.CacheConfig) (*servers.Server, *redisx.Client) {
	t.Helper()
	srv := serverstest.Start(t)
	c := cachedClient(t, srv, cfg)
	until(t, "the tracking connection", func() bool {
		cachedGet(t, c, "warm")
		return c.CacheStats().State == "live"
	})
	return srv, c
}

func cachedClient(t *testing.T, srv *servers.Server, cache redisx.CacheConfig) *redisx.Client {
	t.Helper()
	cfg, err := redisx.ParseURL(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Cache = cache
	c, err := redisx.ConnectConfig(bgctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// cachedGet reads through the cache; an absent key is "".
func cachedGet(t *testing.T, c *redisx.Client, key string) string {
	t.Helper()
	v, err := redisx.Cached(bgctx, c, command.Get(key), time.Minute)
	if err != nil && !errors.Is(err, redisx.Nil) {
		t.Errorf("Cached GET %s: %v", key, err)
	}
	return v
}

func flushAll(c *redisx.Client) error {
	_, err := c.Cmd(bgctx, "FLUSHALL")
	return err
}

// until waits for a condition that another goroutine, or server, brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

func TestCachedAnswersWhatTheServerWould(t *testing.T) {
	_, c := cachedServer(t, redisx.CacheConfig{})
	start := c.CacheStats()
	c.HSet(bgctx, "h", command.Pair{Key: "f", Value: "1"}, command.Pair{Key: "g", Value: "2"})
	c.Set(bgctx, "s", strings.Repeat("long", 1000))
	for range 3 {
		h, err := redisx.Cached(bgctx, c, command.HGetAll("h"), time.Minute)
		if err != nil || len(h) != 2 || h["f"] != "1" || h["g"] != "2" {
			t.Fatalf("HGETALL: %v, %v", h, err)
		}
		h["f"] = "spoilt" // a caller's own
		if b, err := redisx.Cached(bgctx, c, command.As(command.Get("s"), command.AsBytes), time.Minute); err != nil || string(b) != strings.Repeat("long", 1000) {
			t.Fatalf("GET: %q, %v", b, err)
		} else {
			clear(b)
		}
		if _, err := redisx.Cached(bgctx, c, command.Get("absent"), time.Minute); !errors.Is(err, redisx.Nil) {
			t.Fatalf("an absent key: %v", err)
		}
		if _, err := redisx.Cached(bgctx, c, command.Get("h"), time.Minute); !command.IsCode(err, "WRONGTYPE") {
			t.Fatalf("GET of a hash: %v", err)
		}
		if m, err := redisx.Cached(bgctx, c, command.MGet("absent", "s"), time.Minute); err != nil || m[0].OK || !m[1].OK {
			t.Fatalf("MGET: %v, %v", m, err)
		}
	}
	// One fetch each, but of the error, which is fetched every time. The cache
	// had "warm" before.
	if s := c.CacheStats(); s.Misses-start.Misses != 4+3 || s.Hits-start.Hits != 2*4 || s.Entries != 5 || s.Uncached != start.Uncached {
		t.Errorf("stats %+v", s)
	}
}

func TestWhatIsNotCacheableIsRefusedBeforeItIsSent(t *testing.T) {
	_, c := cachedServer(t, redisx.CacheConfig{})
	for _, cmd := range []command.Cmd[command.Void]{
		command.As(command.Untyped("SET", "k", "v"), command.AsAny),
		command.As(command.Untyped("TTL", "k"), command.AsAny),
		command.As(command.Untyped("RANDOMKEY"), command.AsAny),
		command.As(command.Untyped("SCAN", 0), command.AsAny),
		command.As(command.Untyped("EVAL", "return 1", 0), command.AsAny),
		command.As(command.Untyped("UNKNOWN", "k"), command.AsAny),
	} {
		_, err := redisx.Cached(bgctx, c, cmd, time.Minute)
		var e *redisx.Error
		r := cmd.Request()
		if !errors.Is(err, redisx.ErrNotCacheable) || !redisx.SafeToRetry(err) || !errors.As(err, &e) || e.Command != r.Name() {
			t.Errorf("%s: %v", r.Name(), err)
		}
		if _, err := c.DoCached(bgctx, r, time.Minute); !errors.Is(err, redisx.ErrNotCacheable) {
			t.Errorf("DoCached of %s: %v", r.Name(), err)
		}
	}
	if _, err := c.Get(bgctx, "k"); !errors.Is(err, redisx.Nil) {
		t.Errorf("the SET was sent: %v", err)
	}
}

func TestWithoutPushOrCacheCachedFetches(t *testing.T) {
	srv := serverstest.Start(t)
	admin := cachedClient(t, srv, redisx.CacheConfig{})
	admin.Cmd(bgctx, "ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-client|tracking")
	for name, tt := range map[string]struct {
		change func(*redisx.Config)
		state  string
	}{
		"RESP2":                   {func(c *redisx.Config) { c.RESP2 = true }, "no push"},
		"a user who cannot track": {func(c *redisx.Config) { c.Username, c.Password = "bob", "pw" }, "no push"},
		"no cache":                {func(c *redisx.Config) { c.Cache.MaxBytes = -1 }, "off"},
	} {
		cfg, _ := redisx.ParseURL(srv.URL())
		tt.change(&cfg)
		c, err := redisx.ConnectConfig(bgctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i := range 5 {
			admin.Set(bgctx, "k", strconv.Itoa(i))
			if v := cachedGet(t, c, "k"); v != strconv.Itoa(i) {
				t.Errorf("%s: got %q, want %d", name, v, i)
			}
		}
		if s := c.CacheStats(); s.State != tt.state || s.Uncached != 5 || s.Entries != 0 {
			t.Errorf("%s: stats %+v", name, s)
		}
	}
	plain := struct{ command.Doer }{admin} // no Cacher
	if v, err := redisx.Cached(bgctx, plain, command.Get("k"), time.Minute); v != "4" || err != nil {
		t.Errorf("through a plain Doer: %q, %v", v, err)
	}
	for name, cfg := range map[string]redisx.CacheConfig{
		"an empty prefix and another": {Prefixes: []string{"", "a"}},
		"a prefix twice":              {Prefixes: []string{"a", "a"}},
		"a prefix of a prefix":        {Prefixes: []string{"ab", "a"}},
		"a negative entry":            {MaxEntryBytes: -1},
	} {
		if c, err := redisx.ConnectConfig(bgctx, redisx.Config{Addr: srv.Addr, Cache: cfg}); err == nil {
			t.Errorf("%s was taken", name)
			c.Close()
		}
	}
}

// Every way of writing that a client has, each followed at once by a read.
func TestAClientReadsItsOwnWrites(t *testing.T) {
	_, c := cachedServer(t, redisx.CacheConfig{})
	script := redisx.NewScript(`return redis.call('SET', KEYS[1], ARGV[1])`)
	hidden := redisx.NewScript(`return redis.call('SET', 'k', ARGV[1])`)
	for name, write := range map[string]func(v string) error{
		"Set":      func(v string) error { return c.Set(bgctx, "k", v) },
		"Cmd":      func(v string) error { _, err := c.Cmd(bgctx, "MSET", "other", "x", "k", v); return err },
		"Script":   func(v string) error { _, err := script.Run(bgctx, c, []string{"k"}, v); return err },
		"a script": func(v string) error { _, err := hidden.Run(bgctx, c, nil, v); return err }, // without keys
		"Pipeline": func(v string) error {
			p := c.Pipeline()
			p.Get("k")
			p.Set("k", v)
			return p.Exec(bgctx)
		},
		"Tx": func(v string) error {
			tx := c.Tx()
			tx.Set("k", v)
			return tx.Exec(bgctx)
		},
		"Session": func(v string) error {
			return c.WithSession(bgctx, func(ctx context.Context, s *redisx.Session) error { return s.Set(ctx, "k", v) })
		},
		"Session pipeline": func(v string) error {
			return c.WithSession(bgctx, func(ctx context.Context, s *redisx.Session) error {
				p := s.Pipeline()
				p.Set("k", v)
				return p.Exec(ctx)
			})
		},
		"Session Tx": func(v string) error {
			return c.WithSession(bgctx, func(ctx context.Context, s *redisx.Session) error {
				tx := s.Tx()
				tx.Set("k", v)
				return tx.Exec(ctx)
			})
		},
		"MULTI by hand": func(v string) error {
			return c.WithSession(bgctx, func(ctx context.Context, s *redisx.Session) error {
				_, err1 := s.Cmd(ctx, "MULTI")
				_, err2 := s.Cmd(ctx, "SET", "k", v)
				cachedGet(t, c, "k") // queued is not written
				_, err3 := s.Cmd(ctx, "EXEC")
				return errors.Join(err1, err2, err3)
			})
		},
		"Flush and Set": func(v string) error { return errors.Join(flushAll(c), c.Set(bgctx, "k", v)) },
		"Rename":        func(v string) error { return errors.Join(c.Set(bgctx, "j", v), c.Rename(bgctx, "j", "k")) },
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 100 {
				v := name + strconv.Itoa(i)
				if err := write(v); err != nil {
					t.Fatal(err)
				}
				if got := cachedGet(t, c, "k"); got != v {
					t.Fatalf("wrote %q, then read %q", v, got)
				}
			}
		})
	}
	if s := c.CacheStats(); s.Misses < 1000 {
		t.Errorf("stats %+v", s)
	}
}

func TestAWriteThatTimedOutIsNotHiddenByTheCache(t *testing.T) {
	srv, c := cachedServer(t, redisx.CacheConfig{})
	c.Set(bgctx, "k", "old")
	cachedGet(t, c, "k")
	srv.Pause()
	ctx, cancel := context.WithCancel(bgctx)
	defer cancel()
	onceSent(t, c, cancel)
	err := c.Set(ctx, "k", "new")
	var e *redisx.Error
	if !errors.As(err, &e) || e.Outcome != command.Maybe {
		t.Fatalf("SET on a paused server: %v", err)
	}
	srv.Resume()
	if v := cachedGet(t, c, "k"); v == "old" { // the server runs commands in order of arrival, not of connections
		until(t, "the write", func() bool { return cachedGet(t, c, "k") == "new" })
	}
	for range 100 {
		if v := cachedGet(t, c, "k"); v != "new" {
			t.Fatalf("read %q", v)
		}
	}
}

func TestForeignChangesArriveByPush(t *testing.T) {
	for name, cfg := range map[string]redisx.CacheConfig{
		"tracked keys": {},
		"prefixes":     {Prefixes: []string{"k", "warm"}},
		"every key":    {Prefixes: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			srv, c := cachedServer(t, cfg)
			foreign := cachedClient(t, srv, redisx.CacheConfig{})
			for i, change := range []func(){
				func() { foreign.Set(bgctx, "k", "1") },
				func() { foreign.Append(bgctx, "k", "2") },
				func() { foreign.Del(bgctx, "k") },
				func() { foreign.Set(bgctx, "k", "3", redisx.EX(50*time.Millisecond)) },
				func() {}, // its end
				func() { foreign.Set(bgctx, "k", "4") },
				func() { flushAll(foreign) },
			} {
				want := []string{"1", "12", "", "3", "", "4", ""}[i]
				if i != 4 { // where the key is about to end
					before := c.CacheStats().Hits
					until(t, "a hit", func() bool { cachedGet(t, c, "k"); return c.CacheStats().Hits > before })
				}
				change()
				until(t, fmt.Sprintf("%q", want), func() bool {
					if cachedGet(t, c, "k") == want {
						return true
					}
					if n, _ := foreign.Exists(bgctx, "k"); n == 0 && i == 3 {
						change() // it has ended before it was seen
					}
					return false
				})
			}
			w, err := c.Watch(bgctx, "beyond all prefixes")
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			foreign.Set(bgctx, "beyond all prefixes", "x")
			select {
			case <-w.Changed():
			case <-time.After(5 * time.Second):
				t.Error("the watch was not told")
			}
		})
	}
}

func TestNoKeyIsServedBeyondItsEnd(t *testing.T) {
	srv, c := cachedServer(t, redisx.CacheConfig{})
	foreign := cachedClient(t, srv, redisx.CacheConfig{})
	var wg sync.WaitGroup
	var hits atomic.Int64
	for i := range 40 {
		wg.Go(func() {
			key, life := fmt.Sprint("k", i), time.Duration(60+3*i)*time.Millisecond
			for range 5 {
				if err := foreign.Set(bgctx, key, "v", redisx.EX(life)); err != nil {
					t.Error(err)
					return
				}
				end := time.Now().Add(life + 5*time.Millisecond)
				for {
					began := time.Now()
					v := cachedGet(t, c, key)
					if v == "v" {
						hits.Add(1)
						if began.After(end) {
							t.Errorf("%s was served %v after its end", key, began.Sub(end))
							return
						}
					} else if began.After(end) {
						break
					}
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	if s := c.CacheStats(); s.Hits == 0 {
		t.Errorf("%d reads, stats %+v", hits.Load(), s)
	}
}

func TestTheCacheOfManyKeysStaysWithinItsBound(t *testing.T) {
	const bound = 2 << 20
	keys := 20_000
	if os.Getenv("REDISX_LONG") != "" {
		keys = 100_000
	}
	_, c := cachedServer(t, redisx.CacheConfig{MaxBytes: bound})
	read := func(from, to int) {
		var wg sync.WaitGroup
		for w := range 50 {
			wg.Go(func() {
				for i := from + w; i < to; i += 50 {
					cachedGet(t, c, fmt.Sprintf("key:%032d", i))
				}
			})
		}
		wg.Wait()
	}
	read(0, 200) // what connections and callers need
	before := heapInUse()
	read(200, keys)
	grown := int64(heapInUse()) - int64(before)
	s := c.CacheStats()
	t.Logf("%d keys read: %+v, heap grown by %d", keys, s, grown)
	if s.Bytes > bound || s.Evictions == 0 || s.Entries < 1000 || grown > bound*13/10 {
		t.Errorf("stats %+v, heap grown by %d", s, grown)
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAnotherUserDoesNotReadWhatTheFirstOneCached(t *testing.T) {
	srv := serverstest.Start(t)
	admin := cachedClient(t, srv, redisx.CacheConfig{})
	admin.Cmd(bgctx, "ACL", "SETUSER", "alice", "on", ">pw", "~*", "+@all")
	admin.Cmd(bgctx, "ACL", "SETUSER", "bob", "on", ">pw", "~public", "+@all")
	admin.Set(bgctx, "secret", "v")
	var user atomic.Value
	user.Store("alice")
	cfg := redisx.Config{Addr: srv.Addr, Credentials: func(context.Context) (redisx.Credentials, error) {
		return redisx.Credentials{Username: user.Load().(string), Password: "pw"}, nil
	}}
	c, err := redisx.ConnectConfig(bgctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until(t, "a hit", func() bool {
		if v := cachedGet(t, c, "secret"); v != "v" {
			t.Fatalf("alice read %q", v)
		}
		return c.CacheStats().Hits == 1
	})
	if err := c.Reauthenticate(bgctx); err != nil {
		t.Fatal(err)
	}
	if v := cachedGet(t, c, "secret"); v != "v" || c.CacheStats().Hits != 2 || c.CacheStats().Flushes != 0 {
		t.Errorf("the same user's new credentials: read %q, stats %+v", v, c.CacheStats())
	}
	user.Store("bob")
	if err := c.Reauthenticate(bgctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if v, err := redisx.Cached(bgctx, c, command.Get("secret"), time.Minute); !command.IsCode(err, "NOPERM") {
			t.Errorf("bob read %q, error %v", v, err)
		}
	}
}

// The server holds the write back, so that what is read in between is old.
func TestWhatWasReadDuringAWriteDoesNotOutliveIt(t *testing.T) {
	srv, used := cachedServer(t, redisx.CacheConfig{})
	admin := cachedClient(t, srv, redisx.CacheConfig{})
	for name, write := range map[string]func(c *redisx.Client, v string, answered func()){
		"Do": func(c *redisx.Client, v string, answered func()) {
			if err := c.Set(bgctx, "k", v); err != nil {
				t.Error(err)
			}
			answered()
		},
		"DoBatch by a client that had no cache yet": func(c *redisx.Client, v string, answered func()) {
			c.DoBatch(bgctx, []command.Request{command.Set("k", v).Request()}, func(int, resp3.View, error) {})
			answered()
		},
		"DoBatch": func(c *redisx.Client, v string, answered func()) {
			c.DoBatch(bgctx, []command.Request{command.Set("k", v).Request()}, func(_ int, _ resp3.View, err error) {
				if err != nil {
					t.Error(err)
				}
				answered()
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 50 {
				c, v := used, name+strconv.Itoa(i)
				if strings.Contains(name, "no cache yet") {
					c = cachedClient(t, srv, redisx.CacheConfig{})
				}
				if _, err := admin.Cmd(bgctx, "CLIENT", "PAUSE", 60_000, "WRITE"); err != nil {
					t.Fatal(err)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					write(c, v, func() {
						if got := cachedGet(t, c, "k"); got != v {
							t.Errorf("wrote %q, then read %q", v, got)
						}
					})
				}()
				until(t, "the write's arrival", func() bool {
					list, err := admin.Cmd(bgctx, "CLIENT", "LIST")
					return err == nil && strings.Contains(list.Text(), "flags=b ")
				})
				cachedGet(t, c, "k") // old, and stored
				if _, err := admin.Cmd(bgctx, "CLIENT", "UNPAUSE"); err != nil {
					t.Fatal(err)
				}
				<-done
			}
		})
	}
}
