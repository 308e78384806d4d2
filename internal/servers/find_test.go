package servers

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func executable(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	empty, valkey, both := t.TempDir(), t.TempDir(), t.TempDir()
	onlyValkey := executable(t, valkey, "valkey-server")
	executable(t, both, "valkey-server")
	redis := executable(t, both, "redis-server")

	for _, tt := range []struct {
		name, path, env, want string
		err                   error
	}{
		{"an empty PATH has no server", empty, "", "", ErrNotFound},
		{"valkey is found", valkey, "", onlyValkey, nil},
		{"redis comes first", both, "", redis, nil},
		{"the environment comes before PATH", both, onlyValkey, onlyValkey, nil},
		{"a wrong name in the environment is an error", both, filepath.Join(empty, "none"), "", os.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			t.Setenv(EnvBinary, tt.env)
			got, err := Find()
			if got.Path != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Find() = %q, %v, want %q, %v", got.Path, err, tt.want, tt.err)
			}
		})
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]string{
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64":   "Redis 7.0.15",
		"Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64\n": "Valkey 8.1.1",
		"something else": "",
	} {
		got, err := parseVersion(out)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("parseVersion(%q) = %q, %v, want %q", out, got, err, want)
		}
	}
}
