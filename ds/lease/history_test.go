package lease_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history is what the holders of leases did and saw, by one clock. Its checker
// knows nothing of how leases work, only what they promise.

// verb is what a holder did.
type verb uint8

const (
	acquires verb = 1 + iota
	writes        // a fenced write
	releases
	looks // at the context: it has not ended
	takes // the lease, from whoever has it
	hands // it over: a grant of what the ticket says
	adopts
	// fails is the server's failover, where the replica may lack what the
	// primary had granted. No holder does it.
	fails
	// begins opens a part of a history: what is known from the part before.
	begins
)

// outcome is what came of it.
type outcome uint8

const (
	unknown outcome = iota // no answer, or one that says nothing of the lease
	yes                    // granted, written, released, not ended, handed over, adopted
	no                     // somebody else holds it, refused, was not ours any more
)

// op is one thing that a holder did, from its call to its return.
type op struct {
	verb    verb
	outcome outcome
	lease   int   // the number of the lease
	token   int64 // ours; of an acquisition that was refused, the holder's; of a hand-over, the ticket's
	old     int64 // of a hand-over: the token that was ours
	share   bool  // of an acquisition: granted, or refused for the sake of, a share
	write   string
	from    int64 // when it was called, and when it returned, in ns of one clock
	to      int64 // of the machine; math.MaxInt64: it never did
	holder  int   // for people: the process
}

func (o op) String() string {
	what := map[verb][3]string{
		acquires: {"asks, and hears nothing", "acquires", "is refused, the holder has"},
		writes:   {"writes, and hears nothing, with", "writes with", "is refused a write with"},
		releases: {"releases, and hears nothing,", "releases", "is told that it had lost"},
		looks:    {"?", "trusts", "?"},
		takes:    {"takes over, and hears nothing,", "takes over with", "?"},
		hands:    {"hands over, and hears nothing,", "hands over to", "is told on handing over that it had lost"},
		adopts:   {"adopts, and hears nothing,", "adopts", "is refused the ticket with"},
		fails:    {"the replica takes over", "the replica takes over", "?"},
		begins:   {"the last token is", "the holder has", "?"},
	}[o.verb][o.outcome]
	if o.share {
		what += " (a share)"
	}
	return fmt.Sprintf("%12.3f … %12.3f ms  holder %2d %s %d", float64(o.from)/1e6, float64(o.to)/1e6, o.holder, what, o.token)
}

// grants reports whether the op made a token.
func (o op) grants() bool {
	return o.outcome == yes && (o.verb == acquires || o.verb == takes || o.verb == hands)
}

// register is a lease as everybody must be able to see it: one holder at most,
// or readers, each told by a token that rises.
type register struct {
	last    int64   // the greatest token granted
	holders []int64 // who hold it; they can lapse at any time
	shared  bool    // they are readers
	offered bool    // to whoever adopts the ticket; nobody holds it
	deposed []int64 // who may not have heard yet that they were driven out
	forgive int64   // tokens up to this one may have been lost, or not, by a failover
}

func (r register) equals(o register) bool {
	return r.last == o.last && r.shared == o.shared && r.offered == o.offered && r.forgive == o.forgive &&
		slices.Equal(r.holders, o.holders) && slices.Equal(r.deposed, o.deposed)
}

func with(tokens []int64, more ...int64) []int64 {
	out := slices.Concat(tokens, more)
	slices.Sort(out)
	return slices.Compact(out)
}

func without(tokens []int64, token int64) []int64 {
	return slices.DeleteFunc(slices.Clone(tokens), func(t int64) bool { return t == token })
}

// grant says whether an op that makes a token may happen, and what comes of it.
func (r register) grant(o op) (bool, register) {
	legal := o.token > r.last
	n := register{last: o.token, holders: []int64{o.token}, shared: o.share, deposed: r.deposed, forgive: r.forgive}
	switch {
	case o.verb == hands:
		n.offered = true
		legal = legal && !r.shared && !r.offered && slices.Contains(r.holders, o.old)
	case o.verb == takes:
		n.deposed = with(r.deposed, r.holders...)
	case o.share && r.shared:
		n.holders = with(r.holders, o.token)
	}
	return legal, n
}

