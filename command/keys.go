package command

import (
	"iter"
	"strconv"
	"strings"
	"time"
)

// Keys yields the keys among the arguments, in the order of the request, for
// any command whose Spec says where they are. Channels of sharded Pub/Sub
// count as keys: they decide the slot. Arguments that contradict the Spec (a
// count that is no number, or too large) yield nothing.
func (r *Request) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		if r.spec == nil {
			return
		}
		k := &r.spec.Keys
		if k.Dest > 0 {
			if i := k.Dest - r.spec.words; i < r.n && !yield(r.Arg(i).Text()) {
				return
			}
		}
		first, last, step := r.keyRange()
		for i := first; i <= last; i += step {
			if !yield(r.Arg(i).Text()) {
				return
			}
		}
		if k.Keyword == "STORE" {
			if i := r.stored(); i >= 0 {
				yield(r.Arg(i).Text())
			}
		}
	}
}

// FirstKey returns the first of Keys, which decides where the request goes.
func (r *Request) FirstKey() (key string, ok bool) {
	for k := range r.Keys() {
		return k, true
	}
	return "", false
}

// keyRange returns the indexes of the first and the last key and the distance
// between two. Without keys last is before first.
func (r *Request) keyRange() (first, last, step int) {
	k := &r.spec.Keys
	none := func() (int, int, int) { return 0, -1, 1 }
	if k.First == 0 {
		return none()
	}
	first, step = k.First-r.spec.words, max(k.Step, 1)
	switch {
	case k.Keyword == "STREAMS":
		i := r.find(k.Keyword, first)
		if i < 0 {
			return none()
		}
		return i + 1, i + (r.n-i-1)/2, 1
	case k.Keyword == "KEYS" && first < r.n && r.Arg(first).Text() == "":
		i := r.find(k.Keyword, first+1)
		if i < 0 {
			return none()
		}
		return i + 1, r.n - 1, 1
	case k.NumKeys > 0:
		i := k.NumKeys - r.spec.words
		if i >= r.n {
			return none()
		}
		n, err := strconv.Atoi(r.Arg(i).Text())
		if err != nil || n < 0 || n > (r.n-first)/step {
			return none()
		}
		return first, first + n*step - 1, step
	}
	last = k.Last - r.spec.words
	if k.Last < 0 {
		last = r.n + k.Last
	}
	return first, min(last, r.n-1), step
}

// stored returns the index of the key after STORE, or -1. What follows another
// word of SORT may be a STORE that means something else; the last one counts.
func (r *Request) stored() int {
	at := -1
	for i := r.spec.Keys.From - r.spec.words; i < r.n-1; i++ {
		switch upper(r.Arg(i).Text()) {
		case "STORE", "STOREDIST":
			i++
			at = i
		case "BY", "GET":
			i++
		case "LIMIT":
			i += 2
		}
	}
	return at
}

// find returns the index of the first argument from i on that is the word.
func (r *Request) find(word string, i int) int {
	for ; i < r.n; i++ {
		if a := r.Arg(i); a.isText() && strings.EqualFold(a.text(), word) {
			return i
		}
	}
	return -1
}

// infer sets what a typed constructor knows from its parameters: how long the
// command may block, and whether an argument makes a repeat unsafe.
func (r *Request) infer() {
	for _, word := range r.spec.unless {
		if r.find(word, 0) >= 0 {
			r.risky = true
		}
	}
	b := r.spec.block
	i := b.at - r.spec.words
	switch {
	case b.keyword != "":
		// Between the fixed arguments and the keys: a group or a stream may
		// have the word as its name.
		i = r.find(b.keyword, r.spec.Keys.First-r.spec.words)
		if end := r.find(r.spec.Keys.Keyword, r.spec.Keys.First-r.spec.words); i < 0 || (end >= 0 && i > end) {
			return
		}
		i++
	case b.at == 0:
		return
	case b.at < 0:
		i = r.n + b.at
	}
	if i < 0 || i >= r.n {
		return // the server will refuse it
	}
	n, err := strconv.ParseFloat(r.Arg(i).Text(), 64)
	unit := time.Second
	if b.millis {
		unit = time.Millisecond
	}
	switch {
	case err != nil || n < 0:
		return // the server will refuse it
	case n == 0 || n > float64(1<<62)/float64(unit):
		r.SetBlock(-1)
	default:
		r.SetBlock(max(time.Duration(n*float64(unit)), 1))
	}
}
