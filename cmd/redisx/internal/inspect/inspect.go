package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/redisx/redisx"
	ds "github.com/redisx/redisx/ds/inspect"
)

// Options says what to look at and how to tell it.
type Options struct {
	URL       string
	Name      string // of the object to explain; "" lists all
	Kinds     []string
	Namespace string
	Pattern   string // of names to list
	Rate      int
	AtMost    int
	JSON      bool
	Out, Err  io.Writer
}

// Run lists the objects on a server, or explains those of one name. What it
// found before an error is written.
func Run(ctx context.Context, o Options) error {
	cfg, err := redisx.ParseURL(o.URL)
	if err != nil {
		return err
	}
	if cfg.ClientName == "" {
		cfg.ClientName = "redisx-inspect"
	}
	client, err := redisx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if o.Name != "" {
		return o.explain(ctx, client)
	}
	return o.list(ctx, client)
}

func (o *Options) find() []ds.Option {
	opts := []ds.Option{ds.InNamespace(o.Namespace), ds.Named(o.Pattern), ds.Rate(o.Rate), ds.AtMost(o.AtMost)}
	if len(o.Kinds) > 0 {
		opts = append(opts, ds.OfKind(o.Kinds...))
	}
	return opts
}

// list writes every object: as JSON at once, as a table when all are there.
func (o *Options) list(ctx context.Context, client *redisx.Client) error {
	enc := encoder(o.Out)
	var reports []ds.Report
	for r, err := range ds.Reports(ctx, client, o.find()...) {
		switch {
		case err != nil:
			return errors.Join(o.table(reports), o.partial(ctx, err))
		case !o.JSON:
			reports = append(reports, r)
		default:
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
	}
	if len(reports) == 0 && !o.JSON {
		_, err := fmt.Fprintln(o.Out, "nothing that redisX knows is there")
		return err
	}
	return o.table(reports)
}

// partial says of a search that was interrupted that its list is not all; other
// errors say so themselves.
func (o *Options) partial(ctx context.Context, err error) error {
	var broken *ds.ScanError
	if ctx.Err() != nil && errors.As(err, &broken) {
		fmt.Fprintf(o.Err, "redisx: interrupted after about %d keys: what is listed is right, but not all\n", broken.Visited)
	}
	return err
}

func (o *Options) table(reports []ds.Report) error {
	if o.JSON || len(reports) == 0 {
		return nil
	}
	slices.SortFunc(reports, func(a, b ds.Report) int {
		return cmp.Or(cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
			slices.CompareFunc(a.Keys, b.Keys, func(a, b ds.Key) int { return cmp.Compare(a.Name, b.Name) }))
	})
	rows := [][]string{{"KIND", "NAMESPACE", "NAME", "STATE"}}
	for _, r := range reports {
		namespace := r.Namespace.String()
		if r.Namespace == "" {
			namespace = "-"
		}
		rows = append(rows, []string{r.Kind, short(namespace), short(r.Name.String()), r.Says})
	}
	return writeTable(o.Out, "", rows)
}

// rank sorts kinds as they are documented.
func rank(kind string) int { return slices.Index(ds.Kinds(), kind) }

// explain writes all that is known of the objects of one name.
func (o *Options) explain(ctx context.Context, client *redisx.Client) error {
	objects, err := ds.Lookup(ctx, client, o.Name, o.find()...)
	if err != nil {
		return err
	}
	enc := encoder(o.Out)
	for i, object := range objects {
		r, err := ds.Explain(ctx, client, object)
		switch {
		case err != nil:
			return err
		case o.JSON:
			err = enc.Encode(r)
		default:
			if i > 0 {
				fmt.Fprintln(o.Out)
			}
			err = writeReport(o.Out, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func encoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}
