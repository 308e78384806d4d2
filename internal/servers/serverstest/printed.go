package serverstest

import (
	"io"
	"os"
	"testing"
)

// Printed runs f and returns what it wrote to the standard output. Examples
// that need a server cannot have an Output comment, as nothing gives them one;
// a test runs them with it. Not for parallel tests.
func Printed(t testing.TB, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	func() {
		defer func() { os.Stdout = stdout; w.Close() }()
		f()
	}()
	out, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
