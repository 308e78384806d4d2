package idem

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

// maxEffects bounds the commands of one run.
const maxEffects = 1000

// Effect has the server run commands in the very step that stores the result of
// the Run whose context ctx is: when its fn has returned nil, one script checks
// that the run is still the key's, runs them in order, and stores the result. So
// an effect that is in the server, and the record of it, exist together or not
// at all, whoever dies when. It adds to the effects of earlier calls.
//
// If fn returns an error, also a Final one, or panics, no command is run. If the
// first command fails, or the server refuses all (no memory, another slot),
// nothing has happened, the key is free and Run returns the error. If a later
// one fails, those before it have been run and are not taken back: the key has
// failed for good, and everybody gets ErrFailed that says how many.
//
// The commands' replies are dropped. They must say where their keys are, must not
// block and must not be of the kinds that servers refuse in scripts; each has at
// most 4000 words, a run has at most 1000. In a cluster all keys must be in the
// slot of the record: give them its hash tag, "{redisx:idem:KEY}" for a key
// without %, {, } and control bytes, in the default namespace.
//
// It is refused in a step of a Checkpoint, which a resumed run leaves out.
func Effect(ctx context.Context, commands ...command.Sendable) error {
	r := runOf(ctx)
	if r == nil {
		return fmt.Errorf("idem: effect: %w", errNoRun)
	}
	if ctx.Value(inStep{}) != nil {
		return fmt.Errorf("idem: %s: an effect in a checkpoint, which a resumed run leaves out", r.key)
	}
	cmds := make([]command.Request, len(commands))
	for i, c := range commands {
		cmds[i] = c.Request()
		if err := script.Check(&cmds[i]); err != nil {
			return fmt.Errorf("idem: %s: effect %d: %w", r.key, i, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
		return fmt.Errorf("idem: %s: effect: %w", r.key, errOver)
	case len(r.effects)+len(cmds) > maxEffects:
		return fmt.Errorf("idem: %s: more than %d effects", r.key, maxEffects)
	}
	r.effects = append(r.effects, cmds...)
	return nil
}

// errRefused is part of the error of effects of which none took place.
var errRefused = errors.New("no effect took place")

// commit returns the step that runs the effects and stores an outcome.
func (r *run) commit(s state, payload []byte, effects []command.Request) func(ctx context.Context) error {
	keys := r.record[:1:1]
	args := []command.Arg{command.Int(r.token), command.Str(string(s)), command.Bytes(payload), command.Int(r.retention.Milliseconds())}
	for i := range effects {
		for k := range effects[i].Keys() {
			keys = append(keys, k)
		}
		args = script.AppendWords(args, &effects[i])
	}
	return func(ctx context.Context) error {
		a, err := command.RunScript(ctx, r.d, lua.commit, decodeVerdict, keys, args...)
		var said resp3.ServerError
		switch {
		case err != nil && errors.As(err, &said) && answered(err):
			return r.refuse(ctx, err)
		case err != nil || a.ok:
			return err
		case a.failure == "":
			return r.fenced(string(a.state), nil)
		case a.before == 0:
			return r.refuse(ctx, fmt.Errorf("effect 0 (%s): %w", effects[0].Name(), resp3.ServerError(a.failure)))
		}
		return &Error{
			Key: r.key, State: string(final), Token: r.token, Err: resp3.ServerError(a.failure),
			Reason: fmt.Sprintf("only the first %d of its effects took place: %s", a.before, a.failure),
		}
	}
}

// refuse frees the key of a run of whose effects none took place.
func (r *run) refuse(ctx context.Context, why error) error {
	if err := r.abandon(ctx); err != nil {
		return err
	}
	return fmt.Errorf("idem: %s: %w: %w", r.key, errRefused, why)
}
