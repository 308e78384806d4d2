package demo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
)

const (
	electionName = "cron"
	electionTTL  = time.Second
	takeover     = electionTTL + time.Second
	beats        = 3 // that each leader makes before the scene goes on
)

// playLeader kills a leader and sees who comes next, and how soon.
func playLeader(ctx context.Context, s *stage) ([]Verdict, error) {
	a, err := s.start(ctx, "candidate", "node-A")
	if err != nil {
		return nil, err
	}
	defer a.end()
	first, err := a.expect(ctx, "leading", 5*time.Second)
	if err != nil {
		return nil, err
	}
	b, err := s.start(ctx, "candidate", "node-B")
	if err != nil {
		return nil, err
	}
	defer b.end()
	if err := a.beats(ctx); err != nil {
		return nil, err
	}
	s.say.say("node-A leads with term %d; node-B is a candidate", first.Token)
	a.kill()
	killed := time.Now()
	second, err := b.expect(ctx, "leading", 10*time.Second)
	if err != nil {
		return nil, err
	}
	took := time.Since(killed)
	s.say.say("node-A is killed (kill -9); node-B leads with term %d, %d ms later", second.Token, took.Milliseconds())
	if err := b.beats(ctx); err != nil {
		return nil, err
	}
	return judgeLeader(ctx, s, took)
}

// judgeLeader reads the log that every leader appends "node term" to, under its
// term.
func judgeLeader(ctx context.Context, s *stage, took time.Duration) ([]Verdict, error) {
	entries, err := s.client.LRange(ctx, s.key("leader-log"), 0, -1)
	if err != nil {
		return nil, err
	}
	var last int64
	rising, leaders := true, map[string]bool{}
	for _, entry := range entries {
		node, text, _ := strings.Cut(entry, " ")
		term, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, err
		}
		rising = rising && term >= last
		last = term
		leaders[node] = true
	}
	return []Verdict{
		{"coord", "no old term writes after a newer one", fmt.Sprintf("%d writes of %d leaders", len(entries), len(leaders)), rising && len(leaders) == 2},
		{"coord", "the next leader is there within the TTL and a second", fmt.Sprintf("%d ms, at most %d", took.Milliseconds(), takeover.Milliseconds()), took <= takeover},
	}, nil
}

// beats waits until the leader has written a few times.
func (p *process) beats(ctx context.Context) error {
	for range beats {
		if _, err := p.expect(ctx, "beat", 5*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// lead is the role of a candidate: while it leads it writes to the log.
func (w *Worker) lead(ctx context.Context) error {
	return coord.NewElection(w.client, electionName, coord.TTL(electionTTL), coord.Name(w.Name), coord.Namespace(w.Namespace)).Lead(ctx, func(ctx context.Context, t *coord.Term) error {
		w.say(line{Event: "leading", Token: t.Token()})
		entry := fmt.Sprintf("%s %d", w.Name, t.Token())
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			if _, err := t.Do(ctx, command.RPush(w.stage().key("leader-log"), entry)); err != nil {
				return err
			}
			w.say(line{Event: "beat"})
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}
