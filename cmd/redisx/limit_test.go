package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx/cmd/redisx/internal/limitlab"
)

// limitProcess starts redisx limit as a process, and waits for it.
func limitProcess(t *testing.T, stdin io.Reader, during func(p *os.Process), args ...string) run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"limit"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if during != nil {
		during(cmd.Process)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return run{cmd.ProcessState.ExitCode(), out.String(), complaints.String()}
}

func TestLimitLabExitsWithACodeAndASentence(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"bounds are kept", []string{"lab", "100/m", "--traffic", "burst:150@1s"}, 0, ""},
		{"a recording", []string{"lab", "2/s", "--file", file("good", "1767322994\n1767322995,2\n"), "--json"}, 0, ""},
		{"help", []string{"lab", "--help"}, 0, ""},
		{"which commands there are", nil, 0, ""},
		{"no rate", []string{"lab"}, 2, "accepts 1 arg"},
		{"a bad rate", []string{"lab", "100"}, 2, `limiter: rate "100": want a form like`},
		{"a bad line", []string{"lab", "2/s", "--file", file("bad", "1767322994\n\x1b[2J\n")}, 2, `line 2: "\x1b[2J" is no time` + "\nAn arrival is a line"},
		{"no file", []string{"lab", "2/s", "--file", filepath.Join(dir, "none")}, 2, "no such file"},
		{"a folder", []string{"lab", "2/s", "--file", dir}, 2, "is a directory"},
		{"both", []string{"lab", "2/s", "--file", "-", "--seed", "3"}, 2, "--seed makes up arrivals, --file has them"},
		{"no command", []string{"labs"}, 2, "unknown command"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := limitProcess(t, nil, nil, tt.args...)
			if r.code != tt.code || !strings.Contains(r.err, tt.says) || (r.err == "") != (tt.code == 0) || (r.out == "") != (tt.code != 0) {
				t.Errorf("exit code %d, %q, and on stderr %q; want %d and %q", r.code, r.out, r.err, tt.code, tt.says)
			}
			if strings.Contains(r.out+r.err, "\x1b") {
				t.Errorf("it printed %q and %q", r.out, r.err)
			}
		})
	}
}

func TestLimitLabReadsStandardInput(t *testing.T) {
	r := limitProcess(t, strings.NewReader("1767322994\n1767322994\n1767322994\n"), nil, "lab", "2/s", "--algorithms", "sliding,gcra", "--file", "-", "--json")
	var report limitlab.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != 0 || r.err != "" {
		t.Fatalf("%v: %+v", err, r)
	}
	if len(report.Algorithms) != 2 || report.Algorithms[0].Algorithm != "gcra" || report.Algorithms[1].Admitted != 2 || report.Arrivals != 3 {
		t.Errorf("%+v", report)
	}
}

// A pipe that nobody writes to.
func TestLimitLabEndsAtOnceWhenInterrupted(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer in.Close()
	r := limitProcess(t, in, func(p *os.Process) {
		// More than a pipe holds, so it has begun to read when this is written.
		if _, err := w.WriteString(strings.Repeat("#\n", 200<<10)); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}, "lab", "2/s", "--file", "-")
	if r.code != 130 || r.out != "" || r.err != "" {
		t.Errorf("%+v", r)
	}
}

// silent is an input on which nothing comes, until it is closed.
type silent struct{ asked, closed chan struct{} }

func (s silent) Read([]byte) (int, error) {
	close(s.asked)
	<-s.closed
	return 0, io.EOF
}

func TestAReadOfASilentInputEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	in := silent{make(chan struct{}), make(chan struct{})}
	defer close(in.closed)
	r := contents(ctx, "-", in)
	ended := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}()
	<-in.asked
	why := errors.New("enough")
	cancel(why)
	select {
	case err := <-ended:
		if !errors.Is(err, why) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it goes on")
	}
}

// The commands that the README and the guide show are run as they are.
func TestTheLimitLabsThatAreShownRun(t *testing.T) {
	for _, page := range []string{"../../README.md", "../../docs/guides/rate-limiting.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		shown := regexp.MustCompile(`(?m)^redisx limit lab .*$`).FindAllString(string(text), -1)
		if len(shown) == 0 {
			t.Errorf("%s shows none", page)
		}
		for _, line := range shown {
			r := limitProcess(t, nil, nil, strings.Fields(line)[2:]...)
			if r.code != 0 || !strings.Contains(r.out, "limiter.New(client, ") {
				t.Errorf("%s in %s: %+v", line, page, r)
			}
		}
	}
}
