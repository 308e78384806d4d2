// Package guides_test runs every program of the README and the guides as it
// stands there, against a real server.
package guides_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx/internal/servers/serverstest"
)

// address is what the programs connect to; the test puts its server there.
const address = "redis://127.0.0.1:6379"

// programs returns the complete programs in a Markdown text.
func programs(text string) []string {
	var out []string
	for i, block := range strings.Split(text, "```") {
		if code, ok := strings.CutPrefix(block, "go\n"); ok && i%2 == 1 && strings.HasPrefix(code, "package main\n") {
			out = append(out, code)
		}
	}
	return out
}

func TestEveryProgramRunsAsWritten(t *testing.T) {
	guides, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	server := serverstest.Start(t)
	n := 0
	for _, file := range append(guides, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, code := range programs(string(text)) {
			n++
			if !strings.Contains(code, address) {
				t.Errorf("%s: program %d does not connect to %s", file, i+1, address)
				continue
			}
			// The folder is inside the module, so that imports resolve, and begins
			// with "_", so that "./..." does not see it.
			dir, err := os.MkdirTemp(".", "_program-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			code = strings.ReplaceAll(code, address, server.URL())
			if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, "go", "run", "./"+dir).CombinedOutput()
			if err != nil {
				t.Errorf("%s: program %d: %v\n%s", file, i+1, err, out)
			}
			t.Logf("%s: program %d prints\n%s", file, i+1, out)
		}
	}
	if n < 5 {
		t.Errorf("found %d programs, want at least 5: is the test still reading the right files?", n)
	}
}
