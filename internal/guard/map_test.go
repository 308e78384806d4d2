package guard

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestFileMap(t *testing.T) { checkRepository(t, mapProblems) }

const fileMap = "docs/design/internals.md"

var mapRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// mapProblems compares the file map with the packages of the tree. A nested
// module needs one row; what is in it is its own affair.
func mapProblems(t *tree) []string {
	packages, rows := map[string]bool{}, map[string]bool{}
	for _, f := range t.files {
		switch {
		case f.path == fileMap:
			for _, m := range mapRow.FindAllStringSubmatch(f.src, -1) {
				rows[m[1]] = true
			}
		case f.ast != nil && !isNested(f.dir()):
			packages[f.dir()] = true
		}
	}
	var problems []string
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		if !rows[dir] {
			problems = append(problems, fileMap+": no row for "+dir)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(rows)) {
		if !t.paths[strings.TrimSuffix(dir, "/")] {
			problems = append(problems, fileMap+": no folder "+dir)
		}
	}
	return problems
}

func TestMapProblems(t *testing.T) {
	t.Parallel()
	const row = "| folder | holds |\n|---|---|\n| `resp3` | frames |\n"
	checkExamples(t, mapProblems, []example{
		{"complete", map[string]string{fileMap: row, "resp3/a.go": "package resp3\n", "bench/x/a.go": "package x\n"}, nil},
		{"a package without a row", map[string]string{fileMap: row, "resp3/a.go": "package resp3\n", "command/a.go": "package command\n"}, []string{"no row for command"}},
		{"a row without a folder", map[string]string{fileMap: row}, []string{"no folder resp3"}},
	})
}
