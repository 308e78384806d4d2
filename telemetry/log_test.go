package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// reply is an error reply, which quotes what it was sent.
type reply string

func (r reply) Error() string { return string(r) }
func (r reply) Code() string  { code, _, _ := strings.Cut(string(r), " "); return code }

func newLog(level slog.Level) (*Log, *bytes.Buffer) {
	var out bytes.Buffer
	return NewLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))), &out
}

func TestTheLogHoldsWhatHappenedAndNoSecret(t *testing.T) {
	const canary = "swordfish"
	l, out := newLog(slog.LevelDebug)
	quotes := fmt.Errorf("redisx: HELLO: %w", reply("ERR unknown argument "+canary))
	for _, tt := range []struct {
		tell func()
		want string
	}{
		{func() { l.ConnChanged(Conn{ID: 7, Role: "shared", Node: "n:1", State: Up, Took: time.Second}) }, `level=INFO msg="redisx: connection up" node=n:1 role=shared conn=7 took=1s`},
		{func() { l.ConnChanged(Conn{State: Down, Err: errors.New("EOF")}) }, `level=WARN msg="redisx: connection down"`},
		{func() { l.ConnChanged(Conn{State: Down}) }, `level=DEBUG msg="redisx: connection closed"`},
		{func() { l.ConnChanged(Conn{State: DialFailed, Err: quotes}) }, `level=WARN msg="redisx: connection failed"`},
		{func() { l.ConnChanged(Conn{State: DialFailed, Err: reply("WRONGPASS " + canary)}) }, `level=ERROR msg="redisx: credentials refused"`},
		{func() {
			l.CommandRetried(bg, Retry{Command: "GET", Commands: 1, Attempt: 1, Outcome: Refused, Err: reply("LOADING " + canary)})
		}, `command=GET commands=1 attempt=1 outcome=refused code=LOADING`},
		{func() { l.CommandRetried(bg, Retry{Command: "GET", Denied: true, Err: reply(canary)}) }, `level=WARN msg="redisx: retry budget empty"`},
		{func() { l.ObserverPanicked(Panic{Observer: "x.Y", Event: "WireMoved", Value: canary}) }, `observer=x.Y event=WireMoved panic=string`},
		{func() {
			defer func() { l.ObserverPanicked(Panic{Value: recover()}) }()
			var none []int
			_ = none[len(canary)]
		}, `panic="runtime error: index out of range`},
	} {
		out.Reset()
		tt.tell()
		if got := out.String(); !strings.Contains(got, tt.want) {
			t.Errorf("logged %q, want %q", got, tt.want)
		} else if strings.Contains(got, canary) {
			t.Errorf("logged a secret: %q", got)
		}
	}
}

func TestTheLogIsBoundedInRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, out := newLog(slog.LevelInfo)
		down := Conn{State: Down, Err: errors.New("EOF")}
		for range 1000 {
			l.ConnChanged(down)
		}
		l.ConnChanged(Conn{State: Up})
		if n := strings.Count(out.String(), "\n"); n != logRate+1 {
			t.Errorf("%d records, want %d and one of another kind", n, logRate)
		}
		time.Sleep(time.Second)
		out.Reset()
		l.ConnChanged(down)
		if want := fmt.Sprintf("suppressed=%d", 1000-logRate); !strings.Contains(out.String(), want) {
			t.Errorf("%q does not hold %q", out, want)
		}
	})
}

func TestWhatIsNotEnabledCountsForNothing(t *testing.T) {
	l, out := newLog(slog.LevelInfo)
	for range 1000 {
		l.CommandRetried(bg, Retry{})
	}
	if len(l.kinds) != 0 || out.Len() != 0 {
		t.Errorf("%d kinds, %q", len(l.kinds), out)
	}
}
