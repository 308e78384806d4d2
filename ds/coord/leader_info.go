package coord

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/explain"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/resp3"
)

// maxListed bounds the candidates in a LeaderInfo.
const maxListed = 32

// LeaderInfo is what the server says of an election at one moment.
type LeaderInfo struct {
	Name string `json:"name"`
	Led  bool   `json:"led"`
	// Term is the fencing token of the leader; when nobody leads, of the last
	// one, or 0 when none is remembered (7 days after the last election).
	Term int64 `json:"term"`

	// The next are zero when nobody leads.

	Leader string        `json:"leader,omitempty"`  // see the option Name
	Since  time.Time     `json:"since,omitzero"`    // when it was elected, by the server's clock
	Left   time.Duration `json:"left_ns,omitempty"` // until its term lapses unless renewed; negative: it has no end
	TTL    time.Duration `json:"ttl_ns,omitempty"`  // what each renewal gives
	Meta   string        `json:"meta,omitempty"`    // what the leader says of itself: see the option Meta

	// The rest is told by Election.Leader only.

	// Asked is who asked this leader to resign, and why.
	Asked string `json:"asked,omitempty"`
	// Waiting is how many candidates stand. One that has died stands for
	// another TTL; of more than 256 the rest are not counted.
	Waiting int `json:"waiting,omitempty"`
	// Candidates are those who wait, at most 32, the next first: by weight,
	// then by how long they have waited. Of equal weights any may win.
	Candidates []Candidate `json:"candidates,omitempty"`
}

// Candidate is one who waits to lead.
type Candidate struct {
	Name   string    `json:"name"`
	Weight int       `json:"weight"` // 0: it has been asked to resign, and lets all others go first
	Since  time.Time `json:"since"`  // when it came, by the server's clock
}

// Explain says who leads since when, and who waits, in one line.
func (i LeaderInfo) Explain() string {
	var b strings.Builder
	switch {
	case i.Led:
		fmt.Fprintf(&b, "led by %s since %s, term %d", i.Leader, explain.Clock(i.Since), i.Term)
		if i.Meta != "" {
			fmt.Fprintf(&b, ", meta %q", i.Meta)
		}
		if i.Left < 0 {
			b.WriteString(", without an end: somebody took its TTL away")
		} else {
			fmt.Fprintf(&b, ", renewed %s ago, lapses in %s unless renewed", explain.Rounded(max(i.TTL-i.Left, 0)), explain.Rounded(i.Left))
		}
		if i.Asked != "" {
			fmt.Fprintf(&b, ", asked to resign by %s", i.Asked)
		}
	case i.Term != 0:
		fmt.Fprintf(&b, "nobody leads, last term %d", i.Term)
	default:
		b.WriteString("nobody leads, no term remembered")
	}
	if i.Waiting > 0 {
		fmt.Fprintf(&b, ", %d waiting", i.Waiting)
	}
	if len(i.Candidates) > 0 {
		fmt.Fprintf(&b, ", next is %s", i.Candidates[0].Name)
	}
	return b.String()
}

// Leader returns who leads, since when, and who waits. That nobody leads is no
// error. Any process may ask, candidate or not. Leadership and candidates are
// read one after the other.
func (e *Election) Leader(ctx context.Context) (LeaderInfo, error) {
	if e.err != nil {
		return LeaderInfo{}, e.err
	}
	info, err := e.leader(ctx)
	if err != nil {
		return LeaderInfo{}, wrap("election", e.name, wait.Because(ctx, err))
	}
	c, err := command.RunScript(ctx, e.d, candidatesScript, asCandidacy,
		[]string{e.keys.candidates, e.keys.stepdown}, command.Int(maxListed))
	if err != nil {
		return LeaderInfo{}, wrap("election", e.name, wait.Because(ctx, err))
	}
	info.Waiting, info.Candidates = c.waiting, c.candidates
	if info.Led && c.asked == info.Term {
		info.Asked = c.by
		if c.why != "" {
			info.Asked += ": " + c.why
		}
	}
	return info, nil
}

// leader reads who leads, not who waits.
func (e *Election) leader(ctx context.Context) (LeaderInfo, error) {
	held, err := lease.Inspect(ctx, e.d, leaseName(e.name), e.leaseOptions()...)
	if err != nil {
		return LeaderInfo{}, err
	}
	i := LeaderInfo{Name: e.name, Led: held.Held, Term: held.Token}
	if held.Held {
		i.Leader, i.Since, i.Left, i.TTL, i.Meta = held.Owner, held.Since, held.Left, held.TTL, held.Meta
	}
	return i, nil
}

// next returns when the term lapses unless it is renewed, 0 when there is none.
func (i LeaderInfo) next() time.Duration {
	if !i.Led {
		return 0
	}
	return lapse(i.Left)
}

// candidacy is the answer of candidates.lua.
type candidacy struct {
	asked      int64 // the term that is asked to end
	by, why    string
	waiting    int
	candidates []Candidate
}

func asCandidacy(v resp3.View) (candidacy, error) {
	f := script.Read(v)
	c := candidacy{asked: f.Int(), by: f.Text(), why: f.Text(), waiting: int(f.Int())}
	for f.More() {
		c.candidates = append(c.candidates, Candidate{Name: f.Text(), Weight: int(f.Int()), Since: f.Micros()})
	}
	return c, f.Err()
}

// NotLeaderError reports that somebody else led when waiting ended.
type NotLeaderError struct {
	Name   string        // of the election
	Leader string        // who led when last seen
	Term   int64         // its fencing token
	Since  time.Time     // when it was elected, by the server's clock
	Left   time.Duration // of its term then, unless renewed; negative: it has no end
	Err    error         // why waiting ended, the cause of the context
}

// Error names the election and the leader.
func (e *NotLeaderError) Error() string {
	return fmt.Sprintf("coord: election %s: %s leads (term %d): %v", e.Name, e.Leader, e.Term, e.Err)
}

// Unwrap returns ErrNotLeader and why waiting ended.
func (e *NotLeaderError) Unwrap() []error { return sentinel(ErrNotLeader, e.Err) }

// Explain says what to do.
func (e *NotLeaderError) Explain() string {
	return fmt.Sprintf("%s has led %q since %s (term %d). If it is alive it renews, and others can lead when it resigns; if it has died, in %v at most. "+
		"Campaign waits for that as long as its context lasts. StepDown asks the leader to resign.",
		e.Leader, e.Name, e.Since.UTC().Format(time.RFC3339), e.Term, e.Left.Round(time.Millisecond))
}
