package idem

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

// Info is what the server says about a key.
type Info struct {
	// State is "none" (no record), "running", "open" (ended without an outcome;
	// the next caller runs, and has the checkpoints), "done", "final" (failed
	// for good), "unstored" (ran, result not stored) or "lost" (begun, never
	// ended).
	State string `json:"state"`
	// Token is the fencing token of the last run; tokens of a key only rise.
	Token int64 `json:"token"`
	// Runner names the process and call that ran or runs it.
	Runner string `json:"runner"`
	// Since is when the last run began, by the server's clock.
	Since time.Time `json:"since"`
	// Lease is how long a running runner may still be silent.
	Lease time.Duration `json:"lease_ns"`
	// Settled is when the run ended, by the server's clock; zero while it runs.
	// Of a lost one it is when the first caller was told, zero before.
	Settled time.Time `json:"settled,omitzero"`
	// Runs counts the runs that began while the record lasts: above 1 after
	// crashes that were run again, or errors after a checkpoint.
	Runs int64 `json:"runs"`
	// Size is that of the encoded result, in bytes.
	Size int64 `json:"size"`
	// Expires is how long until the record is forgotten.
	Expires time.Duration `json:"expires_ns"`
	// Crashes counts the runs that never reported an end.
	Crashes int64 `json:"crashes,omitempty"`
	// Checkpoints are the names of those that were reached, in no order. With
	// an outcome there are none any more.
	Checkpoints []string `json:"checkpoints,omitempty"`
}

func decodeInfo(v resp3.View) (Info, error) {
	f := script.Read(v)
	i := Info{
		State: f.Text(), Token: f.Int(), Runner: f.Text(), Since: f.Micros(), Lease: f.Millis(),
		Settled: f.Micros(), Runs: f.Int(), Size: f.Int(), Expires: f.Millis(), Crashes: f.Int(),
	}
	for f.More() {
		i.Checkpoints = append(i.Checkpoints, f.Text())
	}
	return i, f.Err()
}

// Explain says what became of the operation, in a sentence.
func (i Info) Explain() string {
	var s string
	switch state(i.State) {
	case "none":
		return "nothing is known of it"
	case running:
		s = fmt.Sprintf("run by %s since %s, whose lease lapses in %s unless renewed", i.Runner, moment(i.Since), rounded(i.Lease))
	case lost:
		s = fmt.Sprintf("begun by %s at %s and never ended: what it did is not known", i.Runner, moment(i.Since))
	case open:
		s = fmt.Sprintf("tried by %s at %s without an outcome: the next caller runs it, forgotten in %s", i.Runner, moment(i.Since), rounded(i.Expires))
	default:
		what := map[state]string{final: "failed for good", unstored: "done, but its result was not stored,"}[state(i.State)]
		if what == "" {
			what = i.State
		}
		plural := "s"
		if i.Size == 1 {
			plural = ""
		}
		s = fmt.Sprintf("%s by %s at %s, result of %d byte%s, forgotten in %s", what, i.Runner, moment(i.Settled), i.Size, plural, rounded(i.Expires))
	}
	if len(i.Checkpoints) > 0 {
		s += ", has reached " + strings.Join(i.Checkpoints, ", ")
	}
	if i.Runs > 1 {
		s += fmt.Sprintf(", run %d", i.Runs)
	}
	if i.Crashes > 0 && state(i.State) != lost {
		s += fmt.Sprintf(", of which %d never reported an end", i.Crashes)
	}
	return s
}

// moment writes a time of the server's clock, to the second.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// rounded writes a duration as coarse as people want it.
func rounded(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Inspect tells what the server says about a key and changes nothing. Of the
// options only Namespace matters.
func Inspect(ctx context.Context, d command.Doer, key string, opts ...Option) (Info, error) {
	cfg, err := configure(opts)
	if err != nil {
		return Info{}, err
	}
	i, err := command.RunScript(ctx, d, lua.inspect, decodeInfo, recordKey(cfg.namespace, key))
	if err != nil {
		return Info{}, fmt.Errorf("idem: %s: %w", key, err)
	}
	return i, nil
}

// Forget deletes what is known of a key, so that the next caller runs: after an
// ErrIndeterminate that was looked into, or to allow an operation again. It
// deletes nothing while a runner holds the key, and returns ErrInProgress then.
// That there was nothing is no error. Of the options only Namespace matters.
func Forget(ctx context.Context, d command.Doer, key string, opts ...Option) error {
	cfg, err := configure(opts)
	if err != nil {
		return err
	}
	r, err := command.RunScript(ctx, d, lua.forget, decodeReply, recordKey(cfg.namespace, key))
	if err != nil {
		return fmt.Errorf("idem: %s: %w", key, err)
	}
	if r.state == running {
		return r.inProgress(key, nil)
	}
	return nil
}
