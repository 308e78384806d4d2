package limiter

import (
	"context"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

// Info is how a rule stands for one key, by the server's clock.
type Info struct {
	Rule      string    `json:"rule,omitempty"` // its name in a Group
	Key       string    `json:"key"`
	Algorithm Algorithm `json:"algorithm"`
	// Count calls are admitted each Per, Burst of them at once: the rule of
	// the last call, of GCRA in lowest terms ("100/m" is 5 each 3 s).
	Count int64         `json:"count"`
	Per   time.Duration `json:"per_ns"`
	Burst int64         `json:"burst"`
	// Left is how many calls would be admitted now, Reserved how many are taken
	// out by reservations.
	Left     int64 `json:"left"`
	Reserved int64 `json:"reserved,omitempty"`
	// Next is how long until one call fits, 0 if it does now.
	Next time.Duration `json:"next_ns"`
	// Full is how long until nothing is in use any more if nobody calls.
	Full time.Duration `json:"full_ns"`
}

// Explain says the same in a sentence.
func (i Info) Explain() string {
	rule := ""
	if i.Rule != "" {
		rule = "rule " + i.Rule + ": "
	}
	var s string
	switch {
	case i.Burst == 0:
		return rule + "full"
	case i.Next > 0:
		s = fmt.Sprintf("refused: %s, next call fits in %s", i.rate(), rounded(i.Next))
	default:
		s = fmt.Sprintf("%d of %d calls left", i.Left, i.Burst)
		if i.Full > 0 {
			s += ", full again in " + rounded(i.Full)
		}
		s += "; " + i.rate()
	}
	if i.Reserved > 0 {
		s += fmt.Sprintf("; %d reserved", i.Reserved)
	}
	return rule + s
}

func (i Info) rate() string {
	s := fmt.Sprintf("%d each %v", i.Count, i.Per)
	if i.Algorithm != GCRA {
		s += " by " + string(i.Algorithm)
	}
	return s
}

// rounded is a duration with two or three digits.
func rounded(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f ms", max(float64(d)/float64(time.Millisecond), 1))
}

// order is that in which Inspect asks.
var order = []Algorithm{GCRA, TokenBucket, FixedWindow, SlidingWindow}

// Inspect returns how a key of a Limiter stands, by the rule of the last call.
// It changes nothing. If nothing is in use by any algorithm, that is an Info
// with a Burst of 0; if by several, it is the first of them in the order of
// their constants. Of the options only Namespace counts.
func Inspect(ctx context.Context, d command.Doer, key string, opts ...Option) (Info, error) {
	o := build(opts)
	if o.err != nil {
		return Info{}, o.err
	}
	return inspect(ctx, d, keys.Prefix(o.namespace, "limiter", key), "", key)
}

// Inspect returns how the rules of the group stand, each for its key.
func (g *Group) Inspect(ctx context.Context, keyOf ...string) ([]Info, error) {
	if err := g.e.check(keyOf, 0); err != nil {
		return nil, err
	}
	infos := make([]Info, len(keyOf))
	for i, r := range g.e.rules {
		prefix := keys.Prefix(g.e.o.namespace, "limiter", g.name) + "rule:" + r.name + ":" + keyOf[i] + ":"
		info, err := inspect(ctx, g.e.d, prefix, r.name, keyOf[i])
		if err != nil {
			return nil, err
		}
		infos[i] = info
	}
	return infos, nil
}

func inspect(ctx context.Context, d command.Doer, prefix, rule, key string) (Info, error) {
	var states []string
	var args []command.Arg
	for _, a := range order {
		state := prefix + ways[a].part
		states = append(states, state, state+":reserved")
		args = append(args, command.Str(ways[a].script))
	}
	i, err := command.RunScript(ctx, d, inspectScript, asInfo, states, args...)
	if err != nil {
		return Info{}, fmt.Errorf("limiter: %s: %w", key, err)
	}
	i.Rule, i.Key = rule, key
	return i, nil
}

func asInfo(v resp3.View) (Info, error) {
	var i Info
	f := script.Read(v)
	if !f.More() {
		return i, f.Err()
	}
	f = script.Read(f.Next())
	name := f.Text()
	for _, a := range order {
		if ways[a].script == name {
			i.Algorithm = a
		}
	}
	micros := func() time.Duration { return time.Duration(f.Int()) * time.Microsecond }
	i.Count, i.Per, i.Burst = f.Int(), micros(), f.Int()
	i.Left, i.Reserved, i.Next, i.Full = f.Int(), f.Int(), micros(), micros()
	if i.Algorithm == "" {
		f.Refuse(name)
	}
	return i, f.Err()
}
