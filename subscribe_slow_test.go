package redisx_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/resp3"
)

// A subscriber that never reads while everybody else works on: memory stays
// within its bound, every drop is counted and told, and the others feel as good
// as nothing. REDISX_LONG=1 publishes 1 GB instead of 150 MB.
func TestASlowSubscriberCostsItsBufferAndNothingElse(t *testing.T) {
	const size, buffer, allowance = 1000, 8 << 20, 10 << 20
	n, slack := 150_000, 250*time.Millisecond // of a machine with other work to do
	if os.Getenv("REDISX_LONG") == "1" {
		n, slack = 1_000_000, 10*time.Millisecond
	}
	server := serverstest.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := redisx.Connect(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Set(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}

	alone := latencies(t, client, func() { publish(t, server.Addr, "nobody", n, size, nil) })
	sub, err := client.Subscribe(ctx, redisx.Channels("news"), redisx.Buffer(1<<20, buffer))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	runtime.GC()
	before, beforeRSS := memory(), rss()
	var most, mostRSS uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			most, mostRSS = max(most, memory()), max(mostRSS, rss())
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	beside := latencies(t, client, func() {
		publish(t, server.Addr, "news", n, size, func() int { return int(sub.Stats().Received) })
		for sub.Stats().Received < uint64(n) && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	})
	close(stop)
	wg.Wait()

	st := sub.Stats()
	t.Logf("%d messages of %d bytes: %d dropped, %d buffered in %d bytes", st.Received, size, st.Dropped, st.Buffered, st.BufferedBytes)
	t.Logf("memory of Go: %d KiB more at most; RSS: %d KiB", (most-before)>>10, (mostRSS-beforeRSS)>>10)
	t.Logf("GET p99: %v without the subscriber, %v with it", alone, beside)
	if most > before+buffer+allowance {
		t.Errorf("the memory grew by %d bytes", most-before)
	}
	if beside > 2*alone+slack {
		t.Errorf("p99 of others went from %v to %v", alone, beside)
	}
	if st.Received != uint64(n) || st.Received != st.Dropped+uint64(st.Buffered) || st.BufferedBytes > buffer || st.Dropped == 0 {
		t.Errorf("%+v", st)
	}
	next, gaps := 0, 0
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Gap != nil {
			next += m.Gap.Dropped
			gaps++
			continue
		}
		if !strings.HasPrefix(m.Payload, fmt.Sprintf("%08d", next)) {
			t.Fatalf("%.8s came where %d was due", m.Payload, next)
		}
		if next++; next == n {
			break
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
}

// publish sends n numbered messages in large batches, making no garbage. It
// keeps to what was received, so that the server need not cut the subscriber
// off on a machine that is short of processors.
func publish(t *testing.T, addr, channel string, n, size int, received func() int) {
	const batch = 500
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	var replies sync.WaitGroup
	replies.Go(func() {
		left := n * len(":1\r\n")
		if got, err := io.CopyN(io.Discard, nc, int64(left)); err != nil {
			t.Errorf("%d of %d bytes of replies: %v", got, left, err)
		}
	})
	payload := bytes.Repeat([]byte("x"), size)
	var b []byte
	for i := range n {
		for received != nil && i-received() > 10_000 {
			time.Sleep(time.Millisecond)
		}
		copy(payload, fmt.Sprintf("%08d", i))
		b = resp3.AppendHeader(b, resp3.Array, 3)
		b = resp3.AppendBulk(b, "PUBLISH")
		b = resp3.AppendBulk(b, channel)
		b = resp3.AppendBulk(b, payload)
		if (i+1)%batch == 0 || i == n-1 {
			if _, err := nc.Write(b); err != nil {
				t.Error(err)
				return
			}
			b = b[:0]
		}
	}
	replies.Wait()
}

// latencies runs f and returns the 99th percentile of what others wait for GET
// meanwhile.
func latencies(t *testing.T, client *redisx.Client, f func()) time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var own []time.Duration
			for over := false; !over; {
				start := time.Now()
				if v, err := client.Get(context.Background(), "k"); err != nil || v != "v" {
					t.Errorf("%q, %v", v, err)
				}
				if own = append(own, time.Since(start)); len(own) == cap(own) {
					own = slices.Grow(own, 1<<14)
				}
				select {
				case <-stop:
					over = true
				case <-time.After(500 * time.Microsecond):
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	f()
	close(stop)
	wg.Wait()
	slices.Sort(all)
	return all[len(all)*99/100]
}

// memory is what the runtime holds of the system's.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}

// rss is the resident memory, which the race detector makes a multiple; 0 where
// the system does not tell.
func rss() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, resident uint64
	fmt.Sscan(string(b), &total, &resident)
	return resident * uint64(os.Getpagesize())
}
