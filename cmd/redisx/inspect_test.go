package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/inspect"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/limiter"
	"github.com/redisx/redisx/ds/queue"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// occupied returns a server with objects of the primitives on it.
func occupied(t *testing.T) *servers.Server {
	t.Helper()
	s := serverstest.Start(t)
	c, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l, err := lease.Acquire(t.Context(), c, "video:42", lease.Owner("node-A"), lease.TTL(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Release(context.Background()) })
	if _, err := queue.New[string](c, "mail").Enqueue(t.Context(), "s3cr3t"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"api\x1b[2J", "b", "c", "d", "e", "f", "g", "h"} {
		if _, err := limiter.New(c, "10/h", limiter.Namespace("app")).Allow(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// crowded returns an occupied server with 200 000 keys of others.
func crowded(t *testing.T) *servers.Server {
	t.Helper()
	s := occupied(t)
	c, err := redisx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for part := range 100 { // in one script it might outlast the client's timeout
		if _, err := c.Eval(t.Context(), "for i = 1, 2000 do redis.call('SET', 'session:' .. ARGV[1] .. ':' .. i, 's3cr3t') end", nil, command.Int(int64(part))); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// inspectHere runs redisx inspect in this process.
func inspectHere(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	cmd := root()
	cmd.SetArgs(append([]string{"inspect"}, args...))
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	err = cmd.ExecuteContext(t.Context())
	return b.String(), err
}

// run is a run of redisx inspect as a process.
type run struct {
	code     int
	out, err string
}

// inspectProcess starts redisx inspect as a process; during gets what it prints
// while it runs.
func inspectProcess(t *testing.T, during func(p *os.Process, out *bufio.Reader), args ...string) run {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"inspect"}, args...)...)
	cmd.Env = append(os.Environ(), "REDISX_URL=")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r := bufio.NewReader(io.TeeReader(pipe, &out))
	if during != nil {
		during(cmd.Process, r)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return run{cmd.ProcessState.ExitCode(), out.String(), complaints.String()}
}

func TestInspectShowsATable(t *testing.T) {
	s := crowded(t)
	out, err := inspectHere(t, "--rate", "10000000", s.URL())
	if err != nil {
		t.Fatal(err)
	}
	out = regexp.MustCompile(`\d\d:\d\d:\d\dZ`).ReplaceAllString(out, "12:03:05Z")
	out = regexp.MustCompile(`\d{16}`).ReplaceAllString(out, "1764000000000000")
	out = regexp.MustCompile(`(\d+m)?\d+(\.\d+)? ?s\b`).ReplaceAllString(out, "5 s")
	want := `KIND     NAMESPACE  NAME          STATE
lease    redisx     video:42      held by node-A since 12:03:05Z, token 1764000000000000, renewed 5 s ago, lapses in 5 s unless renewed
queue    redisx     mail          1 waiting, 0 running, 0 delayed, 0 dead; 0 consumers
limiter  app        "api\x1b[2J"  9 of 10 calls left, full again in 5 s; 1 each 5 s
`
	for _, name := range "bcdefgh" {
		want += "limiter  app        " + string(name) + "             9 of 10 calls left, full again in 5 s; 1 each 5 s\n"
	}
	if out != want {
		t.Errorf("the table is\n%s\nwant\n%s", out, want)
	}
}

func TestInspectWritesJSONThatReadsBack(t *testing.T) {
	s := occupied(t)
	out, err := inspectHere(t, "--json", "--rate", "10000000", s.URL())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(out) {
		var r inspect.Report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		kinds[r.Kind]++
		again, err := json.Marshal(r)
		if err != nil || string(again) != strings.TrimSuffix(line, "\n") {
			t.Errorf("%s, %v\ncame back from\n%s", again, err, line)
		}
	}
	if len(kinds) != 3 || kinds["limiter"] != 8 || strings.Contains(out, "s3cr3t") {
		t.Errorf("found %v in\n%s", kinds, out)
	}
}

func TestInspectExplainsOneObject(t *testing.T) {
	s := occupied(t)
	out, err := inspectHere(t, s.URL(), "video:42")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"lease video:42 (namespace redisx)\n  held by node-A since ", "\n  owner ", "\n  ttl ", "  1m0s\n", "\n  key ", "{redisx:lease:video:42}:lease  hash  ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	// The name of a table, and what is behind it.
	for _, name := range []string{`"api\x1b[2J"`, "api\x1b[2J"} {
		out, err = inspectHere(t, "--namespace", "app", "--json", s.URL(), name)
		var r inspect.Report
		if err != nil || json.Unmarshal([]byte(out), &r) != nil || r.Name != "api\x1b[2J" {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	t.Setenv("REDISX_URL", s.URL())
	if out, err := inspectHere(t, "mail"); err != nil || !strings.Contains(out, "queue mail") {
		t.Errorf("with REDISX_URL: %s, %v", out, err)
	}
}

func TestInspectExitsWithACodeAndASentence(t *testing.T) {
	s := occupied(t)
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"all is seen", []string{"--rate", "10000000", s.URL()}, 0, ""},
		{"an empty list is a list", []string{"--kind", "idem", "--rate", "10000000", s.URL()}, 0, ""},
		{"no such name", []string{s.URL(), "nobody\x1b"}, 1, `nothing is called "nobody\x1b" in the namespace redisx`},
		{"no server", []string{"redis://:s3cr3t@127.0.0.1:1"}, 2, "refused"},
		{"no URL", nil, 2, "which server?"},
		{"no scheme", []string{"localhost", "x"}, 2, "a URL begins with"},
		{"an unknown kind", []string{"--kind", "leese", s.URL()}, 2, "no kind leese: there are leader, semaphore, lease,"},
		{"no rate", []string{"--rate", "0", s.URL()}, 2, "a rate of 0"},
		{"a name and a pattern", []string{"--name", "x*", s.URL(), "x"}, 2, "give one of them"},
		{"half a quoted name", []string{s.URL(), `"x`}, 2, "quoted"},
		{"no name", []string{s.URL(), ""}, 2, "empty"},
		{"too many objects", []string{"--limit", "3", "--rate", "10000000", s.URL()}, 2, "more objects than asked for\nWhat was found is right, but not all."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := inspectProcess(t, nil, tt.args...)
			if r.code != tt.code || !strings.Contains(r.err, tt.says) || (r.err == "") != (tt.code == 0) {
				t.Errorf("exit code %d, and on stderr %q; want %d and %q", r.code, r.err, tt.code, tt.says)
			}
			if strings.Contains(r.out+r.err, "s3cr3t") || strings.Contains(r.out+r.err, "\x1b") {
				t.Errorf("it printed %q and %q", r.out, r.err)
			}
			if tt.name == "too many objects" && strings.Count(r.out, "\n") != 4 {
				t.Errorf("of 3 objects it printed %q", r.out)
			}
		})
	}
}

func TestInspectEndsAtOnceWhenInterrupted(t *testing.T) {
	s := crowded(t)
	r := inspectProcess(t, func(p *os.Process, out *bufio.Reader) {
		if _, err := out.ReadString('\n'); err != nil { // an object, so the search is under way
			t.Fatal(err)
		}
		if err := p.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}, "--json", "--rate", "40000", s.URL())
	if r.code != 130 || !strings.Contains(r.err, "interrupted after about") || r.out == "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
	}
}

func TestInspectSaysThatTheServerWentAway(t *testing.T) {
	s := crowded(t)
	var killed time.Time
	r := inspectProcess(t, func(_ *os.Process, out *bufio.Reader) {
		if _, err := out.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		s.Kill()
		killed = time.Now()
	}, "--json", "--rate", "40000", s.URL())
	if took := time.Since(killed); took > 10*time.Second {
		t.Errorf("it told so after %v", took)
	}
	if r.code != 2 || !strings.Contains(r.err, "right, but not all") || r.out == "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.out, r.err)
	}
}