// step says whether an op may happen to a register, and what it makes of it. A
// lease may lapse at any time without anyone's doing, so being refused is never
// wrong; being granted, trusting and writing are what must be right.
func step(r register, o op) (bool, register) {
	current := slices.Contains(r.holders, o.token)
	switch {
	case o.verb == begins:
		n := register{last: o.token}
		if o.outcome == yes {
			n.holders = []int64{o.token}
		}
		return true, n
	case o.verb == fails:
		r.forgive = r.last
		return true, r
	case o.grants():
		return r.grant(o)
	case o.verb == takes: // perhaps
		r.deposed = with(r.deposed, r.holders...)
		return true, r
	case o.token <= r.forgive:
		return true, r
	case o.verb == acquires:
		return current && o.share == r.shared, r
	case o.verb == looks:
		return current && !r.offered || slices.Contains(r.deposed, o.token), r
	case o.verb == writes && o.outcome == yes:
		return current && !r.offered, r
	case o.verb == adopts && o.outcome == yes:
		legal := current && r.offered
		r.offered = r.offered && !legal
		return legal, r
	case o.verb == adopts:
		// Not there any more, or adopted by one who did not hear of it.
		r.offered = r.offered && !current
		return true, r
	}
	// Released, or refused: whoever it was, they do not hold it any more, and
	// never again.
	r.holders, r.deposed = without(r.holders, o.token), without(r.deposed, o.token)
	return current || o.outcome == no, r
}

var model = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, _ any) (bool, any) {
		return step(state.(register), input.(op))
	},
	Equal: func(a, b any) bool { return a.(register).equals(b.(register)) },
}

// legal reports whether the ops on one lease could have happened one after the
// other, each between its call and its return.
func legal(t testing.TB, ops []op) bool {
	t.Helper()
	in := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		in[i] = porcupine.Operation{ClientId: o.holder, Input: o, Call: o.from, Return: o.to}
	}
	result := porcupine.CheckOperationsTimeout(model, in, 20*time.Second)
	if result == porcupine.Unknown {
		t.Fatalf("porcupine did not come to an end with %d ops", len(ops))
	}
	return result == porcupine.Ok
}

// plain reports whether an op is of the simplest kind of lease.
func (o op) plain() bool {
	return !o.share && o.verb != takes && o.verb != hands && o.verb != adopts
}

// partLength is about how many ops go into one question to porcupine, whose
// memory grows with the square.
const partLength = 500

// parts cuts the ops on one lease, by the time of their calls, where none was
// under way. What is known there goes into the part that follows. A history with
// a failover stays whole, and so does one with more than plain holders: much is
// not known there.
func parts(ops []op) [][]op {
	if slices.ContainsFunc(ops, func(o op) bool { return o.verb == fails || !o.plain() }) {
		return [][]op{ops}
	}
	var out [][]op
	var r register
	var done int64 // when all ops so far had returned
	begin := 0
	for i, o := range ops {
		if i-begin >= partLength && o.from > done {
			out, begin = append(out, ops[begin:i:i]), i
		}
		done = max(done, o.to)
	}
	out = append(out, ops[begin:])
	for i, part := range out {
		if i > 0 {
			b := op{verb: begins, token: r.last, from: part[0].from - 1, to: part[0].from - 1}
			if len(r.holders) > 0 {
				b.outcome = yes
			}
			out[i] = append([]op{b}, part...)
		}
		// All of them have returned, so their order does not matter to what is
		// left: the greatest token, unless something ended it.
		for _, o := range part {
			if o.verb == acquires && o.outcome == yes && o.token > r.last {
				r = register{last: o.token, holders: []int64{o.token}}
			}
		}
		for _, o := range part {
			ended := (o.verb == writes && o.outcome == no) || (o.verb == releases && o.outcome != unknown)
			if ended {
				r.holders = without(r.holders, o.token)
			}
		}
	}
	return out
}

