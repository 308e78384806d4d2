package redisx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/resp3"
)

// hostileDeadline bounds the calls that only their contexts end. Those that are
// answered with what is no RESP end by it, within the 3 s that are demanded.
const (
	hostileDeadline   = 250 * time.Millisecond
	malformedDeadline = 3 * time.Second
)

func (h hostileReply) deadline() time.Duration {
	if h.malformed {
		return malformedDeadline
	}
	return hostileDeadline
}

const endless = 1 << 30

// A hostile reply. malformed says that the client must name it as a protocol
// error; otherwise any typed error by the deadline is right.
type hostileReply struct {
	name      string
	malformed bool
	play      func(w *wire)
}

func says(s string) func(*wire) { return func(w *wire) { w.put(s) } }

func floods(head, body string) func(*wire) {
	return func(w *wire) {
		w.put(head)
		w.repeat(body, endless)
	}
}

func leaves(s string) func(*wire) {
	return func(w *wire) {
		w.put(s)
		w.Close()
		w.err = net.ErrClosed
	}
}

var hostileReplies = []hostileReply{
	{"a bulk of 10^12 bytes", true, says("$999999999999\r\n")},
	{"a bulk of int64 max bytes", true, says("$9223372036854775807\r\n")},
	{"a bulk of 10^30 bytes", true, says("$1000000000000000000000000000000\r\n")},
	{"a bulk of 512 MB of which 3 bytes come", false, says("$536870912\r\nabc")},
	{"a bulk of length -2", true, says("$-2\r\n")},
	{"a bulk of length -0", true, says("$-0\r\n")},
	{"a bulk without a length", true, says("$\r\n\r\n")},
	{"an array of 10^9", true, says("*1000000000\r\n")},
	{"an array of int64 max", true, says("*9223372036854775807\r\n")},
	{"an array of -2", true, says("*-2\r\n")},
	{"an array of 16 Mi of which one comes", false, says("*16777216\r\n:1\r\n")},
	{"a map of 10^9", true, says("%1000000000\r\n")},
	{"a map of which twice the length overflows", true, says("%4611686018427387904\r\n")},
	{"a map of -1", true, says("%-1\r\n")},
	{"a set of 10^9", true, says("~1000000000\r\n")},
	{"a push of 10^9", true, says(">1000000000\r\n")},
	{"an attribute of 10^9", true, says("|1000000000\r\n")},
	{"a blob error of 10^12 bytes", true, says("!999999999999\r\n")},
	{"a verbatim string of int64 max bytes", true, says("=9223372036854775807\r\n")},
	{"arrays nested 5 M deep", true, func(w *wire) { w.repeat("*1\r\n", 20_000_000) }},
	{"maps nested 5 M deep", true, func(w *wire) { w.repeat("%1\r\n+k\r\n", 40_000_000) }},
	{"attributes nested 5 M deep", true, func(w *wire) { w.repeat("|1\r\n+k\r\n", 40_000_000) }},
	{"an endless simple string", true, floods("+", "x")},
	{"an endless error", true, floods("-", "x")},
	{"an endless integer", true, floods(":", "1")},
	{"an endless double", true, floods(",", "1")},
	{"an endless length", true, floods("$", "0")},
	{"a big number of 10 MB", true, func(w *wire) { w.put("("); w.repeat("7", 10<<20); w.put("\r\n") }},
	{"LF without CR", true, says("+OK\n")},
	{"CR without LF", true, says("+OK\rX")},
	{"a bulk with a wrong trailer", true, says("$3\r\nabcXY")},
	{"a bulk longer than announced", true, says("$3\r\nabcdef\r\n")},
	{"a boolean that is neither t nor f", true, says("#x\r\n")},
	{"a boolean spelt out", true, says("#true\r\n")},
	{"a double with two points", true, says(",1.2.3\r\n")},
	{"a double with an empty exponent", true, says(",1e\r\n")},
	{"an integer with a letter", true, says(":12a\r\n")},
	{"an integer beyond int64", true, says(":9223372036854775808\r\n")},
	{"an integer without digits", true, says(":\r\n")},
	{"a big number with a letter", true, says("(12x\r\n")},
	{"a null with text", true, says("_x\r\n")},
	{"a verbatim string shorter than its format", true, says("=2\r\nab\r\n")},
	{"a verbatim string without a colon", true, says("=5\r\ntxtab\r\n")},
	{"a kind that does not exist", true, says("@foo\r\n")},
	{"HTTP/1.1 400", true, says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")},
	{"a TLS alert", true, says("\x15\x03\x01\x00\x02\x02\x28")},
	{"an SSH banner", true, says("SSH-2.0-OpenSSH_9.2\r\n")},
	{"empty lines", true, says("\r\n\r\n")},
	{"zero bytes", true, says("\x00\x00\x00\x00")},
	{"a flood of pushes and no reply", false, floods("", ">2\r\n+message\r\n+x\r\n")},
	{"a flood of attributes and no reply", true, floods("", "|1\r\n+k\r\n+v\r\n")},
	{"a push inside an array", true, says("*2\r\n>1\r\n+x\r\n+y\r\n")},
	{"a streamed string without end", false, func(w *wire) { w.put("$?\r\n"); w.repeat(";4\r\naaaa\r\n", 20<<20) }},
	{"a streamed array without end", false, func(w *wire) { w.put("*?\r\n"); w.repeat(":1\r\n", 20<<20) }},
	{"streamed arrays nested without end", true, floods("", "*?\r\n")},
	{"a streamed map that ends after a key", true, says("%?\r\n+k\r\n.\r\n")},
	{"an end of nothing", true, says(".\r\n")},
	{"a chunk of nothing", true, says(";4\r\naaaa\r\n")},
	{"a drip of single bytes", false, func(w *wire) {
		for w.put("$536870912\r\n"); w.put("x"); {
			time.Sleep(10 * time.Millisecond)
		}
	}},
	{"a reply too few", false, func(*wire) {}},
	{"the connection closed without a reply", false, leaves("")},
	{"the connection closed in the middle of a reply", false, leaves("$10\r\nabc")},
	{"the connection reset in the middle of a reply", false, func(w *wire) {
		w.put("$10\r\nabc")
		w.Conn.(*net.TCPConn).SetLinger(0)
		w.Close()
		w.err = net.ErrClosed
	}},
}

func hostileConfig(t *testing.T, s *fakeServer) redisx.Config {
	t.Helper()
	cfg, err := redisx.ParseURL(s.url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DialTimeout, cfg.Timeout = malformedDeadline, time.Second
	cfg.Limits = resp3.Limits{Elements: 1 << 24, Bulk: 512 << 20}
	return cfg
}

func TestHostileReplies(t *testing.T) {
	if n := len(hostileReplies); n < 38 {
		t.Errorf("%d kinds of hostile reply, want 38 or more", n)
	}
	for _, h := range hostileReplies {
		t.Run("to GET/"+h.name, func(t *testing.T) {
			s := newFakeServer(t)
			client, err := redisx.ConnectConfig(context.Background(), hostileConfig(t, s))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			s.play("GET", h.play)
			checkHostile(t, s, h, func(ctx context.Context) error {
				v, err := client.Get(ctx, "k")
				if err == nil {
					t.Errorf("a value came: %.40q", v)
				}
				return err
			})
			s.play("", nil)
			stillGood(t, client)
		})
		t.Run("to HELLO/"+h.name, func(t *testing.T) {
			s := newFakeServer(t)
			s.play("HELLO", h.play)
			checkHostile(t, s, h, func(ctx context.Context) error {
				client, err := redisx.ConnectConfig(ctx, hostileConfig(t, s))
				if err == nil {
					client.Close()
				}
				return err
			})
			s.play("", nil)
			client, err := redisx.ConnectConfig(context.Background(), hostileConfig(t, s))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			stillGood(t, client)
		})
	}
}

// checkHostile runs call and checks its error, its time and its memory.
func checkHostile(t *testing.T, s *fakeServer, h hostileReply, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), h.deadline())
	defer cancel()
	stop := watchHeap()
	start := time.Now()
	err := call(ctx)
	took := time.Since(start)
	grown := stop()
	sent := s.received.Load()

	var e *redisx.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want a typed one", err)
	}
	var p *resp3.ProtocolError
	if got := errors.As(err, &p); h.malformed && !got {
		t.Errorf("error %v, want a protocol error", err)
	}
	if len(err.Error()) > 500 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	if took > h.deadline()+busy {
		t.Errorf("took %v, bound %v", took, h.deadline())
	}
	if bound := 2*sent + 4<<20; grown > bound {
		t.Errorf("%d bytes of memory for %d received, bound %d", grown, sent, bound)
	}
}

