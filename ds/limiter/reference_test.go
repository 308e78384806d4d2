package limiter_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redisx/redisx/ds/limiter"
)

// reference is what an algorithm promises, by brute force over all calls that
// were ever admitted. It shares nothing with the scripts.
type reference struct {
	rate  limiter.Rate
	calls []made // in order of time; some may be yet to come
	fits  func(m *reference, at int64, n int) bool
}

type made struct {
	at int64 // µs
	n  int
}

var references = map[limiter.Algorithm]func(m *reference, at int64, n int) bool{
	// In every window that ends now: at most burst + time x rate.
	limiter.GCRA: func(m *reference, at int64, n int) bool {
		sum := n
		if sum > m.rate.Burst {
			return false
		}
		for i := len(m.calls) - 1; i >= 0; i-- {
			sum += m.calls[i].n
			if int64(sum-m.rate.Burst)*m.rate.Per.Microseconds() > (at-m.calls[i].at)*int64(m.rate.Count) {
				return false
			}
		}
		return true
	},
	// The bucket, played from its first call on.
	limiter.TokenBucket: func(m *reference, at int64, n int) bool {
		has, period := m.rate.Burst, int64(0)
		refill := func(until int64) {
			for has < m.rate.Burst && period+m.rate.Per.Microseconds() <= until {
				period += m.rate.Per.Microseconds()
				has = min(has+m.rate.Count, m.rate.Burst)
			}
		}
		for _, c := range m.calls {
			refill(c.at)
			if has == m.rate.Burst {
				period = c.at
			}
			has -= c.n
		}
		refill(at)
		return n <= has
	},
	limiter.FixedWindow: func(m *reference, at int64, n int) bool {
		for _, c := range m.calls {
			if c.at/m.rate.Per.Microseconds() == at/m.rate.Per.Microseconds() {
				n += c.n
			}
		}
		return n <= m.rate.Count
	},
	limiter.SlidingWindow: func(m *reference, at int64, n int) bool {
		for _, c := range m.calls {
			if c.at > at-m.rate.Per.Microseconds() {
				n += c.n
			}
		}
		return n <= m.rate.Count
	},
}

// last is when the last call is made, which may be yet to come.
func (m *reference) last() int64 {
	if len(m.calls) == 0 {
		return 0
	}
	return m.calls[len(m.calls)-1].at
}

// slot returns the first time from at on when n calls fit, after all slots that
// are taken.
func (m *reference) slot(at int64, n int) int64 {
	from := max(at, m.last())
	// What fits fits later, too; and after this long everything has drained.
	limit := int64(2+(m.rate.Burst+n)/m.rate.Count) * m.rate.Per.Microseconds()
	return from + int64(sort.Search(int(limit), func(d int) bool { return m.fits(m, from+int64(d), n) }))
}

// decide predicts a decision about n calls, with so many reserved by others.
func (m *reference) decide(at int64, n, held int) answer {
	var a answer
	if need := max(n, 1) + held; need <= m.rate.Burst {
		a.retry = time.Duration(m.slot(at, need)-at) * time.Microsecond
		a.allowed = a.retry == 0
	}
	if a.allowed && n > 0 {
		m.calls = append(m.calls, made{at, n})
	}
	if m.last() <= at {
		a.remaining = max(sort.Search(m.rate.Burst, func(k int) bool { return !m.fits(m, at, k+1) })-held, 0)
	}
	if m.last() > at || !m.fits(m, at, m.rate.Burst) {
		a.reset = time.Duration(m.slot(at, m.rate.Burst)-at) * time.Microsecond
	}
	return a
}

// held is a reservation under way.
type held struct {
	r      *limiter.Reservation
	n      int
	lapses int64 // µs
}

// trial is one run of a limiter beside its reference.
type trial struct {
	t     *testing.T
	l     *limiter.Limiter
	key   string
	m     *reference
	lapse time.Duration
	open  []held
	last  limiter.Decision

	*tried
}

// tried is what has been seen in all runs.
type tried struct{ decisions, denied, waits, settled, lapsed int }

func (tr *trial) held() int {
	sum := 0
	for _, h := range tr.open {
		sum += h.n
	}
	return sum
}

// pass charges what has lapsed by then, at the time when it did.
func (tr *trial) pass(at int64) {
	for len(tr.open) > 0 && tr.open[0].lapses <= at {
		tr.m.calls = append(tr.m.calls, made{tr.open[0].lapses, tr.open[0].n})
		tr.open = tr.open[1:]
		tr.lapsed++
	}
}

