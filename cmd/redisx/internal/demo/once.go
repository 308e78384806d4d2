package demo

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redisx/redisx/ds/idem"
	"github.com/redisx/redisx/intent"
)

const (
	processes = 4
	payers    = 5  // callers in each process
	readers   = 25 // callers in each process
)

// playPayment lets four processes make the same payment at once.
func playPayment(ctx context.Context, s *stage) ([]Verdict, error) {
	answers, err := s.crowd(ctx, "payer", payers)
	if err != nil {
		return nil, err
	}
	charges, err := s.number(ctx, s.key("charges"))
	if err != nil {
		return nil, err
	}
	s.say.say("%d callers paid order-7 at once; distinct receipts: %d (%s)", processes*payers, len(answers), one(answers))
	return []Verdict{
		{"idem", "the card is charged once", fmt.Sprintf("%d charge for %d callers", charges, processes*payers), charges == 1},
		{"idem", "every caller has the same receipt", fmt.Sprintf("%d answers, %d distinct", count(answers), len(answers)), len(answers) == 1 && count(answers) == processes*payers},
	}, nil
}

// playCompute lets a hundred callers in four processes ask for a cold value.
func playCompute(ctx context.Context, s *stage) ([]Verdict, error) {
	answers, err := s.crowd(ctx, "reader", readers)
	if err != nil {
		return nil, err
	}
	loads, err := s.number(ctx, s.key("loads"))
	if err != nil {
		return nil, err
	}
	value, err := s.client.Get(ctx, s.key("user:1"))
	if err != nil {
		return nil, err
	}
	s.say.say("%d callers asked for user:1; the value in Redis is %s", processes*readers, value)
	return []Verdict{
		{"compute", "a cold key is computed once", fmt.Sprintf("%d load for %d callers", loads, processes*readers), loads == 1},
		{"compute", "every caller has the value", fmt.Sprintf("%d answers, %d distinct", count(answers), len(answers)), len(answers) == 1 && count(answers) == processes*readers},
	}, nil
}

// crowd runs processes of a role and returns how often each answer came.
func (s *stage) crowd(ctx context.Context, role string, callers int) (map[string]int, error) {
	var ps []*process
	for i := range processes {
		p, err := s.start(ctx, role, fmt.Sprintf("%s-%d", role, i+1))
		if err != nil {
			return nil, err
		}
		defer p.stop()
		ps = append(ps, p)
	}
	for _, p := range ps {
		if _, err := p.expect(ctx, "ready", 5*time.Second); err != nil {
			return nil, err
		}
	}
	for _, p := range ps {
		if err := p.tell("go"); err != nil {
			return nil, err
		}
	}
	answers := map[string]int{}
	for _, p := range ps {
		for range callers {
			l, err := p.expect(ctx, "answer", 10*time.Second)
			if err != nil {
				return nil, err
			}
			answers[l.Value]++
		}
	}
	return answers, nil
}

func one(answers map[string]int) string {
	for a := range answers {
		return a
	}
	return ""
}

func count(answers map[string]int) int {
	n := 0
	for _, times := range answers {
		n += times
	}
	return n
}

// together calls fn n times at once, when told to, and reports every answer.
func (w *Worker) together(ctx context.Context, n int, fn func(ctx context.Context) (string, error)) error {
	w.say(line{Event: "ready"})
	if _, err := w.word(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			answer, err := fn(ctx)
			if err != nil {
				w.say(line{Event: "failed", Err: err.Error()})
				return
			}
			w.say(line{Event: "answer", Value: answer})
		})
	}
	wg.Wait()
	return nil
}

// pay is the role of a payer.
func (w *Worker) pay(ctx context.Context) error {
	s := w.stage()
	return w.together(ctx, payers, func(ctx context.Context) (string, error) {
		return idem.Run(ctx, s.client, "pay:order-7", func(ctx context.Context) (string, error) {
			time.Sleep(100 * time.Millisecond) // the bank's time
			n, err := s.client.Incr(ctx, s.key("charges"))
			return "receipt " + strconv.FormatInt(n, 10) + " by " + w.Name, err
		}, idem.Namespace(w.Namespace))
	})
}

// read is the role of a reader.
func (w *Worker) read(ctx context.Context) error {
	s := w.stage()
	return w.together(ctx, readers, func(ctx context.Context) (string, error) {
		return intent.GetOrCompute(ctx, s.client, s.key("user:1"), time.Minute, func(ctx context.Context) (string, error) {
			time.Sleep(100 * time.Millisecond) // the database's time
			_, err := s.client.Incr(ctx, s.key("loads"))
			return "Ada, loaded by " + w.Name, err
		})
	})
}
