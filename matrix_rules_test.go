package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// rules hold for every server, every protocol and every way there.
var rules = []struct {
	name  string
	holds func(t *testing.T, s *side)
}{
	{"any bytes come back", ruleBytes},
	{"strings and numbers", ruleStrings},
	{"hashes, sets and lists", ruleCollections},
	{"sorted sets", ruleSortedSets},
	{"streams", ruleStreams},
	{"keys expire", ruleExpiry},
	{"a scan finds every key", ruleScan},
	{"errors have codes", ruleErrors},
	{"a pipeline of thousands", rulePipeline},
	{"scripts", ruleScripts},
	{"a blocking pop waits, and for no longer than its time", ruleBlocking},
	{"cancel and deadline", ruleContexts},
	{"sessions", ruleSessions},
	{"transactions", ruleTransactions},
	{"messages", ruleMessages},
	{"the cache", ruleCache},
	{"a killed connection is replaced", ruleKilled},
}

func ruleBytes(t *testing.T, s *side) {
	ctx := call(t)
	for name, value := range map[string]string{
		"empty":     "",
		"line ends": "\r\n\r\n$-1\r\n*0\r\n",
		"NUL":       "\x00a\x00",
		"not UTF-8": "\xff\xfe\x80\xc3\x28",
		"all":       allBytes(),
		"1 MiB":     strings.Repeat(allBytes(), 4096),
	} {
		key := s.key("bytes:" + value[:min(len(value), 300)])
		equal(t, name+": SET", 0, s.client.Set(ctx, key, value), 0)
		got, err := s.client.Get(ctx, key)
		equal(t, name+": GET", got, err, value)
		raw, err := s.client.GetBytes(ctx, key)
		equal(t, name+": GET into bytes", string(raw), err, value)
		seen, err := s.admin.Get(ctx, key)
		equal(t, name+": what the server has", seen, err, value)
		v, err := s.client.Cmd(ctx, "ECHO", []byte(value))
		equal(t, name+": ECHO", v.Text(), err, value)
	}
}

func allBytes() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

func ruleStrings(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	n, err := c.IncrBy(ctx, s.key("n"), 1<<53)
	equal(t, "INCRBY", n, err, 1<<53)
	n, err = c.Incr(ctx, s.key("n"))
	equal(t, "INCR", n, err, 1<<53+1)
	x, err := c.IncrByFloat(ctx, s.key("x"), 2.5)
	equal(t, "INCRBYFLOAT", x, err, 2.5)
	n, err = c.Append(ctx, s.key("a"), "hello")
	equal(t, "APPEND", n, err, 5)
	got, err := c.MGet(ctx, s.key("a"), s.key("none"), s.key("n"))
	same(t, "MGET", got, err, []command.Optional[string]{{Value: "hello", OK: true}, {}, {Value: "9007199254740993", OK: true}})
	if _, err := c.Get(ctx, s.key("none")); err != redisx.Nil {
		t.Errorf("GET of nothing: %v", err)
	}
	n, err = c.Del(ctx, s.key("n"), s.key("none"))
	equal(t, "DEL", n, err, 1)
	n, err = c.Exists(ctx, s.key("n"), s.key("a"), s.key("a"))
	equal(t, "EXISTS", n, err, 2)
}

func ruleCollections(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	n, err := c.HSet(ctx, s.key("h"), command.KV("a", "1"), command.KV("b", "\r\n"), command.KV("", "empty"))
	equal(t, "HSET", n, err, 3)
	h, err := c.HGetAll(ctx, s.key("h"))
	same(t, "HGETALL", h, err, map[string]string{"a": "1", "b": "\r\n", "": "empty"})
	h, err = c.HGetAll(ctx, s.key("none"))
	same(t, "HGETALL of nothing", h, err, map[string]string{})
	n, err = c.SAdd(ctx, s.key("s"), "x", "y", "x")
	equal(t, "SADD", n, err, 2)
	in, err := c.SIsMember(ctx, s.key("s"), "y")
	equal(t, "SISMEMBER", in, err, true)
	many, err := c.SMIsMember(ctx, s.key("s"), "y", "z")
	same(t, "SMISMEMBER", many, err, []bool{true, false})
	n, err = c.RPush(ctx, s.key("l"), "1", "2", "3")
	equal(t, "RPUSH", n, err, 3)
	l, err := c.LRange(ctx, s.key("l"), 0, -1)
	same(t, "LRANGE", l, err, []string{"1", "2", "3"})
	l, err = c.LRange(ctx, s.key("none"), 0, -1)
	same(t, "LRANGE of nothing", l, err, []string{})
}

