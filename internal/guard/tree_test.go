package guard

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// tree is the repository: its text files, parsed where they are Go.
type tree struct {
	fset  *token.FileSet
	files []*file
	paths map[string]bool // every file and folder
}

type file struct {
	path string // slash-separated, from the root of the repository
	src  string
	ast  *ast.File // nil unless Go
}

func (f *file) dir() string  { return path.Dir(f.path) }
func (f *file) test() bool   { return strings.HasSuffix(f.path, "_test.go") }
func (f *file) lines() int   { return strings.Count(f.src, "\n") }
func (f *file) main() bool   { return f.ast.Name.Name == "main" }
func (f *file) hidden() bool { return slices.Contains(strings.Split(f.path, "/"), "internal") }

var generatedHeader = regexp.MustCompile(`\A// Code generated .* DO NOT EDIT\.\n`)

func (f *file) generated() bool { return generatedHeader.MatchString(f.src) }

func (t *tree) goFiles(yield func(*file) bool) {
	for _, f := range t.files {
		if f.ast != nil && !yield(f) {
			return
		}
	}
}

func (t *tree) at(f *file, n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.path, t.fset.Position(n.Pos()).Line)
}

// maxText keeps data files out; no text here comes near it.
const maxText = 4 << 20

func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), paths: map[string]bool{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if skipped(name, d) {
			return fs.SkipDir
		}
		t.paths[name] = true
		if !d.Type().IsRegular() {
			return nil
		}
		return t.add(fsys, name)
	})
	return t, err
}

// skipped are folders that are not part of the repository.
func skipped(name string, d fs.DirEntry) bool {
	base := path.Base(name)
	hidden := strings.HasPrefix(base, ".") && base != "." && base != ".ci" && base != ".github"
	return d.IsDir() && (hidden || name == "bin")
}

func (t *tree) add(fsys fs.FS, name string) error {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if len(src) > maxText || !utf8.Valid(src) || bytes.IndexByte(src, 0) >= 0 {
		return nil
	}
	f := &file{path: name, src: string(src)}
	if strings.HasSuffix(name, ".go") && !strings.Contains(name, "testdata/") {
		f.ast, err = parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
	}
	t.files = append(t.files, f)
	return nil
}

const root = "../.."

var repository = sync.OnceValues(func() (*tree, error) { return load(os.DirFS(root)) })

// checkRepository fails the test for each problem that the rule finds.
func checkRepository(t *testing.T, rule func(*tree) []string) {
	t.Helper()
	tree, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range rule(tree) {
		t.Error(problem)
	}
}

// example is a small tree and what a rule says about it.
type example struct {
	name  string
	files map[string]string
	want  []string // a part of each problem, in order; none: the tree is good
}

func checkExamples(t *testing.T, rule func(*tree) []string, examples []example) {
	t.Helper()
	for _, tt := range examples {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for name, src := range tt.files {
				fsys[name] = &fstest.MapFile{Data: []byte(src)}
			}
			tree, err := load(fsys)
			if err != nil {
				t.Fatal(err)
			}
			got := rule(tree)
			if len(got) != len(tt.want) {
				t.Fatalf("problems:\n%s\nwant %d", strings.Join(got, "\n"), len(tt.want))
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("problem %q does not mention %q", got[i], want)
				}
			}
		})
	}
}

func TestTreeHoldsTheRepository(t *testing.T) {
	tree, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.work", "Makefile", ".ci/run", "internal/guard/policy_test.go"} {
		if !tree.paths[name] {
			t.Errorf("%s was not read", name)
		}
	}
	if tree.paths[".git"] {
		t.Error(".git was read")
	}
}
