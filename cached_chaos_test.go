package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
)

// versions is what a checker knows of one key, whose value is a counter.
type versions struct {
	key   string
	own   atomic.Int64 // the highest that this client has written, and knows
	known atomic.Int64 // the highest that anybody has known for maxStale
}

// maxStale is how long another client's write may stay unseen on an idle
// loopback. The checker measures it on a busy machine.
const maxStale = time.Second

func raise(v *atomic.Int64, to int64) {
	for {
		old := v.Load()
		if old >= to || v.CompareAndSwap(old, to) {
			return
		}
	}
}

// chaos is one client with a cache under test, and those who disturb it.
type chaos struct {
	t       *testing.T
	srv     *servers.Server
	client  *redisx.Client
	foreign *redisx.Client
	keys    []*versions
	stop    atomic.Bool
	wg      sync.WaitGroup
	reads   atomic.Int64
	writes  atomic.Int64
	kills   int
}

// The history of each key is its counter, so that every answer tells how old
// it is.
func TestCachedIsNeverOlderThanWhatItsClientKnows(t *testing.T) {
	srv := serverstest.Start(t)
	c := &chaos{
		t: t, srv: srv,
		client:  cachedClient(t, srv, redisx.CacheConfig{MaxBytes: 4096}), // some are evicted, too
		foreign: cachedClient(t, srv, redisx.CacheConfig{}),
	}
	for i := range 12 {
		c.keys = append(c.keys, &versions{key: fmt.Sprint("version", i)})
	}
	for range 8 {
		c.wg.Go(c.reader)
	}
	for range 2 {
		c.wg.Go(c.ownWriter)
	}
	c.wg.Go(c.foreignWriter)
	c.killer(100)
	c.stop.Store(true)
	c.wg.Wait()
	s := c.client.CacheStats()
	t.Logf("%d reads, %d writes, %d kills; %+v", c.reads.Load(), c.writes.Load(), c.kills, s)
	if s.Hits == 0 || s.Shared == 0 || s.Invalidations == 0 || s.Flushes < 60 || s.Evictions == 0 || s.Uncached == 0 {
		t.Errorf("the test did not reach what it is about: %+v", s)
	}
}

func (c *chaos) pick() *versions { return c.keys[rand.IntN(len(c.keys))] }

func (c *chaos) reader() {
	for i := 0; !c.stop.Load() && !c.t.Failed(); i++ {
		k := c.pick()
		own, known := k.own.Load(), k.known.Load()
		ctx, cancel := context.WithTimeout(bgctx, 10*time.Second)
		if i%50 == 0 { // some callers leave early
			cancel()
			ctx, cancel = context.WithTimeout(bgctx, time.Duration(rand.IntN(300))*time.Microsecond)
		}
		var got int64
		var err error
		switch i % 3 {
		case 0:
			var m []command.Optional[string]
			if m, err = redisx.Cached(ctx, c.client, command.MGet(k.key, "absent"), time.Hour); err == nil && m[0].OK {
				got, err = strconv.ParseInt(m[0].Value, 10, 64)
			}
		default:
			got, err = redisx.Cached(ctx, c.client, command.As(command.Get(k.key), command.AsInt), time.Hour)
		}
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded) && i%50 == 0:
			continue
		case err != nil && !errors.Is(err, redisx.Nil):
			c.t.Errorf("reading %s: %v", k.key, err)
			return
		case got < own:
			c.t.Errorf("%s: read version %d after this client had written %d", k.key, got, own)
			return
		case got < known:
			c.t.Errorf("%s: read version %d, and %d has been there for %v", k.key, got, known, maxStale)
			return
		}
		c.reads.Add(1)
	}
}