// same compares a decision with what is predicted. While others' reservations
// alone are in the way nobody knows until when.
func (tr *trial) same(rt *rapid.T, what string, n int, d limiter.Decision) {
	rt.Helper()
	tr.pass(d.At.UnixMicro())
	want := tr.m.decide(d.At.UnixMicro(), n, tr.held())
	got := answerOf(d)
	if max(n, 1)+tr.held() > tr.m.rate.Burst {
		if got.retry <= 0 {
			rt.Fatalf("%s: no time to retry: %+v", what, d)
		}
		got.retry = 0
	}
	if got != want {
		rt.Fatalf("%v, %s %d at %d with %d reserved, after %v: got %+v, want %+v", tr.l.Rate(), what, n, d.At.UnixMicro(), tr.held(), tr.m.calls, got, want)
	}
	tr.decisions++
	if !d.Allowed {
		tr.denied++
	}
}

func (tr *trial) allow(rt *rapid.T) {
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, tr.m.rate.Burst), 1, 5).Draw(rt, "costs") {
		ask := tr.l.AllowN
		if rapid.Bool().Draw(rt, "by decide.lua") {
			ask = tr.l.DecideOnly
		}
		d, err := ask(tr.t.Context(), tr.key, n)
		if err != nil {
			rt.Fatal(err)
		}
		tr.last = d
		tr.same(rt, "allow", n, d)
	}
}

func (tr *trial) slot(rt *rapid.T) {
	if tr.held() > 0 {
		rt.Skip("tested without reservations")
	}
	n := rapid.IntRange(1, tr.m.rate.Burst).Draw(rt, "cost")
	d, slot, giveBack, err := tr.l.Slot(tr.t.Context(), tr.key, n, time.Second)
	if err != nil {
		rt.Fatal(err)
	}
	at := d.At.UnixMicro()
	want := tr.m.slot(at, n)
	if d.Allowed != (want-at <= time.Second.Microseconds()) || slot.UnixMicro() != want {
		rt.Fatalf("%v, %d calls at %d after %v: allowed %v, slot in %d µs, want in %d", tr.l.Rate(), n, at, tr.m.calls, d.Allowed, slot.UnixMicro()-at, want-at)
	}
	if !d.Allowed {
		return
	}
	tr.waits++
	tr.m.calls = append(tr.m.calls, made{want, n})
	if want > at && rapid.Bool().Draw(rt, "give back") {
		undone, err := giveBack()
		if err != nil {
			rt.Fatal(err)
		}
		if undone == 1 {
			tr.m.calls = tr.m.calls[:len(tr.m.calls)-1]
		} else if d, err := tr.l.Peek(tr.t.Context(), tr.key); err != nil || d.At.Before(slot) {
			rt.Fatalf("the last slot could not be given back, %v before it: %v", slot.Sub(d.At), err)
		}
	}
}

