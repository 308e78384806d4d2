package session

import "github.com/redisx/redisx/resp3"

// Replies keeps the replies of a batch, in order. A long string has memory of
// its own, which becomes the caller's string without another copy; all other
// replies lie in one buffer. The zero value is empty.
type Replies struct {
	buf    []byte
	long   []resp3.View
	places []place
}

// place says where a reply lies: at [from, to) of buf, or in long[from] if to
// is negative.
type place struct{ from, to int }

// Add appends a copy of v, or v itself if it owns its bytes. The zero View
// stands for a command without a reply.
func (r *Replies) Add(v resp3.View) {
	switch {
	case v.Kind() == 0:
		r.places = append(r.places, place{})
	case v.IsOwned():
		r.addLong(v)
	default:
		from := len(r.buf)
		r.buf = v.Append(r.buf)
		r.places = append(r.places, place{from, len(r.buf)})
	}
}

// addFrame is Add for a reply in the read buffer; frame is its encoded form.
func (r *Replies) addFrame(v resp3.View, frame []byte) {
	if raw := v.Raw(); long(v, raw) {
		r.addLong(v.Rebase(append(make([]byte, 0, len(raw)), raw...)).Owned())
		return
	}
	from := len(r.buf)
	r.buf = append(r.buf, frame...)
	r.places = append(r.places, place{from, len(r.buf)})
}

func (r *Replies) addLong(v resp3.View) {
	r.places = append(r.places, place{len(r.long), -1})
	r.long = append(r.long, v)
}

// Len returns how many replies were added, none to nil.
func (r *Replies) Len() int {
	if r == nil {
		return 0
	}
	return len(r.places)
}

// At returns reply i, or the zero View if there is none. It lies in the memory
// of r until Reset.
func (r *Replies) At(i int) resp3.View {
	switch p := r.places[i]; {
	case p.to < 0:
		return r.long[p.from]
	case p.to > p.from:
		return resp3.NewView(r.buf[p.from:p.to])
	}
	return resp3.View{}
}

// Reset forgets the replies. It keeps memory for as many again, up to max bytes
// of them.
func (r *Replies) Reset(max int) {
	clear(r.long) // the strings belong to callers now
	r.long, r.places, r.buf = r.long[:0], r.places[:0], r.buf[:0]
	if cap(r.buf) > max {
		r.buf = nil
	}
	if cap(r.places) > max/16 {
		r.places, r.long = nil, nil
	}
}
