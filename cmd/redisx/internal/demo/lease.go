package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
)

const (
	leaseName = "video:42"
	leaseTTL  = time.Second
)

// playLease freezes the holder of a lease until somebody else has it, thaws it,
// and lets it write with the token it still believes in.
func playLease(ctx context.Context, s *stage) ([]Verdict, error) {
	log := s.key("lease-log")
	a, err := s.start(ctx, "holder", "node-A")
	if err != nil {
		return nil, err
	}
	defer a.stop()
	first, err := a.expect(ctx, "acquired", 5*time.Second)
	if err != nil {
		return nil, err
	}
	s.say.say("node-A holds %s with token %d and writes", leaseName, first.Token)
	if err := a.tell("write"); err != nil {
		return nil, err
	}
	if _, err := a.expect(ctx, "written", 5*time.Second); err != nil {
		return nil, err
	}
	if err := a.freeze(); err != nil {
		return nil, err
	}
	defer a.thaw()
	s.say.say("node-A is frozen in the middle of its work (SIGSTOP); its lease has %v to live", leaseTTL)

	b, err := s.start(ctx, "holder", "node-B")
	if err != nil {
		return nil, err
	}
	defer b.stop()
	second, err := b.expect(ctx, "acquired", 10*time.Second)
	if err != nil {
		return nil, err
	}
	s.say.say("node-B waited until it lapsed and holds it with token %d", second.Token)
	if err := b.tell("write"); err != nil {
		return nil, err
	}
	if _, err := b.expect(ctx, "written", 5*time.Second); err != nil {
		return nil, err
	}
	if err := a.thaw(); err != nil {
		return nil, err
	}
	if err := a.tell("write"); err != nil {
		return nil, err
	}
	refused, err := a.expect(ctx, "refused", 5*time.Second)
	if err != nil {
		return nil, err
	}
	s.say.say("node-A wakes up and writes with token %d: %s", first.Token, refused.Err)
	return judgeLease(ctx, s, log)
}

// judgeLease reads the log that every accepted write appended "node token" to.
func judgeLease(ctx context.Context, s *stage, log string) ([]Verdict, error) {
	entries, err := s.client.LRange(ctx, log, 0, -1)
	if err != nil {
		return nil, err
	}
	var last int64
	rising, writes := true, map[string]int{}
	for _, entry := range entries {
		node, text, _ := strings.Cut(entry, " ")
		token, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, err
		}
		rising = rising && token >= last
		last = token
		writes[node]++
	}
	return []Verdict{
		{"lease", "tokens only rise in the order of writes", fmt.Sprintf("%d writes in the log", len(entries)), rising && len(entries) == 2},
		{"lease", "the stale token wrote nothing", fmt.Sprintf("node-A wrote %d, node-B %d", writes["node-A"], writes["node-B"]), writes["node-A"] == 1 && writes["node-B"] == 1},
	}, nil
}

// hold is the role of a holder: it acquires, then makes one fenced write for
// every word.
func (w *Worker) hold(ctx context.Context) error {
	l, err := lease.Acquire(ctx, w.client, leaseName, lease.TTL(leaseTTL), lease.Owner(w.Name), lease.Namespace(w.Namespace))
	if err != nil {
		return err
	}
	defer l.Release(context.WithoutCancel(ctx))
	w.say(line{Event: "acquired", Token: l.Token()})
	entry := fmt.Sprintf("%s %d", w.Name, l.Token())
	for {
		if _, err := w.word(ctx); err != nil {
			return err
		}
		// Not under l.Context(): a program that forgets it must be stopped too.
		_, err := l.Do(ctx, command.RPush(w.stage().key("lease-log"), entry))
		switch {
		case errors.Is(err, lease.ErrFenced):
			w.say(line{Event: "refused", Err: err.Error()})
		case err != nil:
			return err
		default:
			w.say(line{Event: "written"})
		}
	}
}
