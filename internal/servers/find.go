package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// EnvBinary names the environment variable that overrides the search on PATH.
const EnvBinary = "REDISX_TEST_SERVER"

// ErrNotFound reports that this machine has no server binary.
var ErrNotFound = errors.New("servers: no redis-server or valkey-server on PATH")

// Binary is the executable of a server.
type Binary struct {
	Path string
}

// Find returns the binary that REDISX_TEST_SERVER names, else redis-server or
// valkey-server from PATH, else ErrNotFound.
func Find() (Binary, error) {
	if name := os.Getenv(EnvBinary); name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return Binary{}, fmt.Errorf("servers: %s: %w", EnvBinary, err)
		}
		return absolute(path)
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return absolute(path)
		}
	}
	return Binary{}, ErrNotFound
}

// absolute keeps the path valid in the server's own working directory.
func absolute(path string) (Binary, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Binary{}, fmt.Errorf("servers: %w", err)
	}
	return Binary{Path: abs}, nil
}

// Version asks the binary for its name and version, such as "Redis 7.0.15".
func (b Binary) Version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, b.Path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("servers: %s --version: %w", b.Path, err)
	}
	return parseVersion(string(out))
}

// parseVersion reads "Redis server v=7.0.15 sha=…", as Valkey writes it too.
func parseVersion(out string) (string, error) {
	fields := strings.Fields(out)
	for _, f := range fields {
		if v, ok := strings.CutPrefix(f, "v="); ok {
			return fields[0] + " " + v, nil
		}
	}
	return "", fmt.Errorf("servers: no version in %q", out)
}
