package guard

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestRequirements(t *testing.T) { checkRepository(t, requirementProblems) }

// requirementProblems checks the root go.mod and what the non-test files of
// its module import.
func requirementProblems(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		switch {
		case f.path == "go.mod":
			problems = append(problems, goModProblems(f.src)...)
		case f.ast != nil && !f.test() && !isNested(f.dir()):
			problems = append(problems, testImportProblems(t, f)...)
		}
	}
	return problems
}

func goModProblems(src string) []string {
	var problems []string
	block := ""
	for line := range strings.Lines(src) {
		line, _, _ = strings.Cut(line, "//")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == ")":
			block = ""
		case len(fields) == 2 && fields[1] == "(":
			block = fields[0]
		default:
			if block != "" {
				fields = append([]string{block}, fields...)
			}
			if why := directiveProblem(fields); why != "" {
				problems = append(problems, "go.mod: "+why)
			}
		}
	}
	return problems
}

func directiveProblem(fields []string) string {
	switch fields[0] {
	case "require":
		if _, ok := requirements[fields[1]]; !ok {
			return fields[1] + " is not in the list of requirements"
		}
	case "replace", "exclude":
		// Only the main module's are obeyed: users would build something else.
		return "no " + fields[0] + " in the root module"
	}
	return ""
}

func testImportProblems(t *tree, f *file) []string {
	var problems []string
	for _, spec := range f.ast.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		for module, use := range requirements {
			if use == inTests && match(module+"/...", path) {
				problems = append(problems, fmt.Sprintf("%s imports %s, which is for tests only", t.at(f, spec), path))
			}
		}
	}
	return problems
}

func TestRequirementProblems(t *testing.T) {
	t.Parallel()
	const head = "module " + modulePath + "\n\ngo 1.25\n\n"
	checkExamples(t, requirementProblems, []example{
		{"nothing is required", map[string]string{"go.mod": head}, nil},
		{"a listed module", map[string]string{"go.mod": head + "require pgregory.net/rapid v1.2.0 // why\n"}, nil},
		{"another one", map[string]string{"go.mod": head + "require example.com/x v1.2.0\n"}, []string{"example.com/x"}},
		{"a block, indirect too", map[string]string{
			"go.mod": head + "require (\n\tgo.uber.org/goleak v1.3.0\n\texample.com/y v1.2.0 // indirect\n)\n",
		}, []string{"example.com/y"}},
		{"a replace", map[string]string{"go.mod": head + "replace example.com/x => ../x\n"}, []string{"no replace"}},
		{"a nested module may", map[string]string{"bench/go.mod": head + "require example.com/x v1.2.0\n"}, nil},
		{"a test module in code", map[string]string{
			"resp3/a.go":      "package resp3\n\nimport _ \"go.uber.org/goleak\"\n",
			"resp3/a_test.go": "package resp3\n\nimport _ \"go.uber.org/goleak\"\n",
		}, []string{"resp3/a.go:3"}},
	})
}