// certain returns the ops on one lease that say something, in the order of their
// calls. Grants that nobody heard of, but somebody saw, are put in as long as
// they may have taken: from the grant before, or the first question that got no
// answer, to the first sight.
func certain(ops []op) ([]op, []string) {
	var out []op
	var wrong []string
	granted := map[int64]int64{} // when the acquisition of a token was called
	seen := map[int64]op{}       // who first saw a token
	unheard := int64(math.MaxInt64)
	taken := int64(math.MaxInt64) // the first take-over that got no answer
	count := 0
	for _, o := range ops {
		switch {
		case o.outcome == unknown && (o.verb == acquires || o.verb == hands):
			unheard, count = min(unheard, o.from), count+1
			continue
		case o.outcome == unknown && o.verb == takes:
			// It may have driven somebody out, seen or not.
			unheard, count, taken = min(unheard, o.from), count+1, min(taken, o.from)
		case o.outcome == unknown && o.verb != fails:
			continue
		case o.grants():
			if _, twice := granted[o.token]; twice {
				wrong = append(wrong, fmt.Sprintf("lease %d: token %d was granted twice", o.lease, o.token))
			}
			granted[o.token] = o.from
		case o.verb == acquires:
			// It may have asked once more, and not have heard the answer to that.
			unheard, count = min(unheard, o.from), count+1
			if first, ok := seen[o.token]; !ok || o.to < first.to {
				seen[o.token] = o
			}
		}
		out = append(out, o)
	}
	lease := -1
	if len(ops) > 0 {
		lease = ops[0].lease
	}
	for token, sight := range seen {
		first := sight.to
		if _, ok := granted[token]; ok {
			continue
		}
		if count--; count < 0 || first < unheard {
			wrong = append(wrong, fmt.Sprintf("lease %d: token %d was seen, and nobody can have got it", lease, token))
			continue
		}
		o := op{verb: acquires, outcome: yes, lease: lease, token: token, share: sight.share, from: unheard, to: first, holder: -1}
		if taken < first && !o.share {
			o.verb = takes
		}
		for before, from := range granted {
			if before < token && from < first {
				o.from = max(o.from, from)
			}
		}
		out = append(out, o)
	}
	narrow(out)
	out = withoutImplied(out)
	slices.SortStableFunc(out, func(a, b op) int { return cmp.Compare(a.from, b.from) })
	return out, wrong
}

// shrink returns the shortest illegal story that it finds in an illegal one. It
// leaves out whole tokens first, by ever smaller groups, then single ops; never
// a grant alone, without which what follows from it would be wrong, too.
func shrink(t testing.TB, ops []op) []op {
	t.Helper()
	attempt := func(drop func(op) bool) {
		if less := slices.DeleteFunc(slices.Clone(ops), drop); len(less) < len(ops) && !legal(t, less) {
			ops = less
		}
	}
	var tokens []int64
	for _, o := range ops {
		tokens = append(tokens, o.token)
	}
	slices.Sort(tokens)
	tokens = slices.Compact(tokens)
	for size := len(tokens) / 2; size > 0; size /= 2 {
		for group := range slices.Chunk(tokens, size) {
			group = heirs(group, ops)
			attempt(func(o op) bool { return slices.Contains(group, o.token) })
		}
	}
	for _, one := range slices.Clone(ops) {
		if !one.grants() {
			attempt(func(o op) bool { return o == one })
		}
	}
	return ops
}

// heirs returns the tokens and those that they were handed over to.
func heirs(tokens []int64, ops []op) []int64 {
	tokens = slices.Clone(tokens)
	for i := 0; i < len(tokens); i++ {
		for _, o := range ops {
			if o.verb == hands && o.old == tokens[i] && !slices.Contains(tokens, o.token) {
				tokens = append(tokens, o.token)
			}
		}
	}
	return tokens
}

