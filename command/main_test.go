package command_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// constructors returns the exported functions of the generated files that
// return a Cmd.
func constructors(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("gen_*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no generated files: %v", err)
	}
	out := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !fn.Name.IsExported() || fn.Type.Results == nil {
				continue
			}
			if x, ok := fn.Type.Results.List[0].Type.(*ast.IndexExpr); ok {
				if id, ok := x.X.(*ast.Ident); ok && id.Name == "Cmd" {
					out[fn.Name.Name] = true
				}
			}
		}
	}
	if len(out) < 150 {
		t.Fatalf("found only %d constructors", len(out))
	}
	return out
}
