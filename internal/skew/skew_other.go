//go:build !linux || !amd64

package skew

import (
	"errors"
	"fmt"
	"time"
)

// Clock is the wall clock of one process.
type Clock struct{}

// Attach always fails here.
func Attach(int) (*Clock, error) {
	return nil, fmt.Errorf("skew: a process's clock cannot be moved on this system: %w", errors.ErrUnsupported)
}

// Set is never called here.
func (c *Clock) Set(time.Duration) error { return errors.ErrUnsupported }
