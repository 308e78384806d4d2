package inspect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/resp3"

	_ "embed" // the scripts
)

var (
	//go:embed fill.lua
	fillSource string

	fillScript = command.NewScriptRO(fillSource)
)

// QueueInfo counts the jobs of a queue by state; see queue.Stats.
type QueueInfo struct {
	Waiting   int64 `json:"waiting"`
	Running   int64 `json:"running"`
	Delayed   int64 `json:"delayed"`
	Dead      int64 `json:"dead"`
	Lost      int64 `json:"lost"`
	Consumers int64 `json:"consumers"`
}

// Explain says how many jobs there are.
func (i QueueInfo) Explain() string {
	s := fmt.Sprintf("%d waiting, %d running, %d delayed, %d dead", i.Waiting, i.Running, i.Delayed, i.Dead)
	if i.Lost > 0 {
		s += fmt.Sprintf(", %d lost", i.Lost)
	}
	return s + "; " + count(i.Consumers, "consumer")
}

func inspectQueue(ctx context.Context, d command.Doer, o Object) (Info, error) {
	stats, err := queue.New[struct{}](d, string(o.Name), queue.Namespace(string(o.Namespace))).Stats(ctx)
	return QueueInfo(stats), err
}

// LimiterInfo is how a limiter, or a rule of a group, stands for one key.
type LimiterInfo = limiter.Info

func inspectLimiter(ctx context.Context, d command.Doer, o Object) (Info, error) {
	i, err := limiter.Inspect(ctx, d, string(o.Name), limiter.Namespace(string(o.Namespace)))
	if err != nil {
		return nil, err
	}
	return i, soundLimiter(i)
}

// soundLimiter returns an error for what no limiter writes: anybody may have
// written it.
func soundLimiter(i LimiterInfo) error {
	if i.Count == 0 && i.Burst == 0 {
		return nil // there is nothing
	}
	const most = 1 << 52 // of what a limiter writes
	per := i.Per.Microseconds()
	if i.Count < 1 || per < 1 || i.Burst < 1 || i.Count > most || per > most || i.Burst > most/per || i.Left < 0 || i.Left > i.Burst {
		return unsound("the state of a limiter")
	}
	return nil
}

// unsound is the error of an answer that is of the right form, and makes no
// sense.
func unsound(want string) error {
	return &command.Error{
		Command: "EVALSHA", Node: "the server", Phase: "reply", Outcome: command.Done,
		Err: &resp3.TypeError{Want: want, Got: resp3.Array},
	}
}

func inspectRule(ctx context.Context, d command.Doer, o Object) (Info, error) {
	group, rule, _ := strings.Cut(string(o.Name), ruleMark)
	if len(o.Keys) > 0 { // also of a group whose name has the mark in it
		if n, ok := keys.Parse(string(o.Keys[0].Name)); ok {
			group, rule = n.Name, strings.TrimPrefix(string(o.Name), n.Name+ruleMark)
		}
	}
	name, key, _ := strings.Cut(rule, ":")
	// The rate counts for nothing: the server has that of the last call.
	infos, err := limiter.NewGroup(d, group, []limiter.Rule{{Name: name, Rate: "1/s"}}, limiter.Namespace(string(o.Namespace))).Inspect(ctx, key)
	if err != nil {
		return nil, err
	}
	return infos[0], soundLimiter(infos[0])
}

// IdemInfo is what the record of an operation says.
type IdemInfo = idem.Info

func inspectIdem(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return idem.Inspect(ctx, d, string(o.Name), idem.Namespace(string(o.Namespace)))
}

// FillInfo is who computes a value, and for how long the one that is there stays.
type FillInfo struct {
	// Filling reports whether somebody computes the value.
	Filling bool          `json:"filling"`
	Owner   string        `json:"owner,omitempty"`
	Since   time.Time     `json:"since,omitzero"`
	Left    time.Duration `json:"left_ns,omitempty"` // until the fill lapses, unless renewed
	// Bytes is the length of the value, if Stored.
	Stored  bool          `json:"stored"`
	Bytes   int64         `json:"bytes,omitempty"`
	Expires time.Duration `json:"expires_ns,omitempty"` // of the value; negative: never
}

// Explain says who computes it, or how long it stays.
func (i FillInfo) Explain() string {
	var s []string
	if i.Filling {
		s = append(s, fmt.Sprintf("computed by %s since %s, which lapses in %s unless renewed", i.Owner, moment(i.Since), rounded(i.Left)))
	}
	switch {
	case i.Stored && i.Expires < 0:
		s = append(s, "a value of "+count(i.Bytes, "byte")+" is stored for good")
	case i.Stored:
		s = append(s, "a value of "+count(i.Bytes, "byte")+" is stored for "+rounded(i.Expires))
	case !i.Filling:
		return "no value, and nobody computes it"
	}
	return strings.Join(s, "; ")
}

func inspectCoalesce(ctx context.Context, d command.Doer, o Object) (Info, error) {
	p := o.prefix("coalesce")
	return command.RunScript(ctx, d, fillScript, asFill, []string{p + "fill", p + "value"})
}

func asFill(v resp3.View) (Info, error) {
	var i FillInfo
	if v.Kind() != resp3.Array || v.Len() != 5 {
		return i, &resp3.TypeError{Want: "an array of five", Got: v.Kind()}
	}
	c := v.Cursor()
	var n [4]int64
	owner, _ := c.Next()
	for j := range n {
		e, _ := c.Next()
		var err error
		if n[j], err = e.Int(); err != nil {
			return i, err
		}
	}
	if n[1] != -2 {
		i.Filling, i.Owner, i.Since, i.Left = true, owner.Text(), time.UnixMicro(n[0]), time.Duration(n[1])*time.Millisecond
	}
	if n[3] != -2 {
		i.Stored, i.Bytes, i.Expires = true, n[2], time.Duration(n[3])*time.Millisecond
	}
	return i, nil
}

// count returns "1 byte", "2 bytes".
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// moment returns a time as all messages of the primitives give it, to seconds.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// rounded returns a duration to what people care for.
func rounded(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
