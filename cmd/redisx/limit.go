package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redisx/redisx/cmd/redisx/internal/limitlab"
)

func limitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "limit",
		Short: "Look at rate limits",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(limitLabCommand())
	return cmd
}

func limitLabCommand() *cobra.Command {
	var o limitlab.Options
	cmd := &cobra.Command{
		Use:   "lab RATE",
		Short: "Replay arrivals through the rate limit algorithms, side by side",
		Long: `Replay arrivals through the algorithms of ds/limiter, side by side: what each admits
and denies, for how long, whether it keeps the bound that its manual states, and the
line of Go that makes it. RATE is as in limiter.ParseRate: "100/m", "5/500ms",
"50/s burst 100".

What decides is the limiter itself, on embedded servers whose clocks are set to the
time of each arrival, so an hour takes seconds: some thousand arrivals a second. No
server is asked. All arrivals are of one key.

--traffic makes up arrivals, from parts with commas between them; with the same
--seed they are the same. Each part is one of
  steady:3/s          one each 333 ms
  poisson:2/s         at random, two a second in the mean
  burst:50@10s        50 at once, 10 s after the beginning
  burst:50@10s/1m     and again each minute
The beginning is 2000-01-01T00:00:00Z, where windows by the calendar begin, too.

--file reads arrivals, one a line, as they come: RFC 3339 or Unix time in s, ms, µs
or ns, and with a comma after it a cost. What follows a space is not read, so a log
whose lines begin with the time will do. Times must not fall. Lines that are empty or
begin with # are passed over. At most 1000000 arrivals, and 4096 days.

Where an algorithm has no such burst as was asked for, it decides by the rate alone,
and the report says so. In the plot every algorithm has the same scale.

Exit code: 0 if every algorithm kept its bound, 1 if not, 2 if the arrivals could not
be replayed, 130 if it was interrupted.`,
		Example: `  redisx limit lab 100/m
  redisx limit lab 100/m --burst 20 --traffic steady:3/s,burst:50@10s,poisson:2/s --for 5m --seed 7
  redisx limit lab 100/m --algorithms gcra,sliding --file arrivals.csv
  cut -d' ' -f1 access.log | sort | redisx limit lab 50/s --file - --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Rate = args[0]
			if o.File != "" {
				for _, flag := range []string{"traffic", "for", "seed"} {
					if cmd.Flags().Changed(flag) {
						return fmt.Errorf("limit lab: --%s makes up arrivals, --file has them: give one of them", flag)
					}
				}
				in := contents(cmd.Context(), o.File, cmd.InOrStdin())
				defer in.Close()
				o.In = in
			}
			o.Out = cmd.OutOrStdout()
			o.Color = terminal(o.Out) && os.Getenv("NO_COLOR") == ""
			if w := cmd.ErrOrStderr(); terminal(w) {
				o.Progress = progress(w)
				defer fmt.Fprint(w, "\r\x1b[K")
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(400) // the embedded server makes an interpreter for each call
			}
			return limitlab.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Burst, "burst", 0, "calls that fit at once (default the rate's)")
	f.StringSliceVar(&o.Algorithms, "algorithms", nil, "what to compare: "+strings.Join(limitlab.Algorithms(), ", ")+" (default all)")
	f.StringVar(&o.Traffic, "traffic", "", "arrivals to make up (default at random, twice the rate)")
	f.DurationVar(&o.For, "for", 0, "how long they come (default five periods of the rate)")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of what is random in them")
	f.StringVar(&o.File, "file", "", "file with arrivals to replay; - is the standard input")
	f.IntVar(&o.Cost, "cost", 1, "calls that an arrival counts as, if its line does not say")
	f.BoolVar(&o.JSON, "json", false, "print one JSON document; _ns means nanoseconds")
	return cmd
}

// contents returns what is in a file. Reads end with ctx, also of a pipe that
// nobody writes to.
func contents(ctx context.Context, name string, stdin io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	go func() {
		if name == "-" {
			_, err := io.Copy(w, stdin)
			w.CloseWithError(err)
			return
		}
		f, err := os.Open(name)
		if err == nil {
			_, err = io.Copy(w, f)
			f.Close()
		}
		w.CloseWithError(err)
	}()
	return r
}

// progress returns what tells how far a long replay is, in one line.
func progress(w io.Writer) func(arrivals int) {
	told := time.Now()
	return func(arrivals int) {
		if time.Since(told) > time.Second {
			told = time.Now()
			fmt.Fprintf(w, "\r%d arrivals replayed", arrivals)
		}
	}
}

// terminal reports whether w is one that moves its cursor. A character device is
// close enough.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
