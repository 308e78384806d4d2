package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestImports(t *testing.T) { checkRepository(t, importProblems) }

// importProblems checks each import against the row of its package.
func importProblems(t *tree) []string {
	var problems []string
	for f := range t.goFiles {
		if isNested(f.dir()) {
			continue
		}
		row, ok := layerOf(f.dir())
		if !ok && !f.test() {
			problems = append(problems, f.path+": package has no row in the table of layers")
			continue
		}
		for _, spec := range f.ast.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if why := importProblem(f, row, path); why != "" {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", t.at(f, spec), path, why))
			}
		}
	}
	return problems
}

func importProblem(f *file, row layer, path string) string {
	local, ours := strings.CutPrefix(path, modulePath+"/")
	if path == modulePath {
		local, ours = ".", true
	}
	switch {
	case ours && isNested(local):
		return "nobody imports a nested module"
	case !f.test() && !testPackage(f.dir()) && forTests(local, ours, path):
		return "test code does not belong in users' binaries"
	case f.test(), ours && matches(row.may, local), !ours && standard(path):
		return ""
	case ours:
		return fmt.Sprintf("%s may import only %v", row.pkg, row.may)
	case slices.Contains(row.external, path):
		return ""
	default:
		return fmt.Sprintf("%s may import from outside only %v", row.pkg, row.external)
	}
}

func layerOf(pkg string) (layer, bool) {
	i := slices.IndexFunc(layers, func(l layer) bool { return match(l.pkg, pkg) })
	if i < 0 {
		return layer{}, false
	}
	return layers[i], true
}

func isNested(dir string) bool {
	first, _, _ := strings.Cut(dir, "/")
	return slices.Contains(nested, first)
}

func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, pkg) })
}

// match reports whether pkg is the pattern, or lies under "x/...".
func match(pattern, pkg string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == dir || strings.HasPrefix(pkg, dir+"/")
	}
	return pkg == pattern
}

// testPackage reports whether a package helps tests, as its name says:
// serverstest, like httptest.
func testPackage(dir string) bool { return strings.HasSuffix(dir, "test") }

func forTests(local string, ours bool, path string) bool {
	return ours && testPackage(local) || match("testing/...", path)
}

// standard reports whether a path is of the standard library: its first
// element is no host name.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func TestImportProblems(t *testing.T) {
	t.Parallel()
	imports := func(pkg, path string) string {
		return fmt.Sprintf("package %s\n\nimport _ %q\n", pkg, path)
	}
	checkExamples(t, importProblems, []example{
		{"resp3 imports only the standard library", map[string]string{
			"resp3/a.go": imports("resp3", modulePath+"/command"),
			"resp3/b.go": imports("resp3", "io"),
		}, []string{"resp3/a.go:3"}},
		{"command stands on resp3 only", map[string]string{
			"command/a.go": imports("command", modulePath+"/internal/session"),
			"command/b.go": imports("command", modulePath+"/resp3"),
		}, []string{"command/a.go"}},
		{"internal never imports the root", map[string]string{
			"internal/pool/a.go": imports("pool", modulePath),
			"internal/pool/b.go": imports("pool", modulePath+"/internal/session"),
		}, []string{"internal/pool/a.go"}},
		{"ds imports neither root nor internal nor another primitive", map[string]string{
			"ds/lease/a.go": imports("lease", modulePath),
			"ds/lease/b.go": imports("lease", modulePath+"/internal/session"),
			"ds/lease/c.go": imports("lease", modulePath+"/ds/queue"),
			"ds/lease/d.go": imports("lease", modulePath+"/ds/internal/script"),
		}, []string{"ds/lease/a.go", "ds/lease/b.go", "ds/lease/c.go"}},
		{"intent stands on ds", map[string]string{
			"intent/a.go": imports("intent", modulePath),
			"intent/b.go": imports("intent", modulePath+"/ds/lease"),
		}, []string{"intent/a.go"}},
		{"root never imports ds", map[string]string{
			"a.go": imports("redisx", modulePath+"/ds/lease"),
			"b.go": imports("redisx", modulePath+"/internal/pool"),
		}, []string{"a.go"}},
		{"an outside module needs its row", map[string]string{
			"resp3/a.go":     imports("resp3", "github.com/coder/websocket"),
			"transport/a.go": imports("transport", "github.com/coder/websocket"),
		}, []string{"resp3/a.go"}},
		{"a similar prefix is no match", map[string]string{
			"command/a.go": imports("command", modulePath+"/resp3x"),
		}, []string{"command/a.go"}},
		{"nobody imports a nested module, not even a test", map[string]string{
			"a_test.go": imports("redisx", modulePath+"/testkit"),
			"a.go":      imports("redisx", modulePath+"/bench/peers"),
		}, []string{"a.go", "a_test.go"}},
		{"test helpers stay out of code", map[string]string{
			"a.go":                    imports("redisx", "testing"),
			"b.go":                    imports("redisx", modulePath+"/internal/servers/serverstest"),
			"b_test.go":               imports("redisx", modulePath+"/internal/servers/serverstest"),
			"internal/x/xtest/a.go":   imports("xtest", "testing"),
			"internal/x/x.go":         imports("x", "testing/fstest"),
			"internal/x/xtest/b.go":   imports("xtest", modulePath+"/internal/servers"),
			"internal/x/xtest/c.go":   imports("xtest", modulePath+"/internal/servers/serverstest"),
			"internal/x/internal.go":  imports("x", modulePath+"/internal/y"),
			"internal/x/with_test.go": imports("x", "testing"),
		}, []string{"a.go", "b.go", "internal/x/x.go"}},
		{"test files are free otherwise", map[string]string{
			"ds/lease/a_test.go": imports("lease", modulePath),
		}, nil},
		{"nested modules are free", map[string]string{
			"cmd/redisx/a.go": imports("main", modulePath+"/ds/lease"),
		}, nil},
		{"a new package needs a row", map[string]string{
			"util/a.go": "package util\n",
		}, []string{"util/a.go"}},
	})
}
