package owner

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProcessIsConstant(t *testing.T) {
	t.Parallel()
	if a, b := Process(), Process(); a != b || a == "" {
		t.Errorf("Process returned %q, then %q", a, b)
	}
}

func TestNewNeverRepeats(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 1000
	var seen sync.Map
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				id := New()
				if _, dup := seen.LoadOrStore(id, true); dup {
					t.Errorf("New returned %q twice", id)
				}
				if n, ok := strings.CutPrefix(id, Process()+"-"); !ok {
					t.Errorf("New returned %q, which does not begin with the process", id)
				} else if _, err := strconv.ParseUint(n, 10, 64); err != nil {
					t.Errorf("New returned %q, which does not end in a number", id)
				}
			}
		})
	}
	wg.Wait()
}

func TestCleanKeepsNamesPrintable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"web-3.example", "web-3.example"},
		{"", "host"},
		{"a b{c}\n%é", "a_b_c____" + "_"},
		{strings.Repeat("x", 200), strings.Repeat("x", maxHost)},
	} {
		if got := clean(tt.in); got != tt.want {
			t.Errorf("clean(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
