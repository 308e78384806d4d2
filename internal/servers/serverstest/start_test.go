package serverstest

import (
	"net"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/internal/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStartEndsWithTheTest(t *testing.T) {
	var s *servers.Server
	if !t.Run("inner", func(t *testing.T) { s = Start(t) }) || s == nil {
		return
	}
	if s.Pid() != 0 {
		t.Error("the server outlived its test")
	}
	if conn, err := net.Dial("tcp", s.Addr); err == nil {
		conn.Close()
		t.Error("the server still accepts connections")
	}
}

// recorder notes how a test would have ended.
type recorder struct {
	testing.TB
	verdict string
}

func (r *recorder) Helper()               {}
func (r *recorder) Fatal(...any)          { r.end("fatal") }
func (r *recorder) Fatalf(string, ...any) { r.end("fatal") }
func (r *recorder) Skipf(string, ...any)  { r.end("skip") }

func (r *recorder) end(verdict string) {
	r.verdict = verdict
	runtime.Goexit()
}

func TestWithoutServer(t *testing.T) {
	for ci, want := range map[string]string{"": "skip", "true": "fatal"} {
		t.Setenv("PATH", t.TempDir())
		t.Setenv(servers.EnvBinary, "")
		t.Setenv("CI", ci)
		for _, o := range []servers.Options{{}, {Flavor: "redis 6.2"}} {
			r := &recorder{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				Start(r, o)
			}()
			<-done
			if r.verdict != want {
				t.Errorf("CI=%q without server %q: %q, want %q", ci, o.Flavor, r.verdict, want)
			}
		}
	}
}

func TestEachRunsOnceForEveryRequiredFlavor(t *testing.T) {
	ran := map[string]int{}
	Each(t, func(t *testing.T, f servers.Flavor) {
		ran[string(f)]++
		if s := Start(t, servers.Options{Flavor: f}); s.Pid() == 0 {
			t.Error("no server runs")
		}
	})
	for _, f := range servers.Required() {
		if _, err := f.Find(t.Context()); err == nil && ran[string(f)] != 1 {
			t.Errorf("%s ran %d times", f, ran[string(f)])
		}
	}
}
