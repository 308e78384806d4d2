package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redisx/redisx/cmd/redisx/internal/inspect"
	ds "github.com/redisx/redisx/ds/inspect"
)

func inspectCommand() *cobra.Command {
	o := inspect.Options{}
	cmd := &cobra.Command{
		Use:   "inspect [URL] [name]",
		Short: "List what redisX primitives hold on a server, or explain one",
		Long: `List every lease, queue, limiter and so on that is on a server, with how it stands;
with a name, explain what is called that: who holds it, since when, who waits.

Nothing is changed, and nothing is shown of what the objects hold for their users.
The search walks over all keys with SCAN, at a bounded rate, so it may run on a
busy server. With a name there is no search: the keys of the name are asked for,
in --namespace, by default "redisx".

The server is URL or REDISX_URL, which keeps a password out of the list of
processes. Of a cluster, each primary is a server of its own.

Names are printed as they are, or quoted if they are not printable; both forms are
understood. --name takes * for any bytes, ? for one, \ before one that is meant.
--json writes an object in each line, as soon as it is found; _ns means
nanoseconds.

Exit code: 0 if all was seen, 1 if nothing has that name, 2 if the server could not
be asked or the search broke off, 130 if it was interrupted. What was found before
is printed.`,
		Example: `  redisx inspect redis://127.0.0.1:6379
  redisx inspect --kind lease,queue --namespace app redis://127.0.0.1:6379
  redisx inspect redis://127.0.0.1:6379 video:42`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := targets(&o, args); err != nil {
				return err
			}
			o.Out, o.Err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return inspect.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.JSON, "json", false, "write one JSON object for each object found")
	f.StringSliceVar(&o.Kinds, "kind", nil, "kinds to look for: "+strings.Join(ds.Kinds(), ", ")+" (default all)")
	f.StringVar(&o.Namespace, "namespace", "", "namespace to look in (default all)")
	f.StringVar(&o.Pattern, "name", "*", "pattern of the names to list")
	f.IntVar(&o.Rate, "rate", 50_000, "keys that the server looks at in a second, at most")
	f.IntVar(&o.AtMost, "limit", 100_000, "objects to list, at most")
	return cmd
}

// targets reads the URL and the name. A URL is told by its "://", and comes first.
func targets(o *inspect.Options, args []string) error {
	o.URL = os.Getenv("REDISX_URL")
	if len(args) > 0 && (strings.Contains(args[0], "://") || len(args) == 2) {
		o.URL, args = args[0], args[1:]
	}
	switch {
	case o.URL == "":
		return errors.New("inspect: which server? Give its URL, such as redis://127.0.0.1:6379, or set REDISX_URL")
	case len(args) == 0:
		return nil
	case o.Pattern != "*":
		return errors.New("inspect: a name explains one object, --name lists many: give one of them")
	}
	var name ds.Text
	if err := name.UnmarshalText([]byte(args[0])); err != nil {
		return fmt.Errorf("inspect: the name %s is not quoted properly", args[0])
	}
	if name == "" {
		return errors.New("inspect: the name is empty")
	}
	o.Name = string(name)
	return nil
}
