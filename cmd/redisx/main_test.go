package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/cmd/redisx/internal/demo"
	"github.com/redisx/redisx/internal/servers/serverstest"
)

// TestMain is also the demo's worker, which starts its own executable, and
// redisx inspect and redisx limit as processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"demo-worker", "inspect", "limit"}, os.Args[1]) {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// playDemo plays the demo and returns what it prints.
func playDemo(t *testing.T, o demo.Options) ([]byte, error) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	o.Out, o.Once = out, true
	playErr := demo.Play(t.Context(), o)
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return text, playErr
}

// The README shows some lines of the story.
func TestTheDemoHoldsOnARealServerAsTheREADMETells(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(readme), "```text\n1. lease")
	shown, _, end := strings.Cut("1. lease"+shown, "```")
	if !ok || !end {
		t.Fatal("the README shows no story")
	}
	text, err := playDemo(t, demo.Options{URL: serverstest.Start(t).URL()})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for line := range strings.Lines(masked(shown)) {
		if line != "…\n" && !strings.Contains(masked(string(text)), line) {
			t.Errorf("the README tells %q; the story is\n%s", line, text)
		}
	}
	if bytes.Contains(text, []byte("\x1b")) {
		t.Error("colours in a file")
	}
}

func TestTheDemoHoldsOnTheEmbeddedServer(t *testing.T) {
	text, err := playDemo(t, demo.Options{Embedded: true, JSON: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var r demo.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	primitives := map[string]bool{}
	for _, v := range r.Verdicts {
		primitives[v.Primitive] = true
		if !v.Holds {
			t.Errorf("%s: %s: %s", v.Primitive, v.Claim, v.Found)
		}
	}
	if len(primitives) != 7 || len(r.Story) == 0 {
		t.Errorf("verdicts on %v, want seven primitives; a story of %d lines", primitives, len(r.Story))
	}
	if !strings.Contains(r.Server, "embedded in this process") || !strings.Contains(strings.Join(r.Off, "\n"), "client tracking") {
		t.Errorf("it is said to be %s, without %q", r.Server, r.Off)
	}
}

func TestADemoWithoutItsServerSaysWhy(t *testing.T) {
	text, err := playDemo(t, demo.Options{URL: "redis://:s3cr3t@127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v, want the refused connection", err)
	}
	if strings.Contains(err.Error()+string(text), "s3cr3t") {
		t.Errorf("the password shows in %v or\n%s", err, text)
	}
}
