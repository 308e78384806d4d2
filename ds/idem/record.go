package idem

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

var (
	//go:embed begin.lua
	beginSource string
	//go:embed renew.lua
	renewSource string
	//go:embed finish.lua
	finishSource string
	//go:embed abandon.lua
	abandonSource string
	//go:embed forget.lua
	forgetSource string
	//go:embed inspect.lua
	inspectSource string

	beginScript   = command.NewScript(beginSource)
	renewScript   = command.NewScript(renewSource)
	finishScript  = command.NewScript(finishSource)
	abandonScript = command.NewScript(abandonSource)
	forgetScript  = command.NewScript(forgetSource)
	inspectScript = command.NewScript(inspectSource)
)

// recordKey returns the one key of an operation on the server.
func recordKey(namespace, key string) []string {
	return []string{keys.Prefix(namespace, "idem", key) + "record"}
}

// state is what begin and forget answer; see the drawing in doc.go.
type state string

const (
	claimed  state = "claimed" // the caller is the runner now
	running  state = "running"
	done     state = "done"
	final    state = "final"
	unstored state = "unstored"
	lost     state = "lost"
	mismatch state = "mismatch"
)

// reply is what begin and forget answer.
type reply struct {
	state   state
	token   int64
	runner  string
	since   time.Time
	left    time.Duration // of the runner's lease
	payload string
	sent    time.Time // when the request left, on the local clock
}

func decodeReply(v resp3.View) (reply, error) {
	f := script.Read(v)
	r := reply{state: state(f.Text()), token: f.Int(), runner: f.Text(), since: f.Micros(), left: f.Millis(), payload: f.Text()}
	return r, f.Err()
}

// verdict is what renew, finish and abandon answer: "" for yes, or the state
// that the record is in.
func decodeVerdict(v resp3.View) (state, error) {
	if v.Len() == 1 {
		return "", readOK(v)
	}
	f := script.Read(v)
	f.Int()
	s := state(f.Text())
	return s, f.Err()
}

func readOK(v resp3.View) error {
	f := script.Read(v)
	f.Int()
	return f.Err()
}

// Info is what the server says about a key.
type Info struct {
	// State is "none" (no record), "running", "done", "final" (failed for
	// good), "unstored" (ran, result not stored) or "lost" (begun, never ended).
	State string
	// Token is the fencing token of the last run; tokens of a key only rise.
	Token int64
	// Runner names the process and call that ran or runs it.
	Runner string
	// Since is when the last run began, by the server's clock.
	Since time.Time
	// Lease is how long a running runner may still be silent.
	Lease time.Duration
	// Settled is when the run ended, by the server's clock; zero while it runs.
	// Of a lost one it is when the first caller was told, zero before.
	Settled time.Time
	// Runs counts the runs that began while the record lasts: above 1 only
	// with OnCrash(Rerun).
	Runs int64
	// Size is that of the encoded result, in bytes.
	Size int64
	// Expires is how long until the record is forgotten.
	Expires time.Duration
}

func decodeInfo(v resp3.View) (Info, error) {
	f := script.Read(v)
	i := Info{
		State: f.Text(), Token: f.Int(), Runner: f.Text(), Since: f.Micros(), Lease: f.Millis(),
		Settled: f.Micros(), Runs: f.Int(), Size: f.Int(), Expires: f.Millis(),
	}
	return i, f.Err()
}

// Inspect tells what the server says about a key and changes nothing. Of the
// options only Namespace matters.
func Inspect(ctx context.Context, d command.Doer, key string, opts ...Option) (Info, error) {
	cfg, err := configure(opts)
	if err != nil {
		return Info{}, err
	}
	i, err := command.RunScript(ctx, d, inspectScript, decodeInfo, recordKey(cfg.namespace, key))
	if err != nil {
		return Info{}, fmt.Errorf("idem: %s: %w", key, err)
	}
	return i, nil
}

// Forget deletes what is known of a key, so that the next caller runs: after an
// ErrIndeterminate that was looked into, or to allow an operation again. It
// deletes nothing while a runner holds the key, and returns *InProgressError
// then. That there was nothing is no error. Of the options only Namespace
// matters.
func Forget(ctx context.Context, d command.Doer, key string, opts ...Option) error {
	cfg, err := configure(opts)
	if err != nil {
		return err
	}
	r, err := command.RunScript(ctx, d, forgetScript, decodeReply, recordKey(cfg.namespace, key))
	if err != nil {
		return fmt.Errorf("idem: %s: %w", key, err)
	}
	if r.state == running {
		return &InProgressError{Key: key, Runner: r.runner, Since: r.since, Lease: r.left}
	}
	return nil
}
