package smart

import (
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/wait"
)

// Stats are figures of the waits of one client.
type Stats struct {
	Waiters int // conditions that are waited for
	Keys    int // what is read for them: each key once for each kind of condition
	Push    int // of Keys, those whose changes the server pushes
	Events  int // of Keys, those whose changes the server publishes
	Poll    int // of Keys, those that are asked for every 10 to 250 ms
	Bytes   int // what the keys and their values take, about

	// Since the client's first wait:
	Reads    int64 // answered, without the questions for a key's end
	Changes  int64 // reads that showed something new
	Failures int64 // reads that got no answer, or one that passes
	Refused  int64 // waits that met a bound
}

// StatsOf returns the figures of the waits on d; none where d cannot own what
// waits share. It may be called at any time.
func StatsOf(d command.Doer) Stats {
	if _, ok := d.(command.Attacher); !ok {
		return Stats{}
	}
	h, done, err := hubOf(d)
	if err != nil {
		return Stats{}
	}
	defer done()
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{
		Waiters: h.waiting, Keys: len(h.sources), Bytes: h.bytes,
		Reads: h.count.reads.Load(), Changes: h.count.changes.Load(),
		Failures: h.count.failures.Load(), Refused: h.count.refused.Load(),
	}
	for _, source := range h.sources {
		switch source.rung.Load() {
		case wait.Push:
			s.Push++
		case wait.Events:
			s.Events++
		case wait.Poll:
			s.Poll++
		}
	}
	return s
}
