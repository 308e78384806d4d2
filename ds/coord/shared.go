package coord

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/owned"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/ds/lease"
)

// askAgain is the pause before a question whose answer was lost.
const askAgain = 100 * time.Millisecond

// attachment is where a client keeps its parties, members and terms.
type attachment struct{}

// isClosed reports whether the client is closed, so that asking has no end.
func isClosed(d command.Doer) bool {
	s, err := owned.By(d, attachment{})
	return err != nil || s.Closed()
}

// passes reports whether an error may pass by itself.
func passes(err error) bool {
	var unsafe *UnsafeServerError
	return !errors.As(err, &unsafe) && !wait.Final(err) && !errors.Is(err, owned.ErrClosed) && !errors.Is(err, lease.ErrReentrant)
}

// lapse returns when to look once more at what lapses after left: in the
// millisecond after its last, and a few more, so that not all come at once. It
// is 0 where left is negative: then it has no end.
func lapse(left time.Duration) time.Duration {
	if left < 0 {
		return 0
	}
	return left + time.Millisecond + rand.N(5*time.Millisecond)
}

// sleep reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
