package session

import (
	"strings"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/telemetry"
)

// longKind bounds the text of a push's kind that observers are given.
const longKind = 64

// span is a part of the stream.
type span struct{ start, end int64 }

// confidential reports whether r or its reply may hold a secret. A command that
// the table lacks may be anything.
func confidential(r *command.Request) bool {
	s := r.Spec()
	return s.Group == "" || s.Flags&(command.Secret|command.Admin) != 0 || strings.HasPrefix(s.Name, "ACL ")
}

// hide keeps the bytes of k, and its replies, from observers: a request of it is
// confidential. It is called with mu held, when k is queued.
func (c *Conn) hide(k *call) {
	k.hidden = true
	c.hidden = append(c.hidden, span{k.start, k.end})
}

// unhide forgets the bytes of k, which was withdrawn: what follows moves up. It
// is called with mu held.
func (c *Conn) unhide(k *call) {
	kept := c.hidden[:0]
	for _, s := range c.hidden {
		if s.start >= k.end {
			s.start -= k.end - k.start
			s.end -= k.end - k.start
		} else if s.start == k.start {
			continue
		}
		kept = append(kept, s)
	}
	c.hidden = kept
}

// hiddenIn returns the hidden parts of the stream from start to end, and forgets
// those before it. It is called with mu held.
func (c *Conn) hiddenIn(start, end int64) []span {
	kept := c.hidden[:0]
	var in []span
	for _, s := range c.hidden {
		if s.end <= start {
			continue
		}
		kept = append(kept, s)
		if s.start < end {
			in = append(in, s)
		}
	}
	c.hidden = kept
	return in
}

// wireOut tells of b, which was written at start of the stream. Hidden parts are
// told by their size.
func (c *Conn) wireOut(start int64, b []byte, hidden []span) {
	at := int64(0)
	for _, s := range hidden {
		from := min(max(s.start-start, at), int64(len(b)))
		to := min(max(s.end-start, from), int64(len(b)))
		c.wire(true, b[at:from], false)
		c.wire(true, b[from:to], true)
		at = to
	}
	c.wire(true, b[at:], false)
}

func (c *Conn) wire(out bool, b []byte, hidden bool) {
	if len(b) == 0 {
		return
	}
	w := telemetry.Wire{ID: c.cfg.ID, Node: c.cfg.Node, Out: out, Size: len(b), Data: b}
	if hidden {
		w.Data = nil
	}
	c.cfg.Observers.Wire(w)
}

// pushCame tells of a push message.
func (c *Conn) pushCame(v resp3.View, size int) {
	kind := ""
	cur := v.Cursor()
	if first, ok := cur.Next(); ok {
		b := first.Bytes()
		kind = string(b[:min(len(b), longKind)])
	}
	c.cfg.Observers.Push(telemetry.Push{ID: c.cfg.ID, Node: c.cfg.Node, Kind: kind, Size: size})
}
