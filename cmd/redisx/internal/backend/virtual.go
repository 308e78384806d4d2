package backend

import (
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Virtual is an embedded server whose clock stands still until it is set: TIME,
// and with it what scripts decide and when keys expire.
type Virtual struct {
	URL string

	m *miniredis.Miniredis
}

// OpenVirtual starts a server at that time.
func OpenVirtual(at time.Time) (*Virtual, error) {
	m := miniredis.NewMiniRedis()
	m.SetTime(at)
	if err := start(m); err != nil {
		return nil, err
	}
	return &Virtual{URL: "redis://" + m.Addr(), m: m}, nil
}

// SetTime makes it that time on the server.
func (v *Virtual) SetTime(at time.Time) { v.m.SetTime(at) }

// Close ends the server.
func (v *Virtual) Close() error { v.m.Close(); return nil }