// watchHeap samples the heap until the returned function is called, which
// returns how much it grew at most, garbage not yet collected included.
func watchHeap() func() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	runtime.GC()
	before := read()
	most := before
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			most = max(most, read())
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(quit)
		<-done
		return most - before
	}
}

// stillGood checks that the client works, and gives no one a stale value.
func stillGood(t *testing.T, client *redisx.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	deadline := time.Now().Add(5 * time.Second)
	for i := 0; i < 3; {
		key := fmt.Sprint("good", i)
		v, err := client.Get(ctx, key)
		switch {
		case err == nil && v != key:
			t.Fatalf("GET %s returned %q", key, v)
		case err == nil:
			i++
		case time.Now().After(deadline):
			t.Fatalf("the client does not recover: %v", err)
		}
	}
}

func TestAReplyTooManyReachesNobody(t *testing.T) {
	s := newFakeServer(t)
	client, err := redisx.ConnectConfig(context.Background(), hostileConfig(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 5 {
		s.play("GET", says("$5\r\nfirst\r\n$5\r\nstray\r\n"))
		v, err := client.Get(context.Background(), "k")
		if err == nil && v != "first" {
			t.Fatalf("got %q", v)
		}
		s.play("", nil)
		stillGood(t, client)
	}
}

func TestWhatStandsOnThePortIsNamed(t *testing.T) {
	for said, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n": "HTTP/1.1 400",
		"SSH-2.0-OpenSSH_9.2\r\n":      "SSH-2.0",
		"\x15\x03\x01\x00\x02\x02\x28": `\x15\x03\x01`,
	} {
		s := newFakeServer(t)
		s.play("HELLO", says(said))
		_, err := redisx.Connect(context.Background(), s.url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that quotes %q", err, want)
		}
	}
}
