package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

// Info is what is known of one object at one moment: lease.Info, semaphore.Info,
// a coord type, QueueInfo, LimiterInfo, IdemInfo, FillInfo, ValueInfo or TagInfo,
// by kind. All are structs with JSON tags.
type Info interface {
	// Explain says it in one line.
	Explain() string
}

// Report is an object with what is known of it.
type Report struct {
	Object
	// Says tells in one line how it stands, for people. It is printable.
	Says string `json:"says"`
	// Info is the same, and more, as a struct; nil with a Problem.
	Info Info `json:"info,omitempty"`
}

// Explain asks the server how an object that Find or Lookup has returned stands.
// It changes nothing there. Of an object with a Problem it says that and asks
// nothing.
func Explain(ctx context.Context, d command.Doer, o Object) (Report, error) {
	if o.Problem != "" {
		return Report{Object: o, Says: o.Problem}, nil
	}
	k := kindOf(o.Kind)
	if k == nil {
		return Report{}, fmt.Errorf("inspect: no kind %v", Text(o.Kind))
	}
	info, err := k.inspect(ctx, d, o)
	if err != nil {
		return Report{}, fmt.Errorf("inspect: %s %v: %w", o.Kind, o.Name, wait.Because(ctx, err))
	}
	return Report{Object: o, Says: visible(info.Explain()), Info: info}, nil
}

// Reports is Find with each object explained, at the same pace. An object about
// which the server's answer is an error, or makes no sense, has that as its
// Problem.
func Reports(ctx context.Context, d command.Doer, opts ...Option) iter.Seq2[Report, error] {
	return func(yield func(Report, error) bool) {
		s, err := newSearch(d, opts)
		if err != nil {
			yield(Report{}, err)
			return
		}
		var broken error
		found := func(o Object) bool {
			r, err := s.explain(ctx, o)
			if err != nil {
				broken = err
				return false
			}
			return yield(r, nil)
		}
		s.run(ctx, found, func(err error) { yield(Report{}, err) })
		if broken != nil {
			yield(Report{}, s.broken(ctx, broken))
		}
	}
}

func (s *search) explain(ctx context.Context, o Object) (Report, error) {
	if err := s.pace.spend(ctx, describing); err != nil {
		return Report{}, err
	}
	r, err := Explain(ctx, s.d, o)
	if err != nil && ctx.Err() == nil && answered(err) {
		o.Problem = visible(err.Error())
		return Report{Object: o, Says: o.Problem}, nil
	}
	return r, err
}

// answered reports whether err is about one object, such as what the server said
// of it, or a name that its primitive does not take: it must not end the search
// for all others.
func answered(err error) bool {
	var e *command.Error
	var refused resp3.ServerError
	return !errors.As(err, &e) || e.Outcome == command.Done || errors.As(err, &refused)
}

// MarshalJSON returns the report with everything escaped that is not printable.
func (r Report) MarshalJSON() ([]byte, error) {
	type report Report
	doc, err := json.Marshal(report(r))
	return escapeJSON(doc), err
}

// UnmarshalJSON reads what MarshalJSON wrote; the Info has the type of the kind.
func (r *Report) UnmarshalJSON(doc []byte) error {
	var parts struct {
		Object
		Says string          `json:"says"`
		Info json.RawMessage `json:"info"`
	}
	if err := json.Unmarshal(doc, &parts); err != nil {
		return err
	}
	*r = Report{Object: parts.Object, Says: parts.Says}
	if k := kindOf(r.Kind); k != nil && len(parts.Info) > 0 {
		var err error
		r.Info, err = k.decode(parts.Info)
		return err
	}
	return nil
}