// narrow shortens the time in which ops can have happened, by what every legal
// order of them keeps: tokens rise, and what only a holder can do or show lies
// between its grant and the one that ends it. Without that, a hundred questions
// which wait for one lease at once are a hundred grants in any order. What
// contradicts itself stays so, for porcupine to find. ops are on one lease, with
// a grant for each token.
func narrow(ops []op) {
	grants := map[int64]*op{}
	var tokens []int64
	lossy, taken := false, false
	for i := range ops {
		switch o := &ops[i]; {
		case o.verb == fails:
			lossy = true
		case o.verb == takes && o.outcome == unknown:
			taken = true
		case o.grants():
			grants[o.token] = o
			tokens = append(tokens, o.token)
		}
	}
	slices.Sort(tokens)
	ends := endings(tokens, grants)
	// needs tells whether an op shows that its token was not ended yet. Who was
	// driven out may trust it for a while.
	needs := func(o op) bool {
		end := grants[ends[o.token]]
		switch {
		case lossy || o.verb == adopts && o.outcome != yes || o.verb == takes:
			return false
		case o.verb == looks:
			return !taken && (end == nil || end.verb != takes)
		}
		return o.outcome == yes || o.verb == acquires
	}
	last := map[int64]int64{} // by the token that ends: when the last op that needs what it ends was called
	for _, o := range ops {
		if end, ok := ends[o.token]; ok && o.outcome == yes && !o.grants() && needs(o) {
			last[end] = max(last[end], o.from)
		}
	}
	floor := int64(0)
	for _, token := range tokens {
		g := grants[token]
		floor = max(floor, last[token])
		g.from = min(max(g.from, floor), g.to)
		floor = max(floor, g.from)
	}
	ceiling := int64(math.MaxInt64)
	for _, token := range slices.Backward(tokens) {
		g := grants[token]
		g.to = max(min(g.to, ceiling), g.from)
		ceiling = min(ceiling, g.to)
	}
	for i := range ops {
		o := &ops[i]
		if g := grants[o.token]; g != nil && g != o && !lossy {
			o.from = min(max(o.from, g.from), o.to)
			if end := grants[ends[o.token]]; end != nil && needs(*o) {
				o.to = max(min(o.to, end.to), o.from)
			}
		}
	}
}

// endings tells, by token, the token of the grant that ends it: the next one, of
// a share the next that is none.
func endings(tokens []int64, grants map[int64]*op) map[int64]int64 {
	ends := map[int64]int64{}
	next, whole := int64(0), int64(0)
	for _, token := range slices.Backward(tokens) {
		end := next
		if grants[token].share {
			end = whole
		}
		if end != 0 {
			ends[token] = end
		}
		next = token
		if !grants[token].share {
			whole = token
		}
	}
	return ends
}

// withoutImplied leaves out each sight of a holder that another op on the same
// token says as well, because it took place within the same time. They can be
// hundreds, in any order, and say nothing more.
func withoutImplied(ops []op) []op {
	// Who was driven out may look, and holds nothing.
	taken := slices.ContainsFunc(ops, func(o op) bool { return o.verb == takes })
	shows := func(o op) bool {
		return o.outcome == yes && (o.verb == looks && !taken || o.verb == writes) || o.outcome == no && o.verb == acquires
	}
	byToken := map[int64][]op{}
	for _, o := range ops {
		if shows(o) {
			byToken[o.token] = append(byToken[o.token], o)
		}
	}
	var out []op
	for _, o := range ops {
		implied := o.verb == acquires && o.outcome == no && slices.ContainsFunc(byToken[o.token], func(p op) bool {
			inside := p.from >= o.from && p.to <= o.to
			return inside && (p.from > o.from || p.to < o.to || p.verb != acquires)
		})
		if !implied {
			out = append(out, o)
		}
	}
	return out
}

