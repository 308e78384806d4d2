package lease_test

import (
	"slices"
	"testing"
	"time"
)

// TestTheModelOfEveryMode checks the checker, on stories small enough to judge
// by eye.
func TestTheModelOfEveryMode(t *testing.T) {
	t.Parallel()
	grant := func(token, at int64) op { return op{verb: acquires, outcome: yes, token: token, from: at, to: at + 5} }
	share := func(token, at int64) op {
		return op{verb: acquires, outcome: yes, share: true, token: token, from: at, to: at + 5}
	}
	take := func(token, at int64) op { return op{verb: takes, outcome: yes, token: token, from: at, to: at + 5} }
	hand := func(old, token, at int64) op {
		return op{verb: hands, outcome: yes, old: old, token: token, from: at, to: at + 5}
	}
	told := func(v verb, o outcome, token, at int64) op {
		return op{verb: v, outcome: o, token: token, from: at, to: at + 5}
	}
	look := func(token, at int64) op { return op{verb: looks, outcome: yes, token: token, from: at, to: at} }
	sight := func(token, at int64, share bool) op {
		return op{verb: acquires, outcome: no, token: token, share: share, from: at, to: at + 5}
	}
	lostTake := op{verb: takes, outcome: unknown, from: 12, to: 1 << 40}
	for _, tt := range []struct {
		name string
		ops  []op
		want bool
	}{
		{"readers trust it together", []op{share(1, 0), share(2, 10), look(1, 20), look(2, 21), look(1, 22)}, true},
		{"a writer comes when readers have gone", []op{share(1, 0), share(2, 10), told(releases, yes, 1, 20), look(2, 30), grant(3, 40)}, true},
		{"a writer beside a reader", []op{share(1, 0), share(2, 10), grant(3, 20), look(1, 30)}, false},
		{"a reader beside a writer", []op{grant(1, 0), share(2, 10), look(1, 20)}, false},
		{"the token of a reader falls", []op{share(2, 0), share(1, 10)}, false},
		{"two readers have one token", []op{share(1, 0), share(1, 10)}, false},
		{"a reader that was refused is let in again", []op{share(1, 0), share(2, 10), told(writes, no, 1, 20), look(1, 30)}, false},
		{"a reader is lost, the other is not", []op{share(1, 0), share(2, 10), told(writes, no, 1, 20), look(2, 30)}, true},
		{"who is refused sees a reader", []op{share(1, 0), share(2, 10), sight(1, 20, true)}, true},
		{"who is refused sees a writer as a reader", []op{grant(1, 0), sight(1, 20, true)}, false},
		{"who is refused sees a reader who has gone", []op{share(1, 0), grant(2, 10), sight(1, 20, true)}, false},

		{"a hand-over that is adopted", []op{grant(1, 0), hand(1, 2, 10), told(adopts, yes, 2, 20), look(2, 30)}, true},
		{"the old holder trusts it after a hand-over", []op{grant(1, 0), hand(1, 2, 10), look(1, 20)}, false},
		{"the old holder writes after a hand-over", []op{grant(1, 0), hand(1, 2, 10), told(writes, yes, 1, 20)}, false},
		{"a ticket writes before its adoption", []op{grant(1, 0), hand(1, 2, 10), told(writes, yes, 2, 20)}, false},
		{"adopted twice", []op{grant(1, 0), hand(1, 2, 10), told(adopts, yes, 2, 20), told(adopts, yes, 2, 30)}, false},
		{"adopted after it was refused", []op{grant(1, 0), hand(1, 2, 10), told(adopts, no, 2, 20), told(adopts, yes, 2, 30)}, false},
		{"adopted after somebody else got it", []op{grant(1, 0), hand(1, 2, 10), grant(3, 20), told(adopts, yes, 2, 30)}, false},
		{"handed over by one who had lost it", []op{grant(1, 0), grant(2, 10), hand(1, 3, 20)}, false},
		{"handed over with the same token", []op{grant(1, 0), hand(1, 1, 10)}, false},
		{"an offer that nobody adopts lapses", []op{grant(1, 0), hand(1, 2, 10), grant(3, 20), look(3, 30)}, true},

		{"who is driven out has not heard of it", []op{grant(1, 0), take(2, 10), look(1, 20), look(2, 21)}, true},
		{"who is driven out writes", []op{grant(1, 0), take(2, 10), told(writes, yes, 1, 20)}, false},
		{"who is driven out releases", []op{grant(1, 0), take(2, 10), told(releases, yes, 1, 20)}, false},
		{"who is driven out trusts it after it was told", []op{grant(1, 0), take(2, 10), told(writes, no, 1, 20), look(1, 30)}, false},
		{"readers who are driven out have not heard of it", []op{share(1, 0), share(2, 5), take(3, 10), look(1, 20), look(2, 20)}, true},
		{"a take-over with a smaller token", []op{grant(2, 0), take(1, 10)}, false},
		{"a take-over drives out those of its moment only", []op{grant(1, 0), take(2, 10), grant(3, 20), look(2, 30)}, false},
		{"a take-over that nobody heard of", []op{grant(1, 0), lostTake, grant(3, 20), look(1, 30), look(3, 31)}, true},
		{"a take-over that nobody heard of excuses no write", []op{grant(1, 0), lostTake, grant(3, 20), told(writes, yes, 1, 30)}, false},
		{"a take-over that nobody heard of excuses nothing later", []op{grant(1, 0), grant(3, 6), lostTake, grant(4, 40), look(1, 50)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := legal(t, tt.ops); got != tt.want {
				t.Errorf("legal = %v, want %v", got, tt.want)
			}
			// Nor may what makes the search shorter change the verdict.
			ops, wrong := certain(slices.Clone(tt.ops))
			if got := len(wrong) == 0 && legal(t, ops); got != tt.want {
				t.Errorf("shortened: legal = %v, %q, want %v: %v", got, wrong, tt.want, ops)
			}
		})
	}
}

