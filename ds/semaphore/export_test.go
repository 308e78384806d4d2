package semaphore

import (
	"context"
	"time"

	"github.com/redisx/redisx/command"
)

// OrderKey returns the name of the key whose members are the waiters.
func OrderKey(name string) string { return namesOf("", name).order }

// ReadersKey returns the name of the key whose members are the permits, by their
// ends.
func ReadersKey(name string) string { return namesOf("", name).readers }

// LeaseKey and LimitKey return the names of the keys of permits and limit.
func LeaseKey(name string) string { return namesOf("", name).lease }
func LimitKey(name string) string { return namesOf("", name).limit }

// Adapt gives reports to the server as permits do, and returns the limit.
func (s *Semaphore) Adapt(ctx context.Context, reports, overloads int, took time.Duration, weight int) (limit int, baseline time.Duration, err error) {
	a, err := s.adapt(ctx, sums{int64(reports), int64(overloads), int64(reports-overloads) * took.Microseconds()}, weight)
	return int(a.limit), a.baseline, err
}

// AdaptScript is adapt.lua.
func AdaptScript() *command.Script { return lua.adapt }
