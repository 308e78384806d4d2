// Command redisx shows what redisX does and lets an operator look at it.
//
//	redisx demo       a story on all primitives, with checked verdicts
//	redisx gateway    a Redis server for WebSocket clients
//	redisx inspect    what the primitives hold on a server, and why
//	redisx limit lab  rate limits, side by side on the same arrivals
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/redisx/redisx/cmd/redisx/internal/demo"
	"github.com/redisx/redisx/cmd/redisx/internal/limitlab"
	"github.com/redisx/redisx/ds/inspect"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil // which stop makes true
	stop()
	var missing *inspect.NotFoundError
	switch {
	case err == nil:
	case errors.Is(err, demo.ErrVerdict):
		os.Exit(1)
	case errors.As(err, &missing), errors.Is(err, limitlab.ErrBound):
		complain(err)
		os.Exit(1)
	case interrupted:
		os.Exit(130)
	default:
		complain(err)
		os.Exit(2)
	}
}

// complain prints an error, and what to do about it if the error knows.
func complain(err error) {
	fmt.Fprintln(os.Stderr, "redisx:", err)
	var e interface{ Explain() string }
	if errors.As(err, &e) {
		fmt.Fprintln(os.Stderr, e.Explain())
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "redisx",
		Short:         "Redis and Valkey as a distributed runtime",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(demoCommand(), demoWorkerCommand(), gatewayCommand(), inspectCommand(), limitCommand())
	return cmd
}

func demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play a story on all primitives and check what the server holds afterwards",
		Long: `Play a story on all primitives, with workers as processes of their own: a frozen
lease holder whose stale token is refused, a killed queue worker whose jobs are
recovered, a limited caller, a payment that is made once, a value that is computed
once. Every verdict is computed from what the server holds afterwards.

The server is --url or REDISX_URL, else a private redis-server or valkey-server
from PATH, else an embedded one. Keys of the demo are removed at the end.

Exit code: 0 if every verdict holds, 1 if not, 2 if the demo could not be played.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.In, o.Out = os.Stdin, os.Stdout
			return demo.Play(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.URL, "url", "", "server to play on (environment: REDISX_URL)")
	o.URL = os.Getenv("REDISX_URL") // not as a default, which --help prints: it may hold a password
	cmd.Flags().BoolVar(&o.Embedded, "embedded", false, "play on the embedded server even if there is a real one")
	cmd.Flags().BoolVar(&o.Once, "once", false, "play once and exit, also on a terminal")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print one JSON document instead of the story")
	return cmd
}

// demoWorkerCommand is how the demo starts its worker processes.
func demoWorkerCommand() *cobra.Command {
	var w demo.Worker
	cmd := &cobra.Command{
		Use:    "demo-worker",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return w.Run(cmd.Context(), os.Stdin, os.Stdout)
		},
	}
	cmd.Flags().StringVar(&w.Role, "role", "", "what to do")
	cmd.Flags().StringVar(&w.Name, "name", "", "name of the worker")
	cmd.Flags().StringVar(&w.URL, "url", "", "server")
	cmd.Flags().StringVar(&w.Namespace, "namespace", "", "namespace of the demo's keys")
	return cmd
}
