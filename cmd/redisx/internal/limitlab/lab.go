package limitlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/redisx/redisx/ds/limiter"
)

const (
	maxArrivals = 1_000_000
	maxSpan     = 4096 * 24 * time.Hour // of a histogram's buckets, a day each
	chunkSize   = 256                   // arrivals on their way to a trial at once, twice
)

// ErrBound reports that more was admitted than the limiter's manual allows.
var ErrBound = errors.New("limit lab: an algorithm admitted more than its bound")

// Options says what to replay, by what rule.
type Options struct {
	Rate       string
	Burst      int      // 0: as the rate says
	Algorithms []string // as Algorithms has them; empty means all
	Cost       int      // of an arrival that has none of its own

	Traffic string        // made up, as in traffic.go; "" means at random, twice the rate
	For     time.Duration // how long; 0 means five periods of the rate, 1 ms at least
	Seed    uint64        // of what is random in it

	File string    // recorded: one arrival a line; "-" is In
	In   io.Reader // for File

	JSON     bool
	Color    bool
	Out      io.Writer
	Progress func(arrivals int) // called as they are replayed; may be nil
}

// algorithm is one by its name on the command line.
type algorithm struct {
	name string
	is   limiter.Algorithm
	text string // in Go
}

var algorithms = []algorithm{
	{"gcra", limiter.GCRA, "limiter.GCRA"},
	{"token", limiter.TokenBucket, "limiter.TokenBucket"},
	{"fixed", limiter.FixedWindow, "limiter.FixedWindow"},
	{"sliding", limiter.SlidingWindow, "limiter.SlidingWindow"},
}

// Algorithms returns the names of what can be compared.
func Algorithms() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.name
	}
	return names
}

// chosen returns the algorithms of that name, in the order of Algorithms.
func chosen(names []string) ([]algorithm, error) {
	if len(names) == 0 {
		return algorithms, nil
	}
	want := map[string]bool{}
	for _, name := range names {
		want[name] = true
	}
	var some []algorithm
	for _, a := range algorithms {
		if want[a.name] {
			some = append(some, a)
		}
		delete(want, a.name)
	}
	for _, name := range names {
		if want[name] {
			return nil, fmt.Errorf("limit lab: there is no algorithm %q: there are %s", name, strings.Join(Algorithms(), ", "))
		}
	}
	return some, nil
}

// arrival is a call that asks to be admitted.
type arrival struct {
	at   int64 // µs since 1970
	cost int
}

// arrivals are in order of time, at most maxArrivals.
type arrivals = iter.Seq2[arrival, error]

// Run replays and writes what came of it. It returns ErrBound if an algorithm
// admitted more than documented.
func Run(ctx context.Context, o Options) error {
	rate, err := ruleOf(o.Rate, o.Burst)
	if err != nil {
		return err
	}
	some, err := chosen(o.Algorithms)
	if err != nil {
		return err
	}
	if o.Cost < 1 {
		return fmt.Errorf("limit lab: a cost of %d is not at least 1", o.Cost)
	}
	r := &Report{Rate: o.Rate, Burst: rate.Burst}
	source, err := o.arrivals(ctx, rate, r)
	if err != nil {
		return err
	}
	var trials []*trial
	defer func() {
		for _, t := range trials {
			t.close()
		}
	}()
	for _, a := range some {
		t, err := newTrial(ctx, a, rateText(o.Rate), rate)
		if err != nil {
			return err
		}
		if o.File == "" {
			t.tally.plot.from = synthetic.UnixMicro()
		}
		trials = append(trials, t)
	}
	last, err := replay(ctx, o.told(source), trials)
	if err != nil {
		return err
	}
	r.fill(trials, last)
	if o.JSON {
		err = r.writeJSON(o.Out)
	} else {
		err = r.writeText(o.Out, o.Color)
	}
	return errors.Join(err, r.err())
}

// arrivals returns what to replay, and notes in the report what it is.
func (o *Options) arrivals(ctx context.Context, rate limiter.Rate, r *Report) (arrivals, error) {
	if o.File != "" {
		in, name := o.In, o.File
		if o.File == "-" {
			name = "standard input"
		}
		r.Source = name
		return recorded(ctx, in, name, o.Cost), nil
	}
	if o.For == 0 {
		o.For = max(5*min(rate.Per, maxSpan/5), time.Millisecond)
	}
	if o.Traffic == "" {
		o.Traffic = fmt.Sprintf("poisson:%d/%s", 2*rate.Count, short(rate.Per))
	}
	if o.For < time.Millisecond || o.For > maxSpan {
		return nil, fmt.Errorf("limit lab: %v is not within 1ms and %v", o.For, maxSpan)
	}
	sources, err := sourcesOf(o.Traffic, o.For)
	if err != nil {
		return nil, err
	}
	r.Source, r.Span = o.Traffic, o.For
	if random(sources) {
		r.Seed = &o.Seed
	}
	return played(sources, o.For, o.Seed, o.Cost), nil
}

// told returns the same arrivals, and reports progress as they are asked for.
func (o *Options) told(source arrivals) arrivals {
	if o.Progress == nil {
		return source
	}
	return func(yield func(arrival, error) bool) {
		n := 0
		for a, err := range source {
			if n++; n%chunkSize == 0 {
				o.Progress(n)
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// replay gives every trial all arrivals, and returns when the last one was.
func replay(ctx context.Context, source arrivals, trials []*trial) (last int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	ways := make([]chan []arrival, len(trials))
	for i, t := range trials {
		ways[i] = make(chan []arrival, 1)
		wg.Go(func() {
			if err := t.play(ctx, ways[i]); err != nil {
				cancel(err)
			}
		})
	}
	err = deal(ctx, source, ways, &last)
	if err != nil {
		cancel(err)
	}
	for _, way := range ways {
		close(way)
	}
	wg.Wait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return last, err
}

// deal sends chunks of the arrivals every way, until they or ctx end.
func deal(ctx context.Context, source arrivals, ways []chan []arrival, last *int64) error {
	chunk := make([]arrival, 0, chunkSize)
	send := func() error {
		for _, way := range ways {
			select {
			case way <- chunk:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		chunk = make([]arrival, 0, chunkSize)
		return nil
	}
	for a, err := range source {
		if err != nil {
			return err
		}
		chunk = append(chunk, a)
		*last = a.at
		if len(chunk) == chunkSize {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}
