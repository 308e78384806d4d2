package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/cmd/redisx/internal/backend"
	"github.com/redisx/redisx/ds/limiter"
)

// setup returns a stage on the embedded server.
func setup(t *testing.T) *stage {
	t.Helper()
	b, err := backend.Open(t.Context(), "", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	c, err := redisx.Connect(t.Context(), b.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &stage{client: c, url: b.URL, namespace: "test", say: &teller{json: true}}
}

// failing returns the claims that do not hold.
func failing(vs []Verdict, err error) string {
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, v := range vs {
		if !v.Holds {
			out = append(out, v.Claim)
		}
	}
	return strings.Join(out, "; ")
}

// A verdict that cannot fail proves nothing: each is shown a server on which
// its promise was broken.

func TestTheLeaderVerdictsSeeAnOldTermAndASlowTakeover(t *testing.T) {
	s := setup(t)
	ctx := t.Context()
	log := s.key("leader-log")
	s.client.RPush(ctx, log, "node-A 1", "node-A 1", "node-B 2")
	if got := failing(judgeLeader(ctx, s, electionTTL)); got != "" {
		t.Errorf("a good log fails: %s", got)
	}
	s.client.RPush(ctx, log, "node-A 1")
	if got := failing(judgeLeader(ctx, s, 2*takeover)); !strings.Contains(got, "old term") || !strings.Contains(got, "next leader") {
		t.Errorf("after an old term's write and a slow takeover only %q fails", got)
	}
}

func TestTheWaitVerdictsSeeALostWakeAndAHerd(t *testing.T) {
	if got := failing(judgeWait(waiters, 3), nil); got != "" {
		t.Errorf("a good wait fails: %s", got)
	}
	if got := failing(judgeWait(waiters-1, waiters), nil); !strings.Contains(got, "wakes") || !strings.Contains(got, "share") {
		t.Errorf("with a waiter left behind and a read for each only %q fails", got)
	}
}

func TestTheLeaseVerdictsSeeAStaleWrite(t *testing.T) {
	s := setup(t)
	ctx := t.Context()
	log := s.key("lease-log")
	s.client.RPush(ctx, log, "node-A 1", "node-B 2")
	if got := failing(judgeLease(ctx, s, log)); got != "" {
		t.Errorf("a good log fails: %s", got)
	}
	s.client.RPush(ctx, log, "node-A 1")
	if got := failing(judgeLease(ctx, s, log)); !strings.Contains(got, "stale") || !strings.Contains(got, "rise") {
		t.Errorf("after a stale write only %q fails", got)
	}
}

func TestTheQueueVerdictsSeeLostAndDoubledJobs(t *testing.T) {
	s := setup(t)
	ctx := t.Context()
	q := s.queue()
	for n := 1; n <= mails; n++ {
		if n != poison {
			s.client.HSet(ctx, s.key("sent"), redisx.KV(strconv.Itoa(n), "1"))
		}
	}
	s.client.Incr(ctx, s.key("bounced"))
	// Nothing is dead yet, and everything else is as it should be.
	if got := failing(judgeQueue(ctx, s, q)); got != "the poison job is a dead letter" {
		t.Errorf("failing: %q, want only the missing dead letter", got)
	}
	s.client.HDel(ctx, s.key("sent"), "3")
	if got := failing(judgeQueue(ctx, s, q)); !strings.Contains(got, "no job is lost") {
		t.Errorf("with a lost mail %q fails", got)
	}
	s.client.HIncrBy(ctx, s.key("sent"), "4", 5)
	if got := failing(judgeQueue(ctx, s, q)); !strings.Contains(got, "run twice") {
		t.Errorf("with mails sent six times %q fails", got)
	}
}

func TestTheLimiterVerdictsSeeTooManyCallsAndTooLongWaits(t *testing.T) {
	s := setup(t)
	l := limiter.New(s.client, "20/s", limiter.Burst(burst), limiter.Namespace(s.namespace))
	for _, tt := range []struct {
		admitted int64
		told     time.Duration
		want     string
	}{
		{burst + 30, turn, ""},
		{burst + 31, turn, "never more than burst + rate x time"},
		{burst + 30, turn + 1, "refusals cost nothing: the next call fits in a turn"},
	} {
		if got := failing(judgeLimiter(t.Context(), s, l, tt.admitted, 1500*time.Millisecond, tt.told)); got != tt.want {
			t.Errorf("%d admitted in 1.5 s, told to wait %v: %q fails, want %q", tt.admitted, tt.told, got, tt.want)
		}
	}
}

func TestTheUserIsAskedUntilTheEnd(t *testing.T) {
	var out bytes.Buffer
	if asked := asking(t.Context(), strings.NewReader("\nx\nq\n"), &out); !asked() || !asked() || asked() || !strings.Contains(out.String(), "again") {
		t.Errorf("Enter, x and q are not taken for yes, yes and no; it said %q", &out)
	}
	if asking(t.Context(), strings.NewReader(""), &out)() {
		t.Error("the end of the input is taken for yes")
	}
	// Ctrl-C at the question.
	ctx, cancel := context.WithCancel(t.Context())
	silent, quiet := io.Pipe()
	defer quiet.Close()
	asked := asking(ctx, silent, &out)
	cancel()
	if asked() {
		t.Error("an interruption is taken for yes")
	}
}

func TestAReportFailsWithItsFirstBrokenVerdict(t *testing.T) {
	r := &Report{Verdicts: []Verdict{{"a", "b", "c", true}}}
	if err := r.err(); err != nil {
		t.Errorf("error %v", err)
	}
	r.Verdicts = append(r.Verdicts, Verdict{"queue", "no job is lost", "58 of 59", false})
	if err := r.err(); !errors.Is(err, ErrVerdict) || !strings.Contains(err.Error(), "58 of 59") {
		t.Errorf("error %v", err)
	}
}

func TestSweepRemovesOnlyTheDemosKeys(t *testing.T) {
	s := setup(t)
	ctx := context.Background()
	s.client.Set(ctx, s.key("x"), "1")
	s.client.Set(ctx, "{test:lease:a}:lease", "1")
	s.client.Set(ctx, "mine", "1")
	sweep(s.client, s.namespace)
	if n, err := s.client.Exists(ctx, s.key("x"), "{test:lease:a}:lease"); n != 0 || err != nil {
		t.Errorf("%d keys of the demo are left, %v", n, err)
	}
	if v, err := s.client.Get(ctx, "mine"); v != "1" || err != nil {
		t.Errorf("another key is %q, %v", v, err)
	}
}
