package limiter_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/ds/limiter"
)

// The children that hammer are this test binary, started with these set.
const (
	childEnv   = "REDISX_LIMITER_CHILD" // URL of the server
	childRate  = "REDISX_LIMITER_RATE"
	childStart = "REDISX_LIMITER_START" // µs on the server's clock
	childEnd   = "REDISX_LIMITER_END"
)

// pause keeps 50 processes from being all that a small machine does.
const pause = 2 * time.Millisecond

// TestManyProcesses is scenario LI1: 50 processes call as fast as they can. By
// default 6 s at 600/m, with REDISX_LONG=1 the scenario's 60 s at 100/m.
func TestManyProcesses(t *testing.T) {
	const processes = 50
	rate, span := limiter.Rate{Count: 600, Per: time.Minute, Burst: 20}, 6*time.Second
	if os.Getenv("REDISX_LONG") == "1" {
		rate, span = limiter.Rate{Count: 100, Per: time.Minute, Burst: 20}, time.Minute
	}
	c, s := setup(t)
	d, err := limiter.New(c, rate.String()).Peek(t.Context(), "hammer")
	if err != nil {
		t.Fatal(err)
	}
	start := d.At.Add(5 * time.Second) // all children are up by then
	end := start.Add(span)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+span)
	defer cancel()
	var mu sync.Mutex
	var log []int64
	calls := 0
	var wg sync.WaitGroup
	for range processes {
		wg.Go(func() {
			child := exec.CommandContext(ctx, os.Args[0])
			child.Env = append(os.Environ(), childEnv+"="+s.URL(), childRate+"="+rate.String(),
				fmt.Sprintf("%s=%d", childStart, start.UnixMicro()), fmt.Sprintf("%s=%d", childEnd, end.UnixMicro()))
			out, err := child.Output()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("child: %v\n%s", err, out)
				return
			}
			admitted, n := parseLog(t, out)
			log = append(log, admitted...)
			calls += n
		})
	}
	wg.Wait()
	slices.Sort(log)
	least, most := 118, 120
	if rate.Count == 600 {
		least, most = 78, 80
	}
	if len(log) < least || len(log) > most {
		t.Errorf("%d admitted in %v at %v, want %d to %d", len(log), span, rate, least, most)
	}
	checkWindows(t, log, rate)
	if calls < 10*len(log) {
		t.Errorf("only %d calls for %d admissions: that is no hammering", calls, len(log))
	}
	t.Logf("%d processes, %v: %d calls, %d admitted (bound %d)", processes, span, calls, len(log), most)
}

// checkWindows looks at every window that begins and ends with an admission.
func checkWindows(t *testing.T, log []int64, r limiter.Rate) {
	t.Helper()
	per := r.Per.Microseconds()
	for i := range log {
		for j := i; j < len(log); j++ {
			admitted, length := int64(j-i+1), log[j]-log[i]
			if (admitted-int64(r.Burst))*per > int64(r.Count)*length {
				t.Fatalf("%d admitted within %d µs at %v", admitted, length, r)
			}
		}
	}
}

// parseLog reads what a child printed: one line for each admission, its time in
// µs, and one with the number of calls.
func parseLog(t *testing.T, out []byte) (admitted []int64, calls int) {
	t.Helper()
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if n, ok := bytes.CutPrefix(lines.Bytes(), []byte("calls ")); ok {
			calls, _ = strconv.Atoi(string(n))
			continue
		}
		at, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("child printed %q", lines.Text())
			continue
		}
		admitted = append(admitted, at)
	}
	return admitted, calls
}

func childMain() int {
	if err := hammer(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func hammer() error {
	start, err := strconv.ParseInt(os.Getenv(childStart), 10, 64)
	if err != nil {
		return err
	}
	end, err := strconv.ParseInt(os.Getenv(childEnd), 10, 64)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := redisx.Connect(ctx, os.Getenv(childEnv))
	if err != nil {
		return err
	}
	defer c.Close()
	l := limiter.New(c, os.Getenv(childRate))
	d, err := l.Peek(ctx, "hammer")
	if err != nil {
		return err
	}
	if wait := time.UnixMicro(start).Sub(d.At); wait > 0 {
		time.Sleep(wait) // the start that all children share
	} else {
		return fmt.Errorf("started %v late", -wait)
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for calls := 0; ; calls++ {
		d, err := l.Allow(ctx, "hammer")
		if err != nil {
			return err
		}
		if d.At.UnixMicro() >= end {
			fmt.Fprintln(out, "calls", calls)
			return nil
		}
		if d.Allowed {
			fmt.Fprintln(out, d.At.UnixMicro())
		}
		time.Sleep(pause)
	}
}
