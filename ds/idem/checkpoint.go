package idem

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/wait"
)

// maxSteps and maxName bound what a run may save, beside MaxResult.
const (
	maxSteps = 100
	maxName  = 256
)

// Checkpoint runs one step of the fn of a Run, whose context ctx is, and saves
// what it came to. A later run of the key gets that instead of running the step:
// after a crash where it has ResumeOnCrash, and after an error, since a key
// whose run failed keeps its checkpoints until it has an outcome.
//
// The name stands for the step in all runs of the key, in all versions of the
// program; it has at most 256 bytes. A run has at most 100 checkpoints, which
// save MaxResult bytes together at most. Several goroutines may have steps at
// once, of different names.
//
// When step returns an error, nothing is saved and the error is returned as it
// is. What is saved is fenced: of a run that is not the key's any more it is
// refused, with ErrFenced.
//
// A step that was done and could not be saved is returned with its value and
// ErrUnsettled (the server did not answer; it is told once more when the run
// ends) or ErrResultTooLarge. If the run then ends without an outcome the key
// counts as begun and never ended: nobody runs the step twice unaware.
//
// A runner that dies between the end of a step and the server's note of it
// leaves a step that is run again: that moment is what a checkpoint cannot cover.
// Pass the step an idempotency key of its own where it has a use for one.
func Checkpoint[T any](ctx context.Context, name string, step func(ctx context.Context) (T, error)) (T, error) {
	var zero T
	r := runOf(ctx)
	if r == nil {
		return zero, fmt.Errorf("idem: checkpoint %s: %w", name, errNoRun)
	}
	if ctx.Err() != nil {
		return zero, wait.Ended(ctx)
	}
	saved, known, err := r.enter(name)
	if err != nil {
		return zero, fmt.Errorf("idem: %s: checkpoint %s: %w", r.key, name, err)
	}
	if known {
		var v T
		if err := r.codec.Decode(saved, &v); err != nil {
			return zero, fmt.Errorf("idem: %s: checkpoint %s: what was saved is no %T: %w", r.key, name, zero, err)
		}
		return v, nil
	}
	defer r.steps.leave(name)
	v, err := step(context.WithValue(ctx, inStep{}, true))
	if err != nil {
		return zero, err
	}
	return save(ctx, r, name, v)
}

var (
	errNoRun = errors.New("the context is not that of a run")
	errOver  = errors.New("the run has ended")
)

// inStep marks the context of a step.
type inStep struct{}

// save tells the server what a step came to.
func save[T any](ctx context.Context, r *run, name string, v T) (T, error) {
	var same T
	payload, err := r.codec.Encode(v)
	if err == nil {
		err = r.codec.Decode(payload, &same)
	}
	if err != nil {
		r.steps.lose()
		return v, &Error{Key: r.key, State: string(unstored), Token: r.token, Err: fmt.Errorf("checkpoint %s: %w", name, err)}
	}
	if size, ok := r.steps.add(name, payload, r.maxResult); !ok {
		r.steps.lose()
		return v, &Error{Key: r.key, State: string(unstored), Token: r.token, Size: size, Limit: r.maxResult, Err: errors.New("checkpoint " + name)}
	}
	err = insist(ctx, func(ctx context.Context) error {
		a, err := command.RunScript(ctx, r.d, lua.checkpoint, decodeVerdict, r.record,
			command.Int(r.token), command.Str(name), command.Bytes(payload))
		if err == nil && !a.ok {
			return r.fenced(string(a.state), nil)
		}
		return err
	})
	switch {
	case err == nil:
		r.steps.confirm(name)
		return same, nil
	case errors.Is(err, ErrFenced):
		var zero T
		return zero, err
	}
	return same, &Error{Key: r.key, State: string(unsettled), Token: r.token, Err: fmt.Errorf("checkpoint %s: %w", name, err)}
}

// enter begins a step, or returns what it has saved.
func (r *run) enter(name string) (saved []byte, known bool, err error) {
	if r.ended() {
		return nil, false, errOver
	}
	if len(name) > maxName {
		return nil, false, fmt.Errorf("a name of %d bytes is over %d", len(name), maxName)
	}
	return r.steps.enter(name)
}

// steps are the checkpoints of a run. The zero steps are none.
type steps struct {
	mu     sync.Mutex
	saved  map[string][]byte
	unsure map[string]bool // of saved: the server has not confirmed it
	doing  map[string]bool
	size   int
	lost   bool // something was done, or may have been, that nobody can tell of
}

// resume takes over what earlier runs have saved.
func (s *steps) resume(saved map[string][]byte) {
	s.saved = maps.Clone(saved)
	for _, b := range saved {
		s.size += len(b)
	}
}

func (s *steps) enter(name string) (saved []byte, known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if saved, known = s.saved[name]; known {
		return saved, true, nil
	}
	switch {
	case s.doing[name]:
		return nil, false, errors.New("the step is being done already")
	case len(s.saved)+len(s.doing) >= maxSteps:
		return nil, false, fmt.Errorf("there are %d checkpoints already", maxSteps)
	}
	if s.doing == nil {
		s.doing = map[string]bool{}
	}
	s.doing[name] = true
	return nil, false, nil
}

func (s *steps) leave(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.doing, name)
}

// add notes what a step came to, before the server knows. It reports false, and
// the size that would be, where there is no room.
func (s *steps) add(name string, payload []byte, limit int) (size int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size = s.size + len(payload); size > limit {
		return size, false
	}
	if s.saved == nil {
		s.saved = map[string][]byte{}
	}
	if s.unsure == nil {
		s.unsure = map[string]bool{}
	}
	s.saved[name], s.unsure[name], s.size = payload, true, size
	return size, true
}

func (s *steps) confirm(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.unsure, name)
}

func (s *steps) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
}

// left returns what abandon has to tell: "1" if a step was done that nobody can
// tell of, and names and payloads of the checkpoints that nobody has confirmed.
func (s *steps) left() (doubt string, unsure []command.Arg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	doubt = "0"
	if s.lost {
		doubt = "1"
	}
	for _, name := range slices.Sorted(maps.Keys(s.unsure)) {
		unsure = append(unsure, command.Str(name), command.Bytes(s.saved[name]))
	}
	return doubt, unsure
}