func (tr *trial) reserve(rt *rapid.T) {
	n := rapid.IntRange(1, tr.m.rate.Burst).Draw(rt, "reserved")
	r, err := tr.l.Reserve(tr.t.Context(), tr.key, n)
	if d, limited := limiter.AsLimited(err); limited {
		if d == nil {
			rt.Fatal(err)
		}
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	at := r.Decision.At.UnixMicro()
	tr.pass(at)
	if slot := tr.m.slot(at, min(n+tr.held(), tr.m.rate.Burst)); n+tr.held() > tr.m.rate.Burst || slot != at {
		rt.Fatalf("%v: reserved %d beside %d at %d after %v", tr.l.Rate(), n, tr.held(), at, tr.m.calls)
	}
	tr.open = append(tr.open, held{r, n, at + tr.lapse.Microseconds()})
}

func (tr *trial) settle(rt *rapid.T) {
	if len(tr.open) == 0 {
		rt.Skip("nothing is reserved")
	}
	h := rapid.SampledFrom(tr.open).Draw(rt, "which")
	used := rapid.IntRange(0, h.n).Draw(rt, "used")
	at, err := h.r.SettledAt(tr.t.Context(), used)
	if lapsed := errors.Is(err, limiter.ErrNotReserved); err != nil && !lapsed || lapsed != (h.lapses <= at.UnixMicro()) {
		rt.Fatalf("settled at %d what lapses at %d: %v", at.UnixMicro(), h.lapses, err)
	}
	tr.pass(at.UnixMicro())
	if err != nil {
		return
	}
	tr.settled++
	tr.open = slices.DeleteFunc(tr.open, func(o held) bool { return o.r == h.r })
	if used > 0 {
		tr.m.calls = append(tr.m.calls, made{at.UnixMicro(), used})
	}
}

// TestEveryAlgorithmDecidesAsItsReference draws rules, calls, waits,
// reservations and what they come to, against a real server, and compares each
// answer, to the microsecond.
func TestEveryAlgorithmDecidesAsItsReference(t *testing.T) {
	t.Parallel()
	for algorithm, fits := range references {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			c, _ := setup(t)
			run := 0
			var seen tried
			rapid.Check(t, func(rt *rapid.T) {
				run++
				rate := limiter.Rate{
					Count: rapid.SampledFrom([]int{1, 3, 7, 10}).Draw(rt, "count"),
					Per:   rapid.SampledFrom([]time.Duration{time.Millisecond, 7 * time.Millisecond, 50 * time.Millisecond, time.Second}).Draw(rt, "per"),
				}
				rate.Burst = rate.Count
				if algorithm == limiter.GCRA || algorithm == limiter.TokenBucket {
					rate.Burst = rapid.IntRange(1, 20).Draw(rt, "burst")
				}
				if algorithm == limiter.TokenBucket {
					rate.Burst = max(rate.Burst, rate.Count)
				}
				tr := &trial{
					t: t, l: limiter.New(c, rate.String(), limiter.Using(algorithm)), key: fmt.Sprint("run:", run),
					m:     &reference{rate: rate, fits: fits},
					lapse: rapid.SampledFrom([]time.Duration{3 * time.Millisecond, time.Minute}).Draw(rt, "lapse"),
					tried: &seen,
				}
				tr.l.LapseAfter(tr.lapse)
				// With slots or with reservations: what a wait comes to beside
				// reservations has a test of its own.
				actions := map[string]func(*rapid.T){
					"allow": tr.allow,
					"pause": func(rt *rapid.T) {
						time.Sleep(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "µs")) * time.Microsecond)
					},
					"pause until it fits": func(rt *rapid.T) {
						if tr.last.RetryAfter > 8*time.Millisecond {
							rt.Skip("too long")
						}
						time.Sleep(tr.last.RetryAfter)
					},
				}
				if rapid.Bool().Draw(rt, "slots") {
					actions["slot"] = tr.slot
				} else {
					actions["reserve"], actions["reserve again"], actions["settle"] = tr.reserve, tr.reserve, tr.settle
					actions["pause until it lapses"] = func(rt *rapid.T) {
						if len(tr.open) == 0 || tr.lapse > time.Second {
							rt.Skip("nothing lapses")
						}
						time.Sleep(tr.lapse)
					}
				}
				rt.Repeat(actions)
			})
			if seen.decisions < 500 || seen.denied < seen.decisions/20 || seen.denied > seen.decisions*19/20 || seen.waits < 3 || seen.settled < 3 || seen.lapsed < 3 {
				t.Errorf("%+v: what was drawn does not test all", seen)
			}
			t.Logf("%d runs are as the reference says: %+v", run, seen)
		})
	}
}

// TestALogThatLapsesWhileItEmptiesIsWhole: of two reservations the first lapses
// when no call has left the window, the second when more have left than are read
// at once, and nobody has asked meanwhile.
func TestALogThatLapsesWhileItEmptiesIsWhole(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	l := limiter.New(c, "100/s", limiter.Using(limiter.SlidingWindow))
	m := &reference{rate: l.Rate(), fits: references[limiter.SlidingWindow]}
	ask := func(cost int) time.Time {
		t.Helper()
		d, err := l.AllowN(t.Context(), "k", cost)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := answerOf(d), m.decide(d.At.UnixMicro(), cost, 0); got != want {
			t.Errorf("at %d after %v: got %+v, want %+v", d.At.UnixMicro(), m.calls, got, want)
		}
		return d.At
	}
	for range 40 {
		ask(1)
	}
	var lapsed []made
	var last time.Time
	for calls, after := range map[int]time.Duration{3: 900 * time.Millisecond, 2: 2 * time.Second} {
		l.LapseAfter(after)
		r, err := l.Reserve(t.Context(), "k", calls)
		if err != nil {
			t.Fatal(err)
		}
		at := r.Decision.At.Add(after)
		lapsed = append(lapsed, made{at.UnixMicro(), calls})
		if at.After(last) {
			last = at
		}
	}
	slices.SortFunc(lapsed, func(a, b made) int { return cmp.Compare(a.at, b.at) })
	m.calls = append(m.calls, lapsed...)
	for _, after := range []time.Duration{10, 600, 1100} {
		now, err := c.Time(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(last.Add(after * time.Millisecond).Sub(now))
		ask(1)
	}
}
