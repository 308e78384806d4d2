package guard

import (
	"go/ast"
	"maps"
	"slices"
	"testing"
)

func TestGoStatements(t *testing.T) {
	checkRepository(t, func(t *tree) []string { return goProblems(t, goStatements) })
}

// goProblems finds go statements outside the allowed files, and allowed files
// that no longer need it.
func goProblems(t *tree, allowed map[string]string) []string {
	var problems []string
	used := map[string]bool{}
	for f := range t.goFiles {
		if f.test() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				used[f.path] = true
				if allowed[f.path] == "" {
					problems = append(problems, t.at(f, n)+": a bare go statement; use sync.WaitGroup.Go, or list the file with a reason")
				}
			}
			return true
		})
	}
	for _, path := range slices.Sorted(maps.Keys(allowed)) {
		if !used[path] {
			problems = append(problems, path+" is listed, but has no go statement")
		}
	}
	return problems
}

func TestGoProblems(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{"p/owner.go": "its Close waits"}
	const owner = "package p\n\nfunc f() { go f() }\n"
	checkExamples(t, func(t *tree) []string { return goProblems(t, allowed) }, []example{
		{"a listed file", map[string]string{"p/owner.go": owner}, nil},
		{"a stray goroutine", map[string]string{
			"p/owner.go": owner,
			"p/stray.go": "package p\n\nvar _ = func() { go func() {}() }\n",
		}, []string{"p/stray.go:3"}},
		{"a WaitGroup owns its goroutines", map[string]string{
			"p/owner.go": owner,
			"p/a.go":     "package p\n\nimport \"sync\"\n\nvar wg sync.WaitGroup\n\nfunc f() { wg.Go(f) }\n",
		}, nil},
		{"tests are free", map[string]string{
			"p/owner.go":  owner,
			"p/a_test.go": owner,
		}, nil},
		{"a stale entry", map[string]string{"p/owner.go": "package p\n"}, []string{"p/owner.go is listed"}},
	})
}
