package dstest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// What a child process is to be.
const (
	envRole = "REDISX_TEST_ROLE"
	envURL  = "REDISX_TEST_URL"
)

// Roles are what processes of a test binary can be, by name. Each gets the URL
// of its server and returns the exit code of its process.
type Roles map[string]func(url string) int

// Play plays the role, and ends the process, in one that Process has started. In
// others it does nothing. It is to be the first call of a TestMain.
func Play(roles Roles) {
	role := os.Getenv(envRole)
	if role == "" {
		return
	}
	go func() { // a child ends when its parent does, however that ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()
	play, ok := roles[role]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(1)
	}
	os.Exit(play(os.Getenv(envURL)))
}

// Process starts this test binary in a role, with further variables in its
// environment. It ends with the test.
func Process(t testing.TB, role, url string, env ...string) *exec.Cmd {
	t.Helper()
	p := exec.Command(os.Args[0])
	p.Env = append(append(os.Environ(), envRole+"="+role, envURL+"="+url), env...)
	p.Stderr = os.Stderr
	if _, err := p.StdinPipe(); err != nil { // it is closed when this process ends
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Kill(p) })
	return p
}

// Kill is kill -9, and the wait for the end. It may be called again.
func Kill(p *exec.Cmd) {
	_ = p.Process.Kill()
	_ = p.Wait()
}