// recorded is a history, with what the server holds afterwards.
type recorded struct {
	ops []op
	log [][]string // of each lease: its fenced writes, in the server's order
	// lossy: a failover may have lost writes that were confirmed.
	lossy bool
	// narrow: only who was granted a lease and who trusts it counts. That is what
	// replicas have confirmed; what else a server that was cut off says may come
	// to nothing.
	narrow bool
	ttl    time.Duration
}

// check returns what is wrong.
func (h recorded) check(t testing.TB) []string {
	t.Helper()
	byLease := make([][]op, len(h.log))
	for _, o := range h.ops {
		if o.verb != fails {
			byLease[o.lease] = append(byLease[o.lease], o)
			continue
		}
		for i := range byLease {
			byLease[i] = append(byLease[i], o)
		}
	}
	var wrong []string
	for i, ops := range byLease {
		wrong = append(wrong, h.checkLog(i, ops)...)
		wrong = append(wrong, h.checkDeposed(ops)...)
		if h.narrow {
			ops = slices.DeleteFunc(ops, func(o op) bool { return o.verb != looks && !o.grants() })
		}
		ops, problems := certain(ops)
		wrong = append(wrong, problems...)
		for _, part := range parts(ops) {
			if legal(t, part) {
				continue
			}
			lines := []string{fmt.Sprintf("lease %d: nothing that one register does explains this:", i)}
			for _, o := range shrink(t, part) {
				lines = append(lines, o.String())
			}
			wrong = append(wrong, strings.Join(lines, "\n\t"))
		}
	}
	return wrong
}

// checkDeposed looks for holders who trusted a lease for longer than its TTL
// after somebody had taken it from them.
func (h recorded) checkDeposed(ops []op) []string {
	var wrong []string
	for _, taken := range ops {
		if taken.verb != takes || taken.outcome != yes {
			continue
		}
		for _, o := range ops {
			if over := time.Duration(o.from - taken.to); o.verb == looks && o.token < taken.token && over > h.ttl {
				wrong = append(wrong, fmt.Sprintf("lease %d: trusted for %v after it was taken over with %d: %v", o.lease, over, taken.token, o))
			}
		}
	}
	return wrong
}

// checkLog compares the fenced writes that one lease's holders know of with the
// server's log: the order of tokens is the order of writes, but for readers who
// hold it together, and each write was done as often as its holder was told.
func (h recorded) checkLog(lease int, ops []op) []string {
	var wrong []string
	times := map[string]int{}
	shares := map[int64]bool{}
	for _, o := range ops {
		if o.share && o.grants() {
			shares[o.token] = true
		}
	}
	last, whole := int64(0), int64(0) // the greatest token, and that of one who held it alone
	for i, entry := range h.log[lease] {
		times[entry]++
		var token int64
		if _, err := fmt.Sscanf(entry, "%d:", &token); err != nil {
			wrong = append(wrong, fmt.Sprintf("lease %d: write %d is %q", lease, i, entry))
		}
		if token < whole || token < last && !shares[token] {
			wrong = append(wrong, fmt.Sprintf("lease %d: write %d has token %d after %d", lease, i, token, last))
		}
		last = max(last, token)
		if !shares[token] {
			whole = max(whole, token)
		}
	}
	for _, o := range ops {
		if o.verb != writes {
			continue
		}
		n := times[o.write]
		delete(times, o.write)
		if n > 1 || (o.outcome == no && n > 0) || (o.outcome == yes && n == 0 && !h.lossy) {
			wrong = append(wrong, fmt.Sprintf("lease %d: in the log %d times: %v", lease, n, o))
		}
	}
	for entry := range times {
		wrong = append(wrong, fmt.Sprintf("lease %d: nobody wrote %q", lease, entry))
	}
	return wrong
}

// A journal is how a process tells what its holders do: a record at the call and
// one at the return of each op. A record is one small write to a file, so what
// was written before a kill is there.

const recordLength = 24

