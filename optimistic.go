package redisx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redisx/redisx/internal/session"
)

// The pause before WatchTx tries again: random, up to a bound that doubles from
// pauseBase to pauseMax.
const (
	pauseBase = time.Millisecond
	pauseMax  = 100 * time.Millisecond
)

// ConflictError reports that WatchTx gave up: a watched key changed during each
// attempt. Nothing ran. errors.Is finds ErrConflict.
type ConflictError struct {
	Attempts int
	Err      error // of the last attempt; a context's error if that ended the pause before the next one
}

// Error says how often the transaction was tried.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("redisx: transaction tried %d times: %v", e.Attempts, e.Err)
}

// Unwrap returns ErrConflict and the cause.
func (e *ConflictError) Unwrap() []error { return []error{ErrConflict, e.Err} }

// WatchTx runs an optimistic transaction: it watches keys, calls fn, and runs
// what fn queued in tx, all or nothing, if none of the keys has changed
// meanwhile. fn reads through s, which must not be used for anything else. What
// fn queued is run by WatchTx, when fn returns nil.
//
// If a key has changed, nothing ran; WatchTx then tries again, with a short
// random pause, up to attempts times in all, and then returns a
// *ConflictError. That is the only reason for which it calls fn again: any
// other error of fn or of the transaction is returned at once (see Tx.Exec), as
// is that of a transaction of which nobody knows whether it ran. If fn returns
// an error, nothing is run.
//
// Futures of the last attempt stay valid.
func (c *Client) WatchTx(ctx context.Context, keys []string, attempts int, fn func(ctx context.Context, s *Session, tx *Tx) error) error {
	if attempts < 1 {
		return errors.New("redisx: WatchTx needs at least one attempt")
	}
	return c.WithSession(ctx, func(ctx context.Context, s *Session) error {
		for n := 1; ; n++ {
			if err := s.Watch(ctx, keys...); err != nil {
				return err
			}
			tx := s.Tx()
			if err := fn(ctx, s, tx); err != nil {
				return err
			}
			err := tx.Exec(ctx)
			if !errors.Is(err, ErrConflict) {
				return err
			}
			if n == attempts {
				return &ConflictError{Attempts: n, Err: err}
			}
			if err := session.Sleep(ctx, rand.N(min(pauseBase<<min(n, 16), pauseMax))); err != nil {
				return &ConflictError{Attempts: n, Err: err}
			}
		}
	})
}
