package aside

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/fill"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

// maxTallies bounds the keys that a client counts one by one.
const maxTallies = 8192

// tally counts what callers got. The first is counted on the fastest way.
type tally struct {
	memory, server, stale, absent, misses, computes, failed, refreshes, alone, unstored atomic.Uint64

	spent atomic.Int64
}

// Stats are figures of the calls of one client, or of its calls for one key,
// since it connected.
type Stats struct {
	Memory    uint64        `json:"memory"`    // values from memory
	Server    uint64        `json:"server"`    // values from the server, in one round trip
	Stale     uint64        `json:"stale"`     // values past their ttl, see Stale and StaleIfError
	Absent    uint64        `json:"absent"`    // calls told that there is no value, see Negative
	Misses    uint64        `json:"misses"`    // calls that waited for a compute
	Computes  uint64        `json:"computes"`  // computes begun by this client
	Failed    uint64        `json:"failed"`    // of these, those that returned an error
	Refreshes uint64        `json:"refreshes"` // refreshes in the background, those included that found another process at it
	Alone     uint64        `json:"alone"`     // computes without the server, which did not answer or was full
	Unstored  uint64        `json:"unstored"`  // values that the server did not take
	Spent     time.Duration `json:"spent_ns"`  // all computes together
	Entries   int           `json:"entries"`   // values in memory now; of a client only
	Bytes     int           `json:"bytes"`     // what they are taken to cost; of a client only
}

func (t *tally) stats() Stats {
	if t == nil {
		return Stats{}
	}
	return Stats{
		Memory: t.memory.Load(), Server: t.server.Load(), Stale: t.stale.Load(), Absent: t.absent.Load(), Misses: t.misses.Load(),
		Computes: t.computes.Load(), Failed: t.failed.Load(), Refreshes: t.refreshes.Load(), Alone: t.alone.Load(), Unstored: t.unstored.Load(),
		Spent: time.Duration(t.spent.Load()),
	}
}

// tallyOf returns where the calls for a key are counted, nil when there are too
// many keys.
func (s *shared) tallyOf(key string) *tally {
	s.mu.RLock()
	t, full := s.tallies[key], len(s.tallies) >= maxTallies
	s.mu.RUnlock()
	if t != nil || full {
		return t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t = s.tallies[key]; t == nil && len(s.tallies) < maxTallies {
		t = new(tally)
		s.tallies[key] = t
	}
	return t
}

// StatsOf returns the figures of a client, zero for a Doer that can keep none.
func StatsOf(d command.Doer) Stats {
	s, err := sharedOf(d)
	if s == nil || err != nil {
		return Stats{}
	}
	all := s.total.stats()
	s.memory.mu.RLock()
	defer s.memory.mu.RUnlock()
	all.Entries, all.Bytes = len(s.memory.entries), s.memory.bytes
	return all
}

// Info is how a value stands.
type Info struct {
	Key   string `json:"key"`
	State string `json:"state"` // "none", "value", "foreign" (another program has set it) or "absent" (a compute found nothing)

	Fresh   time.Duration `json:"fresh_ns"`          // for how long it is; below 0: for how long it has not been
	Expires time.Duration `json:"expires_ns"`        // until the key goes; below 0: never
	Age     time.Duration `json:"age_ns,omitempty"`  // since it was stored
	Bytes   int64         `json:"bytes,omitempty"`   // the length of its text
	Took    time.Duration `json:"took_ns,omitempty"` // its compute

	Computes int64         `json:"computes,omitempty"` // by all processes, since it was last invalidated or gone
	Spent    time.Duration `json:"spent_ns,omitempty"` // all of those
	Quiet    time.Duration `json:"quiet_ns,omitempty"` // for which nobody refreshes it, after a compute that failed

	Filler string        `json:"filler,omitempty"` // who computes it now, or ""
	Since  time.Time     `json:"since,omitzero"`   // by the server's clock
	Lapses time.Duration `json:"lapses_ns,omitempty"`

	// Here is what this client counted, up to 8192 keys.
	Here Stats `json:"here"`
}

// Inspect tells how the value of a key stands, in one round trip, but not what
// it is.
func Inspect(ctx context.Context, d command.Doer, key string) (Info, error) {
	s, err := sharedOf(d)
	if err != nil {
		return Info{}, err
	}
	i, err := command.RunScript(ctx, d, inspectScript, decodeInfo, []string{key, fill.Beside(key, "aside"), fill.Key(key)})
	if err != nil {
		return Info{}, fmt.Errorf("aside: inspect %s: %w", key, err)
	}
	i.Key = key
	if s != nil {
		s.mu.RLock()
		i.Here = s.tallies[key].stats()
		s.mu.RUnlock()
	}
	return i, nil
}

func decodeInfo(v resp3.View) (Info, error) {
	var i Info
	f := script.Read(v)
	switch state(f.Int()) {
	case stateNone:
		i.State = "none"
	case stateValue:
		i.State = "value"
	case stateForeign:
		i.State = "foreign"
	case stateAbsent:
		i.State = "absent"
	default:
		return i, errAnswer
	}
	i.Fresh, i.Expires, i.Took, i.Quiet = f.Millis(), f.Millis(), f.Millis(), f.Millis()
	i.Bytes, i.Age, i.Computes, i.Spent = f.Int(), f.Millis(), f.Int(), f.Millis()
	i.Filler, i.Since = f.Text(), f.Micros()
	i.Lapses = max(f.Millis(), 0)
	return i, f.Err()
}

// Explain says how it stands, in a sentence.
func (i Info) Explain() string {
	var s []string
	switch i.State {
	case "value":
		fresh := "fresh for another " + i.Fresh.String()
		if i.Fresh <= 0 {
			fresh = "stale for " + (-i.Fresh).String()
		}
		s = append(s, fmt.Sprintf("a value of %d bytes, %s, computed in %v, %v ago", i.Bytes, fresh, i.Took, i.Age))
	case "foreign":
		s = append(s, fmt.Sprintf("a value of %d bytes that another program has set", i.Bytes))
	case "absent":
		s = append(s, "known to be absent for another "+i.Fresh.String())
	default:
		s = append(s, "no value")
	}
	if i.Quiet > 0 {
		s = append(s, "its last refresh failed, the next is tried in "+i.Quiet.String())
	}
	if i.Filler != "" {
		s = append(s, fmt.Sprintf("computed by %s since %s, which lapses in %v unless renewed", i.Filler, i.Since.UTC().Format(time.TimeOnly), i.Lapses))
	} else if i.State == "none" {
		s = append(s, "and nobody computes it")
	}
	return strings.Join(s, "; ")
}