// record is one line of a journal. The numbers of ops are the process's own.
type record struct {
	verb    verb
	outcome outcome // of the return
	back    bool    // the return, not the call
	share   bool    // see op
	lease   uint8
	op      uint32
	at      int64
	token   int64
}

func (r record) bytes() []byte {
	b := make([]byte, 0, recordLength)
	flags := byte(0)
	if r.back {
		flags |= 1
	}
	if r.share {
		flags |= 2
	}
	b = append(b, byte(r.verb), byte(r.outcome), flags, r.lease)
	b = binary.LittleEndian.AppendUint32(b, r.op)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.at))
	return binary.LittleEndian.AppendUint64(b, uint64(r.token))
}

// opsOf reads the journal of one process. What had not returned when the process
// ended has an unknown outcome.
func opsOf(holder int, journal []byte) []op {
	var ops []op
	index := map[uint32]int{} // where the op of that number is
	type grant struct {
		lease uint8
		token int64
	}
	lastLook := map[grant]int{} // a later look says all of an earlier one
	for ; len(journal) >= recordLength; journal = journal[recordLength:] {
		r := record{
			verb: verb(journal[0]), outcome: outcome(journal[1]), back: journal[2]&1 != 0, share: journal[2]&2 != 0, lease: journal[3],
			op:    binary.LittleEndian.Uint32(journal[4:]),
			at:    int64(binary.LittleEndian.Uint64(journal[8:])),
			token: int64(binary.LittleEndian.Uint64(journal[16:])),
		}
		if r.back {
			o := &ops[index[r.op]]
			o.outcome, o.to = r.outcome, r.at
			switch o.verb {
			case acquires, takes:
				o.token, o.share = r.token, r.share
			case hands:
				o.token, o.old = r.token, o.token
			}
			delete(index, r.op)
			continue
		}
		o := op{verb: r.verb, lease: int(r.lease), token: r.token, from: r.at, to: math.MaxInt64, holder: holder}
		switch r.verb {
		case looks:
			o.outcome, o.to = yes, r.at
			if i, ok := lastLook[grant{r.lease, r.token}]; ok {
				ops[i] = o
				continue
			}
			lastLook[grant{r.lease, r.token}] = len(ops)
		case writes:
			o.write = writeID(r.token, holder, r.op)
		}
		index[r.op] = len(ops)
		ops = append(ops, o)
	}
	return ops
}

// writeID is what a fenced write appends to the log.
func writeID(token int64, holder int, op uint32) string {
	return fmt.Sprintf("%d:%d:%d", token, holder, op)
}

