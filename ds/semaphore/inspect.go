package semaphore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

const (
	// maxShown bounds how many permits an Info lists.
	maxShown = 32
	// maxNext bounds the search for the next in the queue: dead waiters may be
	// before it.
	maxNext = 32
	// explained is how many permits Explain names.
	explained = 4
)

// Info is what the server says of a semaphore at one moment.
type Info struct {
	Name string `json:"name"`
	// Limit is the one that the server keeps for all if Kept; else that of the
	// last permit granted, 0 when nobody holds any.
	Limit int  `json:"limit"`
	Kept  bool `json:"kept,omitempty"`
	// Baseline is how long work takes that does not have to wait for other work,
	// as an adaptive limit has found.
	Baseline time.Duration `json:"baseline_ns,omitempty"`

	Used    int `json:"used"`    // what all permits weigh that are out
	Permits int `json:"permits"` // how many are out
	// Holding are permits, the oldest first: all, or of more than 32 those that
	// would lapse first.
	Holding []Holding `json:"holding,omitempty"`

	// Waiting is how many are in the queue, those included whose tickets have
	// lapsed and that nobody has passed over yet.
	Waiting int    `json:"waiting"`
	Next    string `json:"next,omitempty"` // the owner's name of the first in the queue
}

// Holding is one permit that is out.
type Holding struct {
	Owner  string        `json:"owner"` // the holder's name, for people
	ID     string        `json:"id"`    // of the acquisition
	Weight int           `json:"weight"`
	Token  int64         `json:"token"`
	Since  time.Time     `json:"since"`   // when it was granted, by the server's clock
	Left   time.Duration `json:"left_ns"` // until it lapses unless renewed
}

// Explain says the same in a sentence.
func (i Info) Explain() string {
	var b strings.Builder
	if i.Limit > 0 {
		fmt.Fprintf(&b, "%d of %d held", i.Used, i.Limit)
	} else {
		b.WriteString("nothing held")
	}
	for n, h := range i.Holding[:min(len(i.Holding), explained)] {
		sep := ", "
		if n == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s (%d) since %s", sep, h.Owner, h.Weight, h.Since.UTC().Format("15:04:05Z"))
	}
	if more := i.Permits - explained; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	if i.Kept {
		b.WriteString("; the limit is kept on the server")
	}
	if i.Baseline > 0 {
		fmt.Fprintf(&b, ", baseline %v", i.Baseline.Round(time.Microsecond))
	}
	if i.Waiting > 0 {
		fmt.Fprintf(&b, "; %d waiting", i.Waiting)
	}
	if i.Next != "" {
		fmt.Fprintf(&b, ", next is %s", i.Next)
	}
	return b.String()
}

// Inspect returns how the semaphore stands. Its Limit is never 0.
func (s *Semaphore) Inspect(ctx context.Context) (Info, error) {
	if s.wrong != nil {
		return Info{}, s.wrong
	}
	i, err := s.look(ctx)
	if i.Limit == 0 && err == nil {
		i.Limit = s.limit
	}
	return i, err
}

// Inspect returns how the semaphore of that name stands, for who does not know
// its limit. Of the options only Namespace counts. One that nobody uses is no
// error.
func Inspect(ctx context.Context, d command.Doer, name string, opts ...Option) (Info, error) {
	s := New(d, name, 1, opts...)
	if name == "" {
		return Info{}, s.wrong
	}
	return s.look(ctx)
}

func (s *Semaphore) look(ctx context.Context) (Info, error) {
	n := s.names
	i, err := command.RunScript(ctx, s.d, lua.inspect, asInfo, []string{n.lease, n.queue, n.order, n.readers, n.limit},
		command.Int(maxShown), command.Int(maxNext))
	i.Name = s.name
	return i, s.wrap(ctx, err)
}

func asInfo(v resp3.View) (Info, error) {
	f := script.Read(v)
	i := Info{Limit: int(f.Int()), Kept: f.Int() == 1, Baseline: time.Duration(f.Int()) * time.Microsecond}
	i.Used, i.Permits, i.Waiting, i.Next = int(f.Int()), int(f.Int()), int(f.Int()), f.Text()
	for f.More() {
		h := Holding{ID: f.Text(), Owner: f.Text(), Token: f.Int(), Since: f.Micros(), Left: f.Millis(), Weight: int(f.Int())}
		i.Holding = append(i.Holding, h)
	}
	slices.SortFunc(i.Holding, func(a, b Holding) int { return a.Since.Compare(b.Since) })
	return i, f.Err()
}
