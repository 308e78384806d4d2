package redisx_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// writerFunc is an io.Writer that is a function.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func copyClient(t *testing.T, cfg redisx.Config) *redisx.Client {
	t.Helper()
	cfg.Addr = serverstest.Start(t).Addr
	client, err := redisx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestCopyToTakesNoMemoryForTheValue(t *testing.T) {
	client := copyClient(t, redisx.Config{})
	const size = 64 << 20
	if _, err := client.SetRange(t.Context(), "big", size-1, "x"); err != nil {
		t.Fatal(err)
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	got, most, last := 0, uint64(0), byte(0)
	n, err := client.CopyTo(t.Context(), writerFunc(func(b []byte) (int, error) {
		if got += len(b); got&(1<<22-1) < len(b) {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
		last = b[len(b)-1]
		return len(b), nil
	}), command.Get("big"))
	if err != nil || n != size || got != size || last != 'x' {
		t.Errorf("%d bytes written, %d told, the last one %q, error %v", got, n, last, err)
	}
	if most > before.HeapAlloc+4<<20 {
		t.Errorf("the heap grew by %d bytes", most-before.HeapAlloc)
	}
}

func TestCopyToTellsWhatIsNotAString(t *testing.T) {
	client := copyClient(t, redisx.Config{})
	ctx := t.Context()
	if err := client.Set(ctx, "s", "text"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RPush(ctx, "l", "a", "b"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for range 20 { // on one connection, one after the other
		out.Reset()
		if n, err := client.CopyTo(ctx, &out, command.Get("s")); err != nil || n != 4 || out.String() != "text" {
			t.Errorf("a string: %d, %q, %v", n, out.String(), err)
		}
		if n, err := client.CopyTo(ctx, io.Discard, command.Get("absent")); err != redisx.Nil || n != 0 {
			t.Errorf("nothing: %d, %v", n, err)
		}
		var e *redisx.Error
		var wrong *resp3.TypeError
		if _, err := client.CopyTo(ctx, io.Discard, command.LRange("l", 0, -1)); !errors.As(err, &e) || !errors.As(err, &wrong) || e.Outcome != command.Done {
			t.Errorf("a list: %v", err)
		}
		var reply redisx.ServerError
		if _, err := client.CopyTo(ctx, io.Discard, command.Get("l")); !errors.As(err, &reply) || reply.Code() != "WRONGTYPE" {
			t.Errorf("GET of a list: %v", err)
		}
		out.Reset()
		if _, err := client.CopyTo(ctx, &out, command.Info()); err != nil || !strings.Contains(out.String(), "redis_version") {
			t.Errorf("verbatim text: %d bytes, %v", out.Len(), err)
		}
	}
	if _, err := client.CopyTo(ctx, io.Discard, command.Untyped("WATCH", "k")); err == nil {
		t.Error("a command that binds its connection was sent")
	}
	if n := client.Stats().Dials; n > 3 {
		t.Errorf("%d dials: connections are not kept", n)
	}
}

// What ends in the middle costs one private connection and nothing else.
func TestACopyThatEndsInTheMiddleSaysHowFarItCame(t *testing.T) {
	client := copyClient(t, redisx.Config{MaxPrivate: 2})
	const size = 32 << 20
	if _, err := client.SetRange(t.Context(), "big", size-1, "x"); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	for range 5 {
		got := 0
		n, err := client.CopyTo(t.Context(), writerFunc(func(b []byte) (int, error) {
			if got += len(b); got > 1<<20 {
				return 3, full
			}
			return len(b), nil
		}), command.Get("big"))
		var e *redisx.Error
		if !errors.Is(err, full) || !errors.As(err, &e) || e.Outcome != command.Done || n < 1<<19 || n > 2<<20 {
			t.Errorf("the writer failed: %d bytes, %v", n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got = 0
		start := time.Now()
		n, err = client.CopyTo(ctx, writerFunc(func(b []byte) (int, error) {
			if got += len(b); got > 1<<20 {
				cancel()
			}
			return len(b), nil
		}), command.Get("big"))
		if !errors.Is(err, context.Canceled) || redisx.SafeToRetry(err) || n >= size || n != int64(got) || time.Since(start) > busy {
			t.Errorf("cancelled: %d bytes of %d written, %v, after %v", n, got, err, time.Since(start))
		}
		cancel()
	}
	if v, err := client.GetRange(t.Context(), "big", -1, -1); err != nil || v != "x" {
		t.Errorf("afterwards: %q, %v", v, err)
	}
}

// A handler whose panic somebody recovers, as net/http does, must not cost the
// client its Close, nor a place among the private connections.
func TestAWriterThatPanicsCostsOneConnection(t *testing.T) {
	client := copyClient(t, redisx.Config{MaxPrivate: 1})
	if err := client.Set(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		func() {
			defer func() {
				if r := recover(); r != "mine" {
					t.Errorf("recovered %v", r)
				}
			}()
			client.CopyTo(t.Context(), writerFunc(func([]byte) (int, error) { panic("mine") }), command.Get("k"))
		}()
	}
	if n, err := client.CopyTo(t.Context(), io.Discard, command.Get("k")); n != 1 || err != nil {
		t.Errorf("afterwards: %d bytes, %v", n, err)
	}
}