func (c *chaos) ownWriter() {
	script := redisx.NewScript(`return redis.call('INCR', KEYS[1])`)
	for i := 0; !c.stop.Load() && !c.t.Failed(); i++ {
		k := c.pick()
		var n int64
		var err error
		switch i % 4 {
		case 0:
			n, err = c.client.Incr(bgctx, k.key)
		case 1:
			p := c.client.Pipeline()
			p.Get(k.key)
			f := p.Incr(k.key)
			if err = p.Exec(bgctx); err == nil || errors.Is(err, redisx.Nil) {
				n, err = f.Result()
			}
		case 2:
			v, e := script.Run(bgctx, c.client, []string{k.key})
			if err = e; err == nil {
				n, err = v.Int()
			}
		case 3: // a write whose caller leaves: it may run later
			ctx, cancel := context.WithTimeout(bgctx, time.Duration(rand.IntN(300))*time.Microsecond)
			n, err = c.client.Incr(ctx, k.key)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				continue
			}
		}
		if err != nil {
			c.t.Errorf("writing %s: %v", k.key, err)
			return
		}
		raise(&k.own, n)
		c.writes.Add(1)
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
	}
}

func (c *chaos) foreignWriter() {
	for !c.stop.Load() && !c.t.Failed() {
		k := c.pick()
		n, err := c.foreign.Incr(bgctx, k.key)
		if err != nil {
			c.t.Errorf("writing %s: %v", k.key, err)
			return
		}
		time.AfterFunc(maxStale, func() { raise(&k.known, n) })
		c.writes.Add(1)
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
	}
}

// killer ends the tracking connection n times, each time a new one.
func (c *chaos) killer(n int) {
	last := ""
	end := time.Now().Add(60 * time.Second)
	for c.kills < n && !c.t.Failed() {
		if time.Now().After(end) {
			c.t.Errorf("only %d kills", c.kills)
			return
		}
		list, err := c.foreign.Cmd(bgctx, "CLIENT", "LIST")
		if err != nil {
			c.t.Error(err)
			return
		}
		id := connectionID(list.Text(), true)
		if id == "" || id == last {
			time.Sleep(200 * time.Microsecond)
			continue
		}
		time.Sleep(time.Duration(rand.IntN(6)) * time.Millisecond)
		if _, err := c.foreign.Cmd(bgctx, "CLIENT", "KILL", "ID", id); err != nil {
			c.t.Error(err)
			return
		}
		last = id
		c.kills++
	}
}

// connectionID returns the id of a connection that tracks keys, or of one that
// does not nor asks for the list, from CLIENT LIST.
func connectionID(list string, tracks bool) string {
	for line := range strings.Lines(list) {
		f := map[string]string{}
		for _, pair := range strings.Fields(line) {
			name, value, _ := strings.Cut(pair, "=")
			f[name] = value
		}
		if strings.Contains(f["flags"], "t") == tracks && !strings.HasPrefix(f["cmd"], "client|list") {
			return f["id"]
		}
	}
	return ""
}

func TestALostSharedConnectionEmptiesTheCache(t *testing.T) {
	srv, c := cachedServer(t, redisx.CacheConfig{})
	admin := cachedClient(t, srv, redisx.CacheConfig{})
	for i := range 4 {
		v := strconv.Itoa(i)
		c.Set(bgctx, "k", v)
		until(t, "a hit", func() bool {
			before := c.CacheStats().Hits
			cachedGet(t, c, "k")
			return c.CacheStats().Hits > before
		})
		list, err := admin.Cmd(bgctx, "CLIENT", "LIST")
		if err != nil {
			t.Fatal(err)
		}
		flushes := c.CacheStats().Flushes
		if _, err := admin.Cmd(bgctx, "CLIENT", "KILL", "ID", connectionID(list.Text(), false)); err != nil {
			t.Fatal(err)
		}
		until(t, "another connection", func() bool { _, err := c.Get(bgctx, "k"); return err == nil })
		if got := cachedGet(t, c, "k"); got != v {
			t.Errorf("read %q, want %q", got, v)
		}
		if c.CacheStats().Flushes == flushes {
			t.Error("the cache outlived the shared connection")
		}
	}
}
