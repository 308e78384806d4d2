// Package guides_test runs everything that is Go in the README and the guides,
// as it stands there, against a real server.
//
// A block that begins with "package main" is a program of its own. Any other is
// a fragment: declarations, or statements in a function
//
//	func(ctx context.Context, client *redisx.Client) error
//
// whose imports are found for it. The fragments of a file run in order, in one
// program, against one server. A block of text right after one of Go is what
// that prints, to the letter.
package guides_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/gateway"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// address is what the programs connect to; the test puts its server there.
const address = "redis://127.0.0.1:6379"

// files are the README and the guides.
func files(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, name := range append(names, "../../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return texts
}

// block is a fenced block of a Markdown file.
type block struct {
	language, text string
	line           int    // of its first line
	prints         string // the block of text right after it
}

func blocks(markdown string) []block {
	var out []block
	inside, near := false, false // near: only empty lines since the last block
	for i, line := range strings.SplitAfter(markdown, "\n") {
		switch fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```"); {
		case isFence && !inside:
			out = append(out, block{language: fence, line: i + 2})
			inside = true
		case isFence:
			if n := len(out); near && out[n-1].language == "text" && out[n-2].language == "go" {
				out[n-2].prints = out[n-1].text
			}
			inside, near = false, true
		case inside:
			out[len(out)-1].text += line
		case strings.TrimSpace(line) != "":
			near = false
		}
	}
	return out
}

func (b block) isProgram() bool { return strings.HasPrefix(b.text, "package main\n") }

// isDeclarations reports whether a fragment goes outside a function.
func (b block) isDeclarations() bool {
	_, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+b.text, 0)
	return err == nil
}

// packages are what fragments may use.
var packages = map[string]string{
	"bytes": "bytes", "context": "context", "errors": "errors", "fmt": "fmt", "io": "io", "json": "encoding/json",
	"http": "net/http", "httptest": "net/http/httptest", "log": "log", "net": "net", "os": "os", "slices": "slices", "slog": "log/slog",
	"strconv": "strconv", "strings": "strings", "sync": "sync", "time": "time", "tls": "crypto/tls", "x509": "crypto/x509",
	"redisx": module, "command": module + "/command", "gateway": module + "/gateway", "resp3": module + "/resp3",
	"telemetry": module + "/telemetry", "transport": module + "/transport",
	"aside": module + "/ds/aside", "coalesce": module + "/ds/coalesce", "atomic": "sync/atomic",
	"limiter": module + "/ds/limiter", "smart": module + "/ds/smart", "intent": module + "/intent",
	"lease": module + "/ds/lease", "semaphore": module + "/ds/semaphore", "idem": module + "/ds/idem", "coord": module + "/ds/coord",
}

const (
	module = "github.com/redisx/redisx"
	mark   = "\x00" // before what a fragment prints
)

// frame returns the program that runs the fragments of a file.
func frame(name string, fragments []block) (string, error) {
	var decls, list strings.Builder
	for i, f := range fragments {
		if f.isDeclarations() {
			fmt.Fprintf(&decls, "//line %s:%d\n%s\n", name, f.line, f.text)
			fmt.Fprintf(&list, "func(context.Context, *redisx.Client) error { return nil },\n")
			continue
		}
		fmt.Fprintf(&decls, "func fragment%d(ctx context.Context, client *redisx.Client) error {\n{\n//line %s:%d\n%s\n}\nreturn nil\n}\n", i, name, f.line, f.text)
		fmt.Fprintf(&list, "fragment%d,\n", i)
	}
	body := fmt.Sprintf(`
func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := redisx.Connect(ctx, %q)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for i, fragment := range []func(context.Context, *redisx.Client) error{
		%s
	} {
		fmt.Print(%q)
		if err := fragment(ctx, client); err != nil {
			log.Fatalf("fragment %%d: %%v", i+1, err)
		}
	}
}

%s`, address, list.String(), mark, decls.String())
	parsed, err := parser.ParseFile(token.NewFileSet(), name, "package main\n"+body, 0)
	if err != nil {
		return "", err
	}
	imports := map[string]bool{}
	for _, id := range unresolved(parsed) {
		if path := packages[id]; path != "" {
			imports[path] = true
		}
	}
	var head strings.Builder
	for path := range imports {
		fmt.Fprintf(&head, "import %q\n", path)
	}
	return "package main\n" + head.String() + body, nil
}

func unresolved(f *ast.File) []string {
	var names []string
	for _, id := range f.Unresolved {
		names = append(names, id.Name)
	}
	return names
}

// program is one to build and run.
type program struct {
	name string // of its folder
	from string
	code string
	want []string // what each part prints, "" if that is not said
}

func programs(t *testing.T) []program {
	var out []program
	for file, text := range files(t) {
		base := strings.TrimSuffix(filepath.Base(file), ".md")
		var fragments []block
		for i, b := range blocks(text) {
			switch {
			case b.language != "go":
			case b.isProgram():
				if !strings.Contains(b.text, address) {
					t.Errorf("%s:%d: the program does not connect to %s", file, b.line, address)
				}
				out = append(out, program{
					name: fmt.Sprintf("%s-%d", base, i), from: fmt.Sprintf("%s:%d", file, b.line),
					code: b.text, want: []string{b.prints},
				})
			default:
				fragments = append(fragments, b)
			}
		}
		if len(fragments) == 0 {
			continue
		}
		code, err := frame(filepath.Base(file), fragments)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		p := program{name: base, from: file, code: code, want: []string{""}}
		for _, f := range fragments {
			p.want = append(p.want, f.prints)
		}
		out = append(out, p)
	}
	return out
}

// world is the servers that the guides speak of.
type world struct {
	toReal, toGuide *strings.Replacer
}

func newWorld(t *testing.T) world {
	server := serverstest.Start(t, servers.Options{TLS: &servers.TLS{Mutual: true}})
	client, err := redisx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Cmd(t.Context(), "ACL", "SETUSER", "app", "on", ">s3cret", "~*", "&*", "+@all"); err != nil {
		t.Fatal(err)
	}
	relay := &gateway.Handler{Dial: gateway.To(transport.Net{}, "tcp", server.Addr)}
	web := httptest.NewServer(relay)
	t.Cleanup(func() {
		relay.Close()
		web.Close()
	})
	pairs := []string{
		"127.0.0.1:6379", server.Addr,
		"127.0.0.1:6380", server.TLSAddr,
		"127.0.0.1:8081", web.Listener.Addr().String(),
		"/run/redis/redis.sock", server.Socket,
		"/etc/redis/tls/ca.crt", server.Certificates.CA,
		"/etc/redis/tls/client.crt", server.Certificates.Client,
		"/etc/redis/tls/client.key", server.Certificates.ClientKey,
	}
	back := make([]string, len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		back[i], back[i+1] = pairs[i+1], pairs[i]
	}
	return world{strings.NewReplacer(pairs...), strings.NewReplacer(back...)}
}

// build compiles the programs into a folder. Their sources exist only in an
// overlay of this one, where their imports resolve.
func build(t *testing.T, ps []program) string {
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]map[string]string{"Replace": {}}
	args := []string{"build", "-o", dir + string(filepath.Separator), "-overlay", filepath.Join(dir, "overlay.json")}
	for _, p := range ps {
		source := filepath.Join(dir, p.name+".source")
		if err := os.WriteFile(source, []byte(p.code), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay["Replace"][filepath.Join(here, p.name, "main.go")] = source
		args = append(args, "./"+p.name)
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func TestEveryProgramRunsAsWritten(t *testing.T) {
	w := newWorld(t)
	ps := programs(t)
	for i := range ps {
		ps[i].code = w.toReal.Replace(ps[i].code)
	}
	if len(ps) < 10 {
		t.Errorf("found %d programs, want at least 10: is the test still reading the right files?", len(ps))
	}
	dir := build(t, ps)
	var wg sync.WaitGroup
	for _, p := range ps {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var stderr bytes.Buffer
			cmd := exec.CommandContext(ctx, filepath.Join(dir, p.name))
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			printed := w.toGuide.Replace(string(out))
			if err != nil {
				t.Errorf("%s: %v\n%s%s", p.from, err, printed, stderr.String())
				return
			}
			t.Logf("%s prints\n%s", p.from, printed)
			parts := strings.Split(printed, mark)
			if len(parts) != len(p.want) {
				t.Errorf("%s: %d parts ran, want %d", p.from, len(parts), len(p.want))
				return
			}
			for i, want := range p.want {
				if want != "" && parts[i] != want {
					t.Errorf("%s: part %d prints\n%s\nwant\n%s", p.from, i, parts[i], want)
				}
			}
		})
	}
	wg.Wait()
}

func TestCodeInTheGuidesIsFormatted(t *testing.T) {
	for file, text := range files(t) {
		for _, b := range blocks(text) {
			if b.text == "" {
				t.Errorf("%s:%d: an empty block", file, b.line)
			}
			if b.language != "go" {
				continue
			}
			got, err := format.Source([]byte(b.text))
			if err != nil || string(got) != b.text {
				t.Errorf("%s:%d: not formatted: %v\n%s", file, b.line, err, got)
			}
		}
	}
}

var (
	urls  = regexp.MustCompile("`((?:redis|rediss|valkey|valkeys|unix|ws|wss)://[^`…]+)`")
	flags = regexp.MustCompile(`--([a-z-]+)`)
)

func TestEveryURLInTheGuidesIsAccepted(t *testing.T) {
	w := newWorld(t)
	n := 0
	for file, text := range files(t) {
		for _, m := range urls.FindAllStringSubmatch(text, -1) {
			n++
			if _, err := redisx.ParseURL(w.toReal.Replace(m[1])); err != nil {
				t.Errorf("%s: %s: %v", file, m[1], err)
			}
		}
	}
	if n < 7 {
		t.Errorf("found %d URLs, want at least 7: does the test still recognize them?", n)
	}
}

var (
	fenced = regexp.MustCompile("(?ms)^```.*?^```")
	spans  = regexp.MustCompile("`[^`\n]+`")
	names  = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)`)
)

// What stands in blocks is compiled; this is about the names in between.
func TestEveryNameInTheGuidesExists(t *testing.T) {
	known := map[string]map[string]bool{}
	n := 0
	for file, text := range files(t) {
		for _, span := range spans.FindAllString(fenced.ReplaceAllString(text, ""), -1) {
			for _, m := range names.FindAllStringSubmatch(span, -1) {
				path, ours := strings.CutPrefix(packages[m[1]], module)
				if !ours {
					continue
				}
				n++
				if known[path] == nil {
					known[path] = declared(t, "../.."+path)
				}
				if !known[path][m[2]] {
					t.Errorf("%s: there is no %s", file, m[0])
				}
			}
		}
	}
	if n < 50 {
		t.Errorf("found %d names, want at least 50: does the test still recognize them?", n)
	}
}

// declared returns the names that the package in a folder declares.
func declared(t *testing.T, folder string) map[string]bool {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no package in %s: %v", folder, err)
	}
	found := map[string]bool{}
	for _, source := range sources {
		f, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for name := range f.Scope.Objects {
			found[name] = true
		}
	}
	return found
}

func TestEveryFlagInTheGuidesExists(t *testing.T) {
	source, err := os.ReadFile("../../cmd/redisx/gateway.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for file, text := range files(t) {
		for _, b := range blocks(text) {
			if !strings.Contains(b.text, "redisx gateway") {
				continue
			}
			for _, m := range flags.FindAllStringSubmatch(b.text, -1) {
				n++
				if !bytes.Contains(source, []byte(`"`+m[1]+`"`)) {
					t.Errorf("%s:%d: redisx gateway has no flag --%s", file, b.line, m[1])
				}
			}
		}
	}
	if n == 0 {
		t.Error("found no flags")
	}
}
