package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/cmd/redisx/internal/backend"
	"github.com/redisx/redisx/command"
)

// ErrVerdict is returned when a verdict does not hold.
var ErrVerdict = errors.New("a verdict does not hold")

// limit bounds the whole story.
const limit = 60 * time.Second

// Options says where to play and how to tell it.
type Options struct {
	URL      string
	Embedded bool
	Once     bool
	JSON     bool
	In       *os.File
	Out      *os.File
}

// Play plays the story: once, or on a terminal until the user has seen enough.
func Play(ctx context.Context, o Options) error {
	asks := !o.Once && !o.JSON && isTerminal(o.In) && isTerminal(o.Out)
	b, err := backend.Open(ctx, o.URL, o.Embedded)
	if err != nil {
		return err
	}
	defer b.Close()
	more := func() bool { return false }
	if asks {
		more = asking(ctx, o.In, o.Out)
	}
	for {
		report, err := play(ctx, b, newTeller(o))
		if err != nil {
			return err
		}
		if !more() {
			return report.err()
		}
	}
}

// asking returns what asks the user whether to play again. Nobody does when ctx
// has ended.
func asking(ctx context.Context, in io.Reader, out io.Writer) func() bool {
	answers := lines(in, func() {})
	return func() bool {
		fmt.Fprint(out, "\nEnter plays it again, q ends it: ")
		select {
		case answer, ok := <-answers:
			return ok && answer != "q"
		case <-ctx.Done():
			fmt.Fprintln(out)
			return false
		}
	}
}

// stage is what a scene plays on.
type stage struct {
	client    *redisx.Client
	url       string
	namespace string // of every key of this performance
	say       *teller
}

// key returns the name of a plain key of this performance.
func (s *stage) key(name string) string { return "{" + s.namespace + "}:" + name }

// scene is one part of the story.
type scene struct {
	title string
	play  func(ctx context.Context, s *stage) ([]Verdict, error)
}

var scenes = []scene{
	{"lease: a frozen holder comes back with a stale token", playLease},
	{"coord: a leader is killed, and the next one leads", playLeader},
	{"smart: a hundred callers wait for one key", playWait},
	{"queue: a worker is killed in the middle of a job", playQueue},
	{"limiter: more callers than the rate admits", playLimiter},
	{"idem: the same payment from four processes", playPayment},
	{"getOrCompute: a cold key under a hundred callers", playCompute},
}

func play(ctx context.Context, b *backend.Backend, say *teller) (*Report, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	client, err := redisx.Connect(ctx, b.URL)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	suffix := make([]byte, 4)
	rand.Read(suffix)
	s := &stage{client: client, url: b.URL, namespace: "redisx-demo-" + hex.EncodeToString(suffix), say: say}
	defer sweep(client, s.namespace)

	report := &Report{Server: b.Name, Off: b.Off}
	say.open(report)
	for i, sc := range scenes {
		say.scene(i+1, sc.title)
		verdicts, err := sc.play(ctx, s)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("%s: %w", sc.title, err)
		}
		report.Verdicts = append(report.Verdicts, verdicts...)
	}
	report.Seconds = time.Since(start).Seconds()
	say.close(report)
	return report, nil
}

// sweep removes every key of a performance. It scans, so that it is safe on a
// server that holds more than the demo.
func sweep(client *redisx.Client, namespace string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var cursor uint64
	for {
		found, err := client.Scan(ctx, cursor, redisx.MATCH("{"+namespace+"*"), redisx.COUNT(1000))
		if err != nil {
			return
		}
		if len(found.Keys) > 0 {
			client.Unlink(ctx, found.Keys...)
		}
		if cursor = found.Cursor; cursor == 0 {
			return
		}
	}
}

// number reads a counter; a missing one is 0.
func (s *stage) number(ctx context.Context, key string) (int64, error) {
	n, err := redisx.Do(ctx, s.client, command.As(command.Get(key), command.AsInt))
	if errors.Is(err, redisx.Nil) {
		return 0, nil
	}
	return n, err
}
