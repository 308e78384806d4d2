package inspect_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/inspect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reports returns all reports by "kind namespace name"; each must be there once.
func reports(t testing.TB, d command.Doer, opts ...inspect.Option) map[string]inspect.Report {
	t.Helper()
	all := map[string]inspect.Report{}
	for r, err := range inspect.Reports(t.Context(), d, opts...) {
		if err != nil {
			t.Fatal(err)
		}
		id := r.Kind + " " + r.Namespace.String() + " " + r.Name.String()
		if r.Namespace == "" {
			id = r.Kind + " " + r.Name.String()
		}
		if _, twice := all[id]; twice {
			t.Errorf("%s was found twice", id)
		}
		all[id] = r
	}
	return all
}

// broken collects the names that a search finds until it breaks off.
func broken(t testing.TB, ctx context.Context, d command.Doer, opts ...inspect.Option) (found []inspect.Object, e *inspect.ScanError) {
	t.Helper()
	for o, err := range inspect.Find(ctx, d, opts...) {
		if err == nil {
			found = append(found, o)
		} else if !errors.As(err, &e) {
			t.Fatalf("%v is no *ScanError", err)
		}
	}
	return found, e
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
