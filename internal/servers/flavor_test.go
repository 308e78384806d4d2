package servers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is an executable that calls itself a server of some version.
func program(t *testing.T, dir, name, says string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFlavorIsFoundByItsVersion(t *testing.T) {
	path, home := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", home)
	t.Setenv("HOME", home)
	cache, err := Cache()
	if err != nil {
		t.Fatal(err)
	}
	onPath := program(t, path, "redis-server", "Redis server v=8.0.2 sha=0")
	older := program(t, filepath.Join(cache, Redis70.Folder("7.0.9")), "redis-server", "")
	newer := program(t, filepath.Join(cache, Redis70.Folder("7.0.15")), "redis-server", "")
	if err := os.Chtimes(older, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}

	for f, want := range map[Flavor]string{Redis80: onPath, Redis70: newer} {
		if got, err := f.Find(t.Context()); err != nil || got.Path != want {
			t.Errorf("%s: found %q, %v, want %q", f, got.Path, err, want)
		}
	}
	_, err = Flavor("redis 6.2").Find(t.Context())
	var missing *MissingError
	if !errors.Is(err, ErrNotFound) || !errors.As(err, &missing) || missing.Flavor != "redis 6.2" {
		t.Errorf("a flavor that is nowhere: %v", err)
	}
	if got := Available(t.Context()); len(got) != 2 {
		t.Errorf("available: %v", got)
	}
}

func TestAFlavorThatWasFetchedRuns(t *testing.T) {
	t.Parallel()
	for _, f := range Available(t.Context()) {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			s := launch(t, Options{Flavor: f})
			pid := s.Pid()
			if got := dial(t, "unix", s.Socket).do("PING"); got != "+PONG" {
				t.Errorf("PING = %q", got)
			}
			if err := s.Pause(); err != nil {
				t.Fatal(err)
			}
			if err := s.Restart(t.Context()); err != nil || s.Pid() == pid {
				t.Errorf("Restart: %v, pid %d was %d", err, s.Pid(), pid)
			}
			v, err := s.opts.Binary.Version(t.Context())
			if err != nil || !strings.HasPrefix(strings.ToLower(v), string(f)+".") {
				t.Errorf("it is %q, %v", v, err)
			}
		})
	}
}
