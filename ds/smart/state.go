package smart

import (
	"errors"
	"strings"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// kind is what is asked of a key.
type kind uint8

const (
	value kind = iota
	presence
	length
	stream
)

// wants is what a key of that kind holds, in words.
func (k kind) wants() string { return [...]string{"a string", "anything", "a list", "a stream"}[k] }

// request returns the read. It has one key, and what changes its answer changes
// the key.
func (k kind) request(key string) command.Request {
	switch k {
	case presence:
		return command.Exists(key).Request()
	case length:
		return command.LLen(key).Request()
	case stream:
		return command.XInfoStream(key).Request()
	}
	return command.Get(key).Request()
}

// events are the classes of keyspace events that may change the answer. Without
// x: the end of a life is counted down here. Without those of other types: a key
// that is overwritten by another type is an error, seen with the next look
// without an event.
func (k kind) events() string { return [...]string{"g$e", "g$lshztde", "gle", "gte"}[k] }

// state is what a key was like when it was read.
type state struct {
	exists bool
	value  string

	length      int64 // of a list or stream
	added       int64 // to a stream, ever
	first, last streamID
}

// overhead is what a key that is waited for takes beside its name and value, in
// bytes: about.
const overhead = 512

// decode reads the server's answer, or what it refused to answer.
func (k kind) decode(v resp3.View, err error) (state, error) {
	var said resp3.ServerError
	if k == stream && errors.As(err, &said) && strings.Contains(string(said), "no such key") {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	switch k {
	case presence:
		n, err := v.Int()
		return state{exists: n > 0}, err
	case length:
		n, err := v.Int()
		return state{exists: n > 0, length: n}, err
	case stream:
		return decodeStream(v)
	}
	if v.IsNull() {
		return state{}, nil
	}
	text, err := v.Str()
	return state{exists: true, value: strings.Clone(text)}, err
}

func decodeStream(v resp3.View) (state, error) {
	info, err := command.AsStreamInfo(v)
	if err != nil {
		return state{}, err
	}
	last, ok := parseID(info.LastGeneratedID)
	if !ok {
		return state{}, &resp3.TypeError{Want: "a stream with a last-generated-id", Got: v.Kind()}
	}
	s := state{exists: true, last: last, length: clamp(info.Length), added: clamp(info.EntriesAdded)}
	if s.first, ok = parseID(info.RecordedFirstEntryID); !ok && info.First.OK {
		s.first, _ = parseID(info.First.Value.ID)
	}
	return s, nil
}

func clamp(n int64) int64 { return min(max(n, 0), maxCount) }

// Seen is what the last read of a key showed.
type Seen struct {
	Key   string `json:"key"`
	Known bool   `json:"known"` // it was read; while it was not, nothing below says anything
	Met   bool   `json:"met"`   // its condition was met, by a read that began after the call

	Exists bool   `json:"exists"`
	Value  string `json:"value,omitempty"` // of Key and Changes
	Len    int64  `json:"len,omitempty"`   // of ListLen

	// Of StreamAfter: the greatest ID that was ever added, the ID of the oldest
	// entry that is left ("" when none is), and, once it is met, how many of the
	// entries after the ID that was waited from are missing, trimmed or deleted
	// before anybody could read them from there. Lost is -1 where the server's
	// counts do not tell that, and perhaps none is.
	LastID  string `json:"last_id,omitempty"`
	FirstID string `json:"first_id,omitempty"`
	Lost    int64  `json:"lost,omitempty"`
}

// seen returns s as users see it.
func (l *leaf) seen(s state) Seen {
	out := Seen{Key: l.key, Known: true, Exists: s.exists, Value: s.value}
	switch l.kind {
	case length:
		out.Len = s.length
	case stream:
		if s.exists {
			out.LastID = s.last.String()
		}
		if s.length > 0 {
			out.FirstID = s.first.String()
		}
	}
	return out
}
