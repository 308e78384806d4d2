package wait

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// Ended returns why a caller's ctx ended: its error, and its cause if that is
// another; nil while it lasts. Of contexts of our own the cause alone counts: that
// they were cancelled is nobody's business.
func Ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// Because returns err with why a caller's ctx ended in it, if that is why err
// came; with a nil err it is Ended.
func Because(ctx context.Context, err error) error {
	why, cause := ctx.Err(), context.Cause(ctx)
	switch {
	case why == nil:
		return err
	case err == nil:
		return Ended(ctx)
	case !errors.Is(err, cause):
		return fmt.Errorf("%w (%w)", Ended(ctx), err)
	case !errors.Is(err, why):
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
}

// passing are the words with which a server says that it cannot answer now.
var passing = map[string]bool{
	"LOADING": true, "BUSY": true, "OOM": true, "MISCONF": true, "NOREPLICAS": true, "MASTERDOWN": true,
	"READONLY": true, "CLUSTERDOWN": true, "TRYAGAIN": true, "MOVED": true, "ASK": true,
}

// Final reports whether err says that asking again brings nothing else: it is
// the server's word about the request or the user, or an answer that is none.
// What a server says while it is being dialed is not: it may be full, or about to
// learn of a password.
func Final(err error) bool {
	var e *command.Error
	if errors.As(err, &e) {
		switch e.Phase {
		case "build", "decode":
			return true
		case "reply":
		default:
			return false
		}
	}
	var said resp3.ServerError
	if errors.As(err, &said) {
		return !passing[said.Code()]
	}
	var shape *resp3.TypeError
	return errors.As(err, &shape)
}