// TestTheLogOfReadersIsCheckedByWhoWasBeside: readers may write in any order
// among each other, and not across a writer.
func TestTheLogOfReadersIsCheckedByWhoWasBeside(t *testing.T) {
	t.Parallel()
	var ops []op
	for token := int64(1); token <= 5; token++ {
		ops = append(ops, op{verb: acquires, outcome: yes, token: token, share: token != 3})
	}
	log := func(tokens ...int64) (h recorded, all []op) {
		h.log = make([][]string, 1)
		for i, token := range tokens {
			w := op{verb: writes, outcome: yes, token: token, write: writeID(token, 0, uint32(i))}
			h.log[0] = append(h.log[0], w.write)
			all = append(all, w)
		}
		return h, append(all, ops...)
	}
	for _, tt := range []struct {
		tokens []int64
		want   bool
	}{
		{[]int64{2, 1, 2, 3, 5, 4}, true},
		{[]int64{3, 2}, false},
		{[]int64{5, 3}, false},
		{[]int64{1, 3, 4, 2}, false},
	} {
		h, all := log(tt.tokens...)
		if wrong := h.checkLog(0, all); (len(wrong) == 0) != tt.want {
			t.Errorf("%v: %q, want it good: %v", tt.tokens, wrong, tt.want)
		}
	}
}

// TestWhoNeverHearsOfATakeOverIsFound: a look that is older than the TTL is one
// too many.
func TestWhoNeverHearsOfATakeOverIsFound(t *testing.T) {
	t.Parallel()
	h := recorded{ttl: 100 * time.Millisecond}
	for after, want := range map[time.Duration]bool{90 * time.Millisecond: true, 110 * time.Millisecond: false} {
		ops := []op{
			{verb: acquires, outcome: yes, token: 1, from: 1, to: 2},
			{verb: takes, outcome: yes, token: 2, from: 5, to: 10},
			{verb: looks, outcome: yes, token: 1, from: 10 + int64(after), to: 10 + int64(after)},
			{verb: looks, outcome: yes, token: 2, from: 10 + int64(time.Hour), to: 10 + int64(time.Hour)},
		}
		if wrong := h.checkDeposed(ops); (len(wrong) == 0) != want {
			t.Errorf("after %v: %q, want it good: %v", after, wrong, want)
		}
	}
}
