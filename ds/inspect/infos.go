package inspect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/resp3"

	_ "embed" // the scripts
)

var (
	//go:embed bucket.lua
	bucketSource string
	//go:embed fill.lua
	fillSource string

	bucketScript = command.NewScriptRO(bucketSource)
	fillScript   = command.NewScriptRO(fillSource)
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

// LimiterInfo is how full the bucket of a limiter is.
type LimiterInfo struct {
	// Count calls are admitted each Per, Burst of them at once: the rule of
	// the last call, in lowest terms ("100/m" is 5 each 3 s).
	Count int64         `json:"count"`
	Per   time.Duration `json:"per_ns"`
	Burst int64         `json:"burst"`
	// Left is how many calls would be admitted now.
	Left int64 `json:"left"`
	// Full is how long until the bucket is full again if nobody calls.
	Full time.Duration `json:"full_ns"`
}

// Explain says how many calls are left.
func (i LimiterInfo) Explain() string {
	if i.Burst == 0 {
		return "full"
	}
	s := fmt.Sprintf("%d of %d calls left", i.Left, i.Burst)
	if i.Full > 0 {
		s += ", full again in " + rounded(i.Full)
	}
	return s + fmt.Sprintf("; %d each %v", i.Count, i.Per)
}

func inspectLimiter(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return command.RunScript(ctx, d, bucketScript, asLimiter, []string{o.prefix("limiter") + "bucket"})
}

// asLimiter computes what ds/limiter/allow.lua would find.
func asLimiter(v resp3.View) (Info, error) {
	var i LimiterInfo
	if v.Kind() == resp3.Array && v.Len() == 0 {
		return i, nil
	}
	parts, err := command.AsStrings(v)
	if err != nil || len(parts) != 2 {
		return i, &resp3.TypeError{Want: "the state of a limiter", Got: v.Kind()}
	}
	var per, last, debt, now int64
	if _, err := fmt.Sscanf(parts[0], "limiter/1 %d %d %d %d %d", &i.Count, &per, &i.Burst, &last, &debt); err != nil {
		return i, fmt.Errorf("the state of a limiter: %w", err)
	}
	if _, err := fmt.Sscan(parts[1], &now); err != nil {
		return i, fmt.Errorf("the time: %w", err)
	}
	const most = 1 << 52 // of what a limiter writes
	if i.Count < 1 || per < 1 || i.Burst < 1 || debt < 0 || i.Count > most || per > most || i.Burst > most/per || debt > most {
		return i, fmt.Errorf("the state of a limiter: %v is none", Text(parts[0]))
	}
	if now > last {
		debt -= min(debt/i.Count+1, now-last) * i.Count
	}
	debt = max(debt, 0)
	i.Per = time.Duration(per) * time.Microsecond
	i.Left = max(i.Burst*per-debt, 0) / per
	i.Full = time.Duration((debt+i.Count-1)/i.Count) * time.Microsecond
	return i, nil
}

// IdemInfo is what the record of an operation says; see idem.Info.
type IdemInfo struct {
	State   string        `json:"state"`
	Token   int64         `json:"token"`
	Runner  string        `json:"runner"`
	Since   time.Time     `json:"since"`
	Lease   time.Duration `json:"lease_ns"`
	Settled time.Time     `json:"settled,omitzero"`
	Runs    int64         `json:"runs"`
	Size    int64         `json:"size"`
	Expires time.Duration `json:"expires_ns"`
}

// Explain says what became of the operation.
func (i IdemInfo) Explain() string {
	what := i.State
	switch i.State {
	case "none":
		return "nothing is known of it"
	case "running":
		return fmt.Sprintf("run by %s since %s, whose lease lapses in %s unless renewed", i.Runner, moment(i.Since), rounded(i.Lease))
	case "lost":
		return fmt.Sprintf("begun by %s at %s and never ended: what it did is not known", i.Runner, moment(i.Since))
	case "final":
		what = "failed for good"
	case "unstored":
		what = "done, but its result was not stored,"
	}
	return fmt.Sprintf("%s by %s at %s, result of %s, forgotten in %s", what, i.Runner, moment(i.Settled), count(i.Size, "byte"), rounded(i.Expires))
}

func inspectIdem(ctx context.Context, d command.Doer, o Object) (Info, error) {
	info, err := idem.Inspect(ctx, d, string(o.Name), idem.Namespace(string(o.Namespace)))
	return IdemInfo(info), err
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

func inspectFill(ctx context.Context, d command.Doer, o Object) (Info, error) {
	fill := fillOf(string(o.Name))
	if len(o.Keys) > 0 {
		fill = string(o.Keys[0].Name) // also of a value whose key has an unusual form
	}
	return command.RunScript(ctx, d, fillScript, asFill, []string{fill, string(o.Name)})
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