func ruleSortedSets(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	members := []command.Z{{Score: -1.5, Member: "low"}, {Score: 0, Member: "zero"}, {Score: 1e300, Member: "high"}}
	n, err := c.ZAdd(ctx, s.key("z"), members)
	equal(t, "ZADD", n, err, 3)
	got, err := c.ZRangeWithScores(ctx, s.key("z"), 0, -1)
	same(t, "ZRANGE WITHSCORES", got, err, members)
	x, err := c.ZIncrBy(ctx, s.key("z"), 0.5, "low")
	equal(t, "ZINCRBY", x, err, -1)
}

func ruleStreams(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	fields := []command.Pair{command.KV("f", "1"), command.KV("f", "2"), command.KV("bin", "\x00\r\n")}
	id, err := c.XAdd(ctx, s.key("stream"), "5-1", fields)
	equal(t, "XADD", id, err, "5-1")
	want := []command.Stream{{Key: s.key("stream"), Entries: []command.Entry{{ID: "5-1", Fields: fields}}}}
	got, err := c.XRead(ctx, []command.From{{Key: s.key("stream"), ID: "0"}})
	same(t, "XREAD", got, err, want)
	equal(t, "XGROUP CREATE", 0, c.XGroupCreate(ctx, s.key("stream"), "g", "0"), 0)
	got, err = c.XReadGroup(ctx, "g", "me", []command.From{{Key: s.key("stream"), ID: ">"}})
	same(t, "XREADGROUP", got, err, want)
	n, err := c.XAck(ctx, s.key("stream"), "g", "5-1", "6-0")
	equal(t, "XACK", n, err, 1)
}

func ruleExpiry(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	equal(t, "SET EX", 0, c.Set(ctx, s.key("e"), "v", redisx.EX(time.Minute)), 0)
	life, err := c.PTTL(ctx, s.key("e"))
	if err != nil || life.Forever || life.Left <= 0 || life.Left > time.Minute {
		t.Errorf("PTTL: %+v, %v", life, err)
	}
	equal(t, "SET PX", 0, c.Set(ctx, s.key("e"), "v", redisx.EX(50*time.Millisecond)), 0)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := c.Get(ctx, s.key("e")); errors.Is(err, redisx.Nil) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the key does not expire")
		}
	}
	if _, err := c.PTTL(ctx, s.key("e")); !errors.Is(err, redisx.Nil) {
		t.Errorf("PTTL of nothing: %v", err)
	}
}

func ruleScan(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	p := c.Pipeline()
	for i := range 300 {
		p.Set(s.key(fmt.Sprintf("scan:%d", i)), "")
	}
	equal(t, "SET of all", 0, p.Exec(ctx), 0)
	found := map[string]bool{}
	for cursor := uint64(0); ; {
		step, err := c.Scan(ctx, cursor, redisx.MATCH(s.key("scan:*")), redisx.COUNT(100))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range step.Keys {
			found[k] = true
		}
		if cursor = step.Cursor; cursor == 0 {
			break
		}
	}
	equal(t, "keys found", len(found), nil, 300)
}

