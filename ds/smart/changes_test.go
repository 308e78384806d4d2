package smart_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/internal/dstest"
	"github.com/redisx/redisx/internal/faultproxy"
	"github.com/redisx/redisx/internal/servers"
)

func TestChangesShowsTheFirstAndTheLastState(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		c, setter := dstest.ConnectTo(t, via.url(s.Addr)), dstest.Connect(t, s)
		n := dstest.Rounds(500, 20_000)
		done := make(chan error, 1)
		ready := make(chan struct{})
		steps := 0
		go func() {
			last := -1
			for v, err := range smart.Changes(within(t, time.Minute), c, "k") {
				if err != nil {
					done <- err
					return
				}
				if !v.Exists && last < 0 {
					last = 0
					close(ready)
					continue
				}
				var now int
				if _, err := fmt.Sscan(v.Value, &now); err != nil || now <= last {
					done <- fmt.Errorf("%q after %d: %w", v.Value, last, err)
					return
				}
				last = now
				steps++
				if now == n {
					done <- nil
					return
				}
			}
		}()
		<-ready
		for i := range n {
			dstest.Cmd(t, setter, "SET", "k", i+1)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		t.Logf("%d of %d states were seen", steps, n)
	})
}

func TestChangesGoesOnAfterALostConnection(t *testing.T) {
	eachServer(t, func(t *testing.T, s *servers.Server, via rung) {
		proxy, err := faultproxy.Start(s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer proxy.Close()
		c, setter := dstest.ConnectTo(t, via.url(proxy.Addr)), dstest.Connect(t, s)
		dstest.Cmd(t, setter, "SET", "k", 0)
		want := 0
		for v, err := range smart.Changes(within(t, 20*time.Second), c, "k") {
			if err != nil {
				t.Fatal(err)
			}
			if v.Value != fmt.Sprint(want) {
				t.Fatalf("got %q, want %d", v.Value, want)
			}
			if want == 4 { // the client's pauses between reconnects grow
				break
			}
			want++
			proxy.Apply(faultproxy.Fault{Kind: faultproxy.Cut})
			dstest.Cmd(t, setter, "SET", "k", want)
		}
		if st := smart.StatsOf(c); st.Waiters != 0 || st.Keys != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

func TestChangesEndsWithOneError(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.set("k", "a")
		collect := func(ctx context.Context, opts ...smart.Option) (values []string, errs []error) {
			for v, err := range smart.Changes(ctx, d, "k", opts...) {
				if err != nil {
					errs = append(errs, err)
					if v.Value != "a" && v.Value != "" {
						t.Errorf("with the error came %+v", v)
					}
					continue
				}
				values = append(values, v.Value)
			}
			return values, errs
		}
		if values, errs := collect(t.Context(), smart.Budget(time.Second)); len(values) != 1 || len(errs) != 1 || !errors.Is(errs[0], smart.ErrBudget) {
			t.Errorf("budget: %q, %v", values, errs)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if values, errs := collect(ctx); len(values) != 1 || len(errs) != 1 || !errors.Is(errs[0], context.DeadlineExceeded) {
			t.Errorf("context: %q, %v", values, errs)
		}
		if values, errs := collect(t.Context(), smart.Budget(-1)); len(values) != 0 || len(errs) != 1 {
			t.Errorf("no budget: %q, %v", values, errs)
		}
	})
}

func TestASlowLoopSkipsStatesButNotTheLast(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.set("k", "0")
		go func() {
			for i := range 100 {
				time.Sleep(10 * time.Millisecond)
				d.set("k", fmt.Sprint(i+1))
			}
		}()
		seen := 0
		for v, err := range smart.Changes(t.Context(), d, "k") {
			if err != nil {
				t.Fatal(err)
			}
			seen++
			if v.Value == "100" {
				break
			}
			time.Sleep(300 * time.Millisecond) // the loop's work
		}
		if seen < 3 || seen > 6 {
			t.Errorf("%d states were seen in about a second of 300 ms steps", seen)
		}
	})
}

func TestARewriteOfTheSameValueIsNoChange(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.set("k", "a")
		go func() {
			for range 3 {
				time.Sleep(time.Second)
				d.set("k", "a")
			}
			time.Sleep(time.Second)
			d.set("k", "b")
		}()
		var values []string
		for v, err := range smart.Changes(t.Context(), d, "k") {
			if err != nil {
				t.Fatal(err)
			}
			if values = append(values, v.Value); v.Value == "b" {
				break
			}
		}
		if len(values) != 2 {
			t.Errorf("got %q", values)
		}
	})
}

func TestWhatChangesIsPolledOften(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.noPush = true
		d.set("k", "0")
		go func() {
			time.Sleep(time.Minute) // the pauses are long by now
			d.set("k", "1")
		}()
		last := time.Now()
		for v, err := range smart.Changes(t.Context(), d, "k") {
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(last)
			if v.Value == "2" {
				if limit := 15*time.Millisecond + d.rtt; took > limit {
					t.Errorf("the second of two changes was seen after %v, want at most %v", took, limit)
				}
				break
			}
			if last = time.Now(); v.Value == "1" {
				d.set("k", "2")
			}
		}
	})
}
