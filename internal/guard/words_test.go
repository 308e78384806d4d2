package guard

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestForbiddenWords(t *testing.T) { checkRepository(t, wordProblems) }
func TestSkips(t *testing.T)          { checkRepository(t, skipProblems) }

// wordProblems finds lines that match a forbidden pattern.
func wordProblems(t *tree) []string {
	var problems []string
	for _, word := range forbidden {
		pattern := regexp.MustCompile(word.pattern)
		for _, f := range t.files {
			number := 0
			for line := range strings.Lines(f.src) {
				number++
				if m := pattern.FindString(line); m != "" {
					problems = append(problems, fmt.Sprintf("%s:%d: %q: %s", f.path, number, strings.TrimSpace(m), word.why))
				}
			}
		}
	}
	return problems
}

var skipMethods = []string{"Skip", "Skipf", "SkipNow"}

// skipProblems finds tests that skip themselves.
func skipProblems(t *tree) []string {
	var problems []string
	for f := range t.goFiles {
		if match(maySkip+"/...", f.dir()) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isSkip(call) {
				problems = append(problems, t.at(f, n)+": only "+maySkip+" may skip a test")
			}
			return true
		})
	}
	return problems
}

// isSkip reports whether a call is t.Skip or alike on a usual test variable.
func isSkip(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains(skipMethods, method.Sel.Name) {
		return false
	}
	receiver, ok := method.X.(*ast.Ident)
	return ok && slices.Contains([]string{"t", "b", "f", "tb"}, receiver.Name)
}

func TestWordProblems(t *testing.T) {
	t.Parallel()
	const work, home = "/" + "work", "/" + "root"
	checkExamples(t, wordProblems, []example{
		{"a path of this machine", map[string]string{"a.md": "in " + work + "/main\n", "b.go": "package b\n\nconst x = \"" + home + "/go\"\n"}, []string{"a.md:1", "b.go:3"}},
		{"the folder itself", map[string]string{"run": "cd " + work + "\n"}, []string{"run:1"}},
		{"a hidden folder of ours", map[string]string{".ci/run": "cd " + work + "\n"}, []string{".ci/run:1"}},
		{"a part of another path", map[string]string{"a.md": "https://example.com" + work + "/x ./a" + home + "/b " + work + "er\n"}, nil},
	})
}

func TestSkipProblems(t *testing.T) {
	t.Parallel()
	const skip = "package p\n\nfunc f(t T) { t.Skipf(\"no\") }\n"
	checkExamples(t, skipProblems, []example{
		{"a test that skips", map[string]string{"p/a_test.go": skip}, []string{"p/a_test.go:3"}},
		{"a helper that skips", map[string]string{"p/a.go": skip}, []string{"p/a.go:3"}},
		{"the helper that may", map[string]string{maySkip + "/x/a.go": skip}, nil},
		{"another kind of skip", map[string]string{"p/a.go": "package p\n\nfunc f(r R) { r.Skip(1) }\n"}, nil},
	})
}