// TestTheModelOfALease checks the checker, on stories small enough to judge by
// eye.
func TestTheModelOfALease(t *testing.T) {
	t.Parallel()
	grant := func(token, from, to int64) op {
		return op{verb: acquires, outcome: yes, token: token, from: from, to: to}
	}
	look := func(token, at int64) op { return op{verb: looks, outcome: yes, token: token, from: at, to: at} }
	over := op{verb: fails, from: 15, to: 16}
	for _, tt := range []struct {
		name string
		ops  []op
		want bool
	}{
		{"one after the other", []op{grant(1, 0, 10), look(1, 12), {verb: releases, outcome: yes, token: 1, from: 15, to: 20}, grant(2, 15, 30)}, true},
		{"the first lapses", []op{grant(1, 0, 10), look(1, 12), grant(2, 20, 30), {verb: writes, outcome: no, token: 1, from: 40, to: 50}}, true},
		{"two trust it at one moment", []op{grant(1, 0, 10), grant(2, 20, 30), look(1, 40)}, false},
		{"the look is as old as the second grant", []op{grant(1, 0, 10), grant(2, 20, 30), look(1, 25)}, true},
		{"a token comes twice", []op{grant(1, 0, 10), grant(1, 20, 30)}, false},
		{"tokens fall", []op{grant(2, 0, 10), grant(1, 20, 30)}, false},
		{"an old token writes", []op{grant(1, 0, 10), grant(2, 20, 30), {verb: writes, outcome: yes, token: 1, from: 40, to: 50}}, false},
		{"an old token releases", []op{grant(1, 0, 10), grant(2, 20, 30), {verb: releases, outcome: yes, token: 1, from: 40, to: 50}}, false},
		{"who was refused is let in again", []op{grant(1, 0, 10), {verb: writes, outcome: no, token: 1, from: 11, to: 12}, look(1, 13)}, false},
		{"somebody sees a holder who has gone", []op{grant(1, 0, 10), grant(2, 20, 30), {verb: acquires, outcome: no, token: 1, from: 40, to: 50}}, false},
		{"a failover forgets a grant", []op{grant(1, 0, 10), over, grant(2, 20, 30), look(1, 40)}, true},
		{"a failover forgets a token", []op{grant(1, 0, 10), over, grant(1, 20, 30)}, false},
		{"a failover excuses nothing later", []op{over, grant(1, 20, 30), grant(2, 40, 50), look(1, 60)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := legal(t, tt.ops); got != tt.want {
				t.Errorf("legal = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestManyWaitersForOneLeaseAreChecked: hundreds of questions that overlap must
// not be too many for porcupine, and the one that is wrong must be found.
func TestManyWaitersForOneLeaseAreChecked(t *testing.T) {
	t.Parallel()
	const n = 300
	var ops []op
	for i := range int64(n) {
		at := (i + 1) * 100 // all have asked at once, and are let in one by one
		ops = append(ops,
			op{verb: acquires, outcome: yes, token: i + 1, from: n - i, to: at + 10},
			op{verb: looks, outcome: yes, token: i + 1, from: at + 20, to: at + 20},
			op{verb: releases, outcome: yes, token: i + 1, from: at + 30, to: at + 140},
			op{verb: acquires, outcome: no, token: i + 1, from: 1, to: 100 * n})
	}
	check := func(ops []op) bool {
		ops, wrong := certain(ops)
		return len(wrong) == 0 && legal(t, ops)
	}
	if !check(ops) {
		t.Error("a good history is not legal")
	}
	bad := slices.Clone(ops)
	bad[4*n/2+1].from += 200
	bad[4*n/2+1].to += 200
	if check(bad) {
		t.Error("two held it at one moment, and it is legal")
	}
}

// TestCuttingAHistoryChangesNoVerdict: the parts of a long history are legal if
// and only if all of it is.
func TestCuttingAHistoryChangesNoVerdict(t *testing.T) {
	t.Parallel()
	var ops []op
	for i := range int64(1000) {
		at := i * 100
		ops = append(ops,
			op{verb: acquires, outcome: yes, token: i + 1, from: at, to: at + 10},
			op{verb: looks, outcome: yes, token: i + 1, from: at + 20, to: at + 20},
			op{verb: releases, outcome: yes, token: i + 1, from: at + 30, to: at + 40})
	}
	all := func(ops []op) bool {
		for _, part := range parts(ops) {
			if !legal(t, part) {
				return false
			}
		}
		return true
	}
	if n := len(parts(ops)); n < 5 || !all(ops) || !legal(t, ops) {
		t.Errorf("a good history in %d parts: %v, in one: %v", n, all(ops), legal(t, ops))
	}
	for _, o := range []op{
		{verb: looks, outcome: yes, token: 300, from: 50_050, to: 50_050},
		{verb: acquires, outcome: yes, token: 450, from: 50_050, to: 50_060},
		{verb: acquires, outcome: no, token: 501, from: 50_050, to: 50_060}, // it was released before
	} {
		bad := append(slices.Clone(ops), o)
		slices.SortStableFunc(bad, func(a, b op) int { return cmp.Compare(a.from, b.from) })
		if all(bad) || legal(t, bad) {
			t.Errorf("a bad history is legal in parts: %v, in one: %v (%v)", all(bad), legal(t, bad), o)
		}
		if short := shrink(t, bad); len(short) > 3 || legal(t, short) {
			t.Errorf("shrunk to %v", short)
		}
	}
}
