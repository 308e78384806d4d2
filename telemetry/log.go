package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	logRate  = 10 // records of one kind in a second
	longCode = 64 // bytes of a server's error code
)

// Log is the Observer that writes events to a logger: connections that come up
// (Info), fail to and go down (Warn; refused credentials Error), commands that
// are sent again (Debug), an empty retry budget (Warn), observers that panic
// (Error). Commands are not logged one by one.
//
// It writes at most 10 records of each kind in a second; the next one after
// them says how many were suppressed. No record holds an argument, a key or the
// text of a server's error, of which only the code is written.
type Log struct {
	out *slog.Logger

	mu    sync.Mutex
	kinds map[string]*quota
}

// quota counts the records of one kind in one second.
type quota struct {
	from       time.Time
	written    int
	suppressed int
}

// NewLog returns a Log that writes to out.
func NewLog(out *slog.Logger) *Log { return &Log{out: out, kinds: map[string]*quota{}} }

// ConnChanged implements ConnObserver.
func (l *Log) ConnChanged(c Conn) {
	attrs := []slog.Attr{slog.String("node", c.Node), slog.String("role", c.Role), slog.Int64("conn", c.ID)}
	switch c.State {
	case Up:
		l.write(context.Background(), slog.LevelInfo, "connection up", append(attrs, slog.Duration("took", c.Took)))
	case Down:
		if c.Err == nil {
			l.write(context.Background(), slog.LevelDebug, "connection closed", attrs)
			return
		}
		l.write(context.Background(), slog.LevelWarn, "connection down", append(attrs, slog.Duration("lived", c.Took), cause(c.Err)))
	case DialFailed:
		level, message := slog.LevelWarn, "connection failed"
		switch code(c.Err) {
		case "NOAUTH", "WRONGPASS", "NOPERM":
			level, message = slog.LevelError, "credentials refused"
		}
		l.write(context.Background(), level, message, append(attrs, slog.Duration("took", c.Took), cause(c.Err)))
	}
}

// CommandRetried implements RetryObserver.
func (l *Log) CommandRetried(ctx context.Context, r Retry) {
	attrs := []slog.Attr{
		slog.String("node", r.Node), slog.String("command", r.Command), slog.Int("commands", r.Commands),
		slog.Int("attempt", r.Attempt), slog.String("outcome", string(r.Outcome)), cause(r.Err),
	}
	if r.Denied {
		l.write(ctx, slog.LevelWarn, "retry budget empty", attrs)
		return
	}
	l.write(ctx, slog.LevelDebug, "command sent again", append(attrs, slog.Duration("pause", r.Pause)))
}

// ObserverPanicked implements PanicObserver.
func (l *Log) ObserverPanicked(p Panic) {
	value := fmt.Sprintf("%T", p.Value) // a text may quote what the observer saw
	if err, ok := p.Value.(runtime.Error); ok {
		value = err.Error()
	}
	l.write(context.Background(), slog.LevelError, "observer panicked", []slog.Attr{
		slog.String("observer", p.Observer), slog.String("event", p.Event), slog.String("panic", value),
	})
}

func (l *Log) write(ctx context.Context, level slog.Level, message string, attrs []slog.Attr) {
	if !l.out.Enabled(ctx, level) {
		return
	}
	suppressed, ok := l.admit(message)
	if !ok {
		return
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	l.out.LogAttrs(ctx, level, "redisx: "+message, attrs...)
}

// admit reports whether one more record of a kind may be written, and how many
// were not since the last one.
func (l *Log) admit(kind string) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.kinds[kind]
	now := time.Now()
	if q == nil {
		q = &quota{from: now}
		l.kinds[kind] = q
	}
	if now.Sub(q.from) >= time.Second {
		q.from, q.written = now, 0
	}
	if q.written == logRate {
		q.suppressed++
		return 0, false
	}
	q.written++
	suppressed, q.suppressed = q.suppressed, 0
	return suppressed, true
}

// cause returns err as an attribute. An error reply may quote arguments, so
// only its code is written.
func cause(err error) slog.Attr {
	if c := code(err); c != "" {
		return slog.String("code", c)
	}
	return slog.Any("error", err)
}

// code returns the code of the error reply in err, or "" if there is none. What
// does not look like a code may be anything, and is not shown.
func code(err error) string {
	var e interface{ Code() string }
	if !errors.As(err, &e) {
		return ""
	}
	c := e.Code()
	if c == "" || len(c) > longCode || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-") != "" {
		return "malformed"
	}
	return c
}
