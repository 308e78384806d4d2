package session

import (
	"sync/atomic"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// The states of a call; doc.go has the drawing.
const (
	pending int32 = iota
	busy
	done
	gone
)

// signal is what a waiting caller is woken with.
type signal uint8

const (
	finished signal = iota // the call is done
	promoted               // the caller leads now
)

// call is one command, or one batch of commands, on its way. What a woken
// caller looks at comes first: with thousands of callers it is in no cache.
type call struct {
	state   atomic.Int32
	waiting bool        // guarded by Conn.mu: asleep on ready
	pops    bool        // its reply may be all that is left of an element
	exec    bool        // the last reply is that to EXEC
	hidden  bool        // observers must not see it
	ready   chan signal // capacity 1, sent to at most once per wait

	// Owned by the leader until done, then by the caller, like the last four.
	view resp3.View // the reply of a single command
	err  error      // why there is no (further) reply
	buf  []byte     // the memory of view
	got  int

	// Set before the call is queued, then guarded by Conn.mu until the writer
	// has taken its bytes.
	want       int            // replies to come
	start, end int64          // where its bytes begin and end in the stream
	deadline   int64          // on the stall clock, 0: none
	awaits     *confirmations // pushes to come instead, or nil
	sink       *sink          // where the reply goes if it is a string, or nil
	home       *Conn          // where Release puts it

	replies *Replies // of a batch, or nil
	wrote   int64    // bytes of the stream known to be handed over, when err is set
	phase   string
	outcome command.Outcome
}

// keepReply is how large a reply's memory may be to be kept for the next call.
const keepReply = 32 << 10

// newCall takes a call from the connection's pool: the spare one, which is all
// that a lone caller needs, or one of many. There is no pool for all
// connections: channels must not leave the bubble of a test in virtual time. It
// is called with mu held.
func (c *Conn) newCall(want int) *call {
	k := c.spareCall.Load()
	if k == nil || !c.spareCall.CompareAndSwap(k, nil) {
		var ok bool
		if k, ok = c.calls.Get().(*call); !ok {
			k = &call{home: c, ready: make(chan signal, 1)}
		}
	}
	k.want = want
	if want > 1 && k.replies == nil {
		k.replies = new(Replies)
	}
	return k
}

// Release returns the call to the pool. Its owner calls it once.
func (k *call) Release() {
	if cap(k.buf) > keepReply {
		k.buf = nil
	}
	if k.replies != nil {
		k.replies.Reset(keepReply)
	}
	k.view, k.err, k.phase, k.awaits, k.sink = resp3.View{}, nil, "", nil, nil
	k.buf = k.buf[:0]
	k.got, k.outcome, k.waiting, k.hidden, k.wrote = 0, command.Maybe, false, false, 0
	k.pops, k.exec = false, false
	k.state.Store(pending)
	if k.home.spareCall.Load() != nil || !k.home.spareCall.CompareAndSwap(nil, k) {
		k.home.calls.Put(k)
	}
}

// ownText is the size from which a string reply gets memory of its own, which
// then becomes the caller's string without another copy.
const ownText = 512

func long(v resp3.View, raw []byte) bool {
	return len(raw) >= ownText && !v.Kind().IsAggregate()
}

// deliver gives the call its next reply. Only the leader calls it. It reports
// whether the call is complete; frame is the encoded reply.
func (k *call) deliver(v resp3.View, frame []byte) (complete, wanted bool) {
	if !k.state.CompareAndSwap(pending, busy) {
		k.got++
		return k.got == k.want, false
	}
	raw := v.Raw()
	switch {
	case k.want > 1:
		k.replies.addFrame(v, frame)
	case long(v, raw):
		own := make([]byte, len(raw))
		copy(own, raw)
		k.view = v.Rebase(own).Owned()
	default:
		k.buf = append(k.buf[:0], raw...)
		k.view = v.Rebase(k.buf)
	}
	k.got++
	if k.got < k.want {
		k.state.Store(pending)
		return false, true
	}
	k.state.Store(done)
	return true, true
}

// fail ends the call without a reply. Only the leader calls it. It reports
// whether anybody waits for it.
func (k *call) fail(err error, phase string, wrote int64) bool {
	if !k.state.CompareAndSwap(pending, busy) {
		return false
	}
	k.err, k.phase, k.wrote = err, phase, wrote
	k.outcome = outcome(k.start, k.end, wrote)
	if k.outcome == command.NotSent {
		k.phase = "queue"
	}
	k.state.Store(done)
	return true
}

// outcome judges a command whose bytes are [start, end) of the stream, of which
// wrote bytes were handed to the transport.
func outcome(start, end, wrote int64) command.Outcome {
	switch {
	case start >= wrote:
		return command.NotSent
	case end > wrote:
		return command.Cut
	}
	return command.Maybe
}
