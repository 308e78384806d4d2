package tracking

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// fill puts an entry into st, made as Hub.join and Hub.fetch make it.
func fill(st *store, value string, keys ...string) *slot {
	r := command.MGet(keys...).Request()
	if len(keys) == 1 {
		r = command.Get(keys[0]).Request()
	}
	id := r.Append(nil)
	s := &slot{id: string(id), flight: &flight{}}
	own := make([]string, len(keys))
	for i, k := range keys {
		own[i] = strings.Clone(k)
	}
	if old := st.slots[s.id]; old != nil {
		st.remove(old)
	}
	st.add(s, own)
	st.keep(s, keepView(resp3.NewView(resp3.AppendBulk(nil, value))))
	return s
}

// check compares all that st says of itself.
func check(t *testing.T, st *store) {
	t.Helper()
	queued, bytes, links := map[*slot]bool{}, 0, 0
	var older *slot
	for s := st.oldest; s != nil; older, s = s, s.newer {
		if s.older != older || s.gone || s.flight != nil || st.slots[s.id] != s {
			t.Fatalf("the queue is broken at %q", s.id)
		}
		queued[s] = true
		bytes += s.size
		links += len(s.links)
	}
	if st.newest != older || len(queued) != st.entries || bytes != st.bytes || st.bytes > st.max {
		t.Fatalf("%d entries and %d bytes queued, %d and %d noted", len(queued), bytes, st.entries, st.bytes)
	}
	if st.hand != nil && !queued[st.hand] {
		t.Fatal("the hand points at what is gone")
	}
	for _, s := range st.slots {
		if s.flight != nil {
			links += len(s.links)
		} else if !queued[s] {
			t.Fatalf("%q is stored and not queued", s.id)
		}
	}
	for name, k := range st.keys {
		n := 0
		for l := k.first; l != nil; l = l.next {
			if l.key != k || k.name != name || st.slots[l.slot.id] != l.slot {
				t.Fatalf("key %q has a link to what is not there", name)
			}
			n++
		}
		if n == 0 {
			t.Fatalf("key %q has no link", name)
		}
		links -= n
	}
	if links != 0 {
		t.Fatalf("%d links too many or too few", links)
	}
}

func TestTheStoreAgreesWithItself(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	st := &store{max: 20_000}
	st.clear()
	var flights []*slot
	key := func() string { return fmt.Sprint("key", rnd.IntN(60)) }
	for i := range 20_000 {
		switch rnd.IntN(10) {
		case 0:
			st.drop(st.keys[key()])
		case 1:
			s := &slot{id: fmt.Sprint("flight", i), flight: &flight{}}
			st.add(s, []string{key(), "x" + key()})
			flights = append(flights, s)
		case 2, 3:
			if len(flights) > 0 {
				s := flights[0]
				if flights = flights[1:]; s.gone || rnd.IntN(2) == 0 {
					st.remove(s)
				} else {
					st.keep(s, resp3.View{})
				}
			}
		case 4:
			for _, s := range st.slots {
				s.visited.Store(true)
				break
			}
		case 5:
			if rnd.IntN(500) == 0 {
				st.clear()
			}
		case 6:
			fill(st, strings.Repeat("v", rnd.IntN(200)), "a"+key(), "b"+key(), "c"+key())
		default:
			fill(st, strings.Repeat("v", rnd.IntN(2000)), key())
		}
		check(t, st)
	}
	if st.evicted < 1000 {
		t.Errorf("only %d evictions", st.evicted)
	}
}

func TestWhatIsReadOutlivesWhatIsNot(t *testing.T) {
	st := &store{max: 1000 * (slotBytes + keyBytes + 100)}
	st.clear()
	var hot []*slot
	for i := range 100 {
		hot = append(hot, fill(st, "v", fmt.Sprint("hot", i)))
	}
	for i := range 20_000 { // as a scan of keys that nobody asks for again
		if i%10 == 0 {
			hot[i/10%100].visited.Store(true)
		}
		fill(st, "v", fmt.Sprint("cold", i))
	}
	check(t, st)
	for i, s := range hot {
		if s.gone {
			t.Errorf("hot entry %d was evicted", i)
		}
	}
}

func TestAnEvictionGivesUpItsSearchInTime(t *testing.T) {
	st := &store{max: 1 << 30}
	st.clear()
	var all []*slot
	for i := range 10_000 {
		s := fill(st, "v", fmt.Sprint("k", i))
		s.visited.Store(true)
		all = append(all, s)
	}
	st.evict()
	cleared := 0
	for _, s := range all {
		if !s.visited.Load() {
			cleared++
		}
	}
	if cleared != maxSteps || len(st.slots) != 9999 {
		t.Errorf("%d entries were looked at, %d are left", cleared, len(st.slots))
	}
	check(t, st)
}

func TestTheCacheStaysWithinItsBytes(t *testing.T) {
	const limit = 4 << 20
	for _, tt := range []struct{ fills, value, keys int }{{100_000, 4, 1}, {20_000, 60, 1}, {20_000, 500, 1}, {2000, 10_000, 1}, {10_000, 30, 5}} {
		before := heap()
		st := &store{max: limit}
		st.clear()
		rnd := rand.New(rand.NewPCG(3, 4))
		value := strings.Repeat("v", tt.value)
		for range tt.fills {
			keys := make([]string, tt.keys)
			for i := range keys {
				keys[i] = fmt.Sprintf("some:key:%016x", rnd.Uint64())
			}
			fill(st, value, keys...)
		}
		grown := heap() - before
		ratio := float64(grown) / float64(st.bytes)
		t.Logf("values of %d bytes, %d keys each: %d entries, %d bytes noted, heap grown by %.2f of that", tt.value, tt.keys, st.entries, st.bytes, ratio)
		if st.bytes > limit || float64(grown) > 1.3*limit || ratio < 0.5 {
			t.Errorf("values of %d bytes, %d keys each: %d bytes noted, heap grown by %d", tt.value, tt.keys, st.bytes, grown)
		}
		if want := limit / (2 * (tt.value + tt.keys*(keyBytes+50) + slotBytes + 60)); st.entries < want {
			t.Errorf("only %d entries of %d bytes", st.entries, tt.value)
		}
		runtime.KeepAlive(st)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