func ruleErrors(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	equal(t, "SET", 0, c.Set(ctx, s.key("text"), "text"), 0)
	_, wrongType := c.RPush(ctx, s.key("text"), "x")
	_, notNumber := c.Incr(ctx, s.key("text"))
	_, unknown := c.Cmd(ctx, "NO-SUCH-COMMAND", "secret argument")
	for err, code := range map[error]string{wrongType: "WRONGTYPE", notNumber: "ERR", unknown: "ERR"} {
		var said redisx.ServerError
		if !errors.As(err, &said) || said.Code() != code || outcomeOf(t, err) != command.Done {
			t.Errorf("%v, want code %s", err, code)
		}
	}
	v, err := c.Get(ctx, s.key("text"))
	equal(t, "the next command", v, err, "text")
}

func rulePipeline(t *testing.T, s *side) {
	ctx := call(t)
	p := s.client.Pipeline()
	const n = 5000
	var counts [n]redisx.Future[int64]
	var echoes [n]redisx.Future[resp3.Value]
	for i := range n {
		counts[i] = p.Incr(s.key("count"))
		echoes[i] = redisx.Queue(p, echo(fmt.Sprint(i)))
	}
	bad := p.LRange(s.key("count"), 0, -1)
	var said redisx.ServerError
	if err := p.Exec(ctx); !errors.As(err, &said) || said.Code() != "WRONGTYPE" {
		t.Errorf("Exec: %v", err)
	}
	for i := range n {
		c, err := counts[i].Result()
		equal(t, "INCR", c, err, int64(i+1))
		e, err := echoes[i].Result()
		equal(t, "ECHO", e.Text(), err, fmt.Sprint(i))
	}
	if _, err := bad.Result(); !errors.As(err, &said) {
		t.Errorf("the command that fails: %v", err)
	}
}

func ruleScripts(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	v, err := c.Eval(ctx, "redis.call('SET', KEYS[1], ARGV[1]); return {1, ARGV[1], false, redis.status_reply('fine')}",
		[]string{s.key("script")}, command.Str("\x00\r\n"))
	if err != nil || v.Len() != 4 || v.Elems()[0].Text() != "1" || v.Elems()[1].Text() != "\x00\r\n" || !v.Elems()[2].IsNull() || v.Elems()[3].Text() != "fine" {
		t.Errorf("EVAL: %v, %v", v, err)
	}
	_, err = c.Eval(ctx, "return redis.error_reply('MINE text')", nil)
	var said redisx.ServerError
	if !errors.As(err, &said) || said.Code() != "MINE" {
		t.Errorf("an error of a script: %v", err)
	}
	_, err = c.EvalSHA(ctx, strings.Repeat("0", 40), nil)
	if !errors.As(err, &said) || said.Code() != "NOSCRIPT" || !redisx.SafeToRetry(err) {
		t.Errorf("a script that is not there: %v", err)
	}
}

func ruleBlocking(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	start := time.Now()
	if _, err := c.BLPop(ctx, 50*time.Millisecond, s.key("queue")); !errors.Is(err, redisx.Nil) || time.Since(start) < 40*time.Millisecond {
		t.Errorf("an empty list: %v after %v", err, time.Since(start))
	}
	time.AfterFunc(20*time.Millisecond, func() { s.admin.RPush(bg, s.key("queue"), "job") })
	got, err := c.BLPop(ctx, 10*time.Second, s.key("queue"))
	equal(t, "BLPOP", got, err, command.KV(s.key("queue"), "job"))
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	start = time.Now()
	if _, err := c.BLPop(short, 0, s.key("queue")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("without end, cancelled: %v after %v", err, time.Since(start))
	}
	n, err := c.Incr(ctx, s.key("meanwhile"))
	equal(t, "INCR", n, err, 1)
}

