package limitlab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/cmd/redisx/internal/backend"
	"github.com/redisx/redisx/ds/limiter"
)

// ruleOf returns the rule that is meant.
func ruleOf(text string, burst int) (limiter.Rate, error) {
	rate, err := limiter.ParseRate(text)
	if err != nil {
		return rate, err
	}
	switch {
	case burst < 0:
		return rate, fmt.Errorf("limit lab: a burst of %d is not at least 1", burst)
	case burst > 0:
		rate.Burst = burst
	}
	if rate.Burst == 0 {
		rate.Burst = rate.Count
	}
	return rate, nil
}

// rateText returns the rate without its burst, as it was written.
func rateText(text string) string {
	rate, _, _ := strings.Cut(text, " burst ")
	return strings.TrimSpace(rate)
}

// trial is one algorithm, on a server of its own.
type trial struct {
	algorithm algorithm
	rate      limiter.Rate // by which it decides
	note      string       // why that is not the rule that was asked for
	line      string       // what to paste
	tally     tally

	server *backend.Virtual
	client *redisx.Client
	limit  *limiter.Limiter
}

// newTrial starts a server. Where the algorithm knows no such burst it decides by
// the rate alone.
func newTrial(ctx context.Context, a algorithm, text string, rate limiter.Rate) (*trial, error) {
	server, err := backend.OpenVirtual(synthetic)
	if err != nil {
		return nil, err
	}
	t := &trial{algorithm: a, server: server}
	t.client, err = redisx.Connect(ctx, server.URL)
	if err != nil {
		server.Close()
		return nil, err
	}
	burst := rate.Burst
	if burst == rate.Count {
		burst = 0
	}
	t.choose(text, burst)
	_, err = t.limit.Peek(ctx, "lab")
	var wrong *limiter.RateError
	if errors.As(err, &wrong) && burst > 0 {
		t.note = wrong.Reason
		t.choose(text, 0)
		_, err = t.limit.Peek(ctx, "lab")
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("limit lab: %s: %w", a.is, err)
	}
	t.rate = t.limit.Rate()
	t.tally = tally{rate: t.rate, algorithm: a.is}
	return t, nil
}

// choose makes the limiter and the line that makes it.
func (t *trial) choose(text string, burst int) {
	opts := []limiter.Option{limiter.Using(t.algorithm.is)}
	line := fmt.Sprintf("limiter.New(client, %q", text)
	if burst > 0 {
		opts = append(opts, limiter.Burst(burst))
		line += fmt.Sprintf(", limiter.Burst(%d)", burst)
	}
	if t.algorithm.is != limiter.GCRA {
		line += ", limiter.Using(" + t.algorithm.text + ")"
	}
	t.limit, t.line = limiter.New(t.client, text, opts...), line+")"
}

// play decides what comes in, each at its time.
func (t *trial) play(ctx context.Context, in <-chan []arrival) error {
	for chunk := range in {
		for _, a := range chunk {
			t.server.SetTime(time.UnixMicro(a.at))
			d, err := t.limit.AllowN(ctx, "lab", a.cost)
			switch {
			case errors.Is(err, limiter.ErrNeverFits):
				t.tally.neverFits++
				t.tally.deny(a, 0)
			case err != nil:
				return fmt.Errorf("limit lab: %s: %w", t.algorithm.is, err)
			case d.At.UnixMicro() != a.at:
				return fmt.Errorf("limit lab: %s: the embedded server decided at %v what arrived at %v", t.algorithm.is, d.At, time.UnixMicro(a.at))
			case d.Allowed:
				t.tally.admit(a)
			default:
				t.tally.deny(a, d.RetryAfter)
			}
		}
	}
	return nil
}

func (t *trial) close() {
	t.client.Close()
	t.server.Close()
}