func ruleContexts(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Incr(over, s.key("never")); !errors.Is(err, context.Canceled) || outcomeOf(t, err) != command.NotSent {
		t.Errorf("a context that has ended: %v", err)
	}
	if _, err := s.admin.Cmd(ctx, "CLIENT", "PAUSE", 60_000, "WRITE"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := c.Incr(short, s.key("maybe")); !errors.Is(err, context.DeadlineExceeded) || outcomeOf(t, err) != command.Maybe {
		t.Errorf("a paused server: %v", err)
	}
	if _, err := s.admin.Cmd(ctx, "CLIENT", "UNPAUSE"); err != nil {
		t.Fatal(err)
	}
	n, err := c.Incr(ctx, s.key("maybe"))
	equal(t, "the one before ran late", n, err, 2)
	n, err = c.Exists(ctx, s.key("never"))
	equal(t, "keys of the call that was never made", n, err, 0)
}

func ruleSessions(t *testing.T, s *side) {
	err := s.client.WithSession(call(t), func(ctx context.Context, session *redisx.Session) error {
		if _, err := session.Cmd(ctx, "SELECT", 3); err != nil {
			return err
		}
		return session.Set(ctx, s.key("db"), "three")
	})
	equal(t, "WithSession", 0, err, 0)
	if _, err := s.client.Get(call(t), s.key("db")); !errors.Is(err, redisx.Nil) {
		t.Errorf("the session's database reached others: %v", err)
	}
	if _, err := s.client.Cmd(call(t), "SELECT", 3); err == nil || !redisx.SafeToRetry(err) {
		t.Errorf("SELECT on the shared connection: %v", err)
	}
}

func ruleTransactions(t *testing.T, s *side) {
	ctx, c := call(t), s.client
	tx := c.Tx()
	n := tx.Incr(s.key("tx"))
	h := tx.HGetAll(s.key("tx hash"))
	equal(t, "Exec", 0, tx.Exec(ctx), 0)
	got, err := n.Result()
	equal(t, "INCR", got, err, 1)
	m, err := h.Result()
	same(t, "HGETALL", m, err, map[string]string{})
	tries := 0
	err = c.WatchTx(ctx, []string{s.key("tx")}, 3, func(ctx context.Context, session *redisx.Session, tx *redisx.Tx) error {
		if tries++; tries == 1 {
			if _, err := s.admin.Incr(ctx, s.key("tx")); err != nil {
				return err
			}
		}
		v, err := session.Get(ctx, s.key("tx"))
		tx.Set(s.key("copy"), v)
		return err
	})
	equal(t, "WatchTx", tries, err, 2)
	v, err := c.Get(ctx, s.key("copy"))
	equal(t, "what it wrote", v, err, "2")
}

func ruleMessages(t *testing.T, s *side) {
	ctx := call(t)
	sub, err := s.client.Subscribe(ctx, redisx.Channels(s.key("news")), redisx.Patterns(s.key("p*")))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for _, m := range []redisx.Message{
		{Channel: s.key("news"), Payload: "\x00\r\n"},
		{Channel: s.key("pattern"), Pattern: s.key("p*"), Payload: ""},
	} {
		n, err := s.admin.Publish(ctx, m.Channel, m.Payload)
		equal(t, "PUBLISH", n, err, 1)
		got, err := sub.Next(ctx)
		same(t, "message", got, err, m)
	}
}

func ruleCache(t *testing.T, s *side) {
	ctx := call(t)
	equal(t, "SET", 0, s.admin.Set(ctx, s.key("cached"), "old"), 0)
	read := func() string {
		v, err := redisx.Cached(ctx, s.client, command.Get(s.key("cached")), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	equal(t, "the first read", read(), nil, "old")
	read()
	hit := func() bool { read(); return s.client.CacheStats().Hits > 0 }
	if s.config.RESP2 {
		equal(t, "hits without push", hit(), nil, false)
	} else {
		until(t, "a hit", hit)
	}
	equal(t, "SET by another client", 0, s.admin.Set(ctx, s.key("cached"), "new"), 0)
	for end := time.Now().Add(5 * time.Second); read() != "new"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the change is not seen")
		}
	}
}

func ruleKilled(t *testing.T, s *side) {
	ctx := call(t)
	if _, err := s.admin.Cmd(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); err != nil {
		t.Fatal(err)
	}
	works(t, s.client)
	v, err := s.client.Cmd(ctx, "ECHO", "again")
	equal(t, "ECHO", v.Text(), err, "again")
}
