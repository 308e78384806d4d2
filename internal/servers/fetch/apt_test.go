package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/redisx/redisx/internal/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheMirrorIsTheMachinesOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, targets string
		want          mirror
	}{
		{"nothing", "", mirror{}},
		{"another system", "http://a.example/ubuntu/ noble main\n", mirror{}},
		{"another archive is not Debian's", "http://a.example/apt/ cloud-bookworm main\nhttp://m.example/debian/ bookworm main\n", mirror{main: "http://m.example/debian/"}},
		{"main and security", "http://m.example/debian/ bookworm main\nhttp://m.example/debian/ bookworm-updates main\nhttp://s.example/sec/ bookworm-security main\n", mirror{"http://m.example/debian/", "http://s.example/sec/"}},
		{"a line that is none", "http://m.example/debian/ bookworm\n", mirror{}},
	} {
		got, err := parseMirrors(tt.targets)
		if got != tt.want || (err == nil) != (tt.want != mirror{}) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestAPrivateTreeTouchesNothingOfTheSystem(t *testing.T) {
	t.Parallel()
	a := &apt{suite: "trixie", dir: "/private"}
	conf := a.config("Dir \"/\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::https::Verify-Peer \"true\";\n")
	for line := range strings.Lines(conf) {
		if strings.HasPrefix(line, "Dir") && !strings.Contains(line, a.dir+"/") {
			t.Errorf("a folder outside the tree: %s", line)
		}
	}
	if !strings.Contains(conf, "proxy.example") {
		t.Error("the machine's proxy is lost")
	}
}

func TestSourcesAreSigned(t *testing.T) {
	t.Parallel()
	m := mirror{"http://m.example/debian/", "http://s.example/sec/"}
	for suite, want := range map[string]string{
		"trixie":             "http://m.example/debian/ trixie main,http://s.example/sec/ trixie-security main",
		"bookworm-backports": "http://m.example/debian/ bookworm main,http://m.example/debian/ bookworm-backports main,http://s.example/sec/ bookworm-security main",
		"forky":              "http://m.example/debian/ forky main",
	} {
		var want1 string
		for source := range strings.SplitSeq(want, ",") {
			want1 += "deb [signed-by=" + keyring + "] " + source + "\n"
		}
		if got := (&apt{suite: suite}).sources(m); got != want1 {
			t.Errorf("%s: %s, want %s", suite, got, want1)
		}
	}
}

func TestPackageVersion(t *testing.T) {
	t.Parallel()
	debs := []string{"/d/libc6_2.41-12_amd64.deb", "/d/redis-server_5%3a8.0.2-3+deb13u3_amd64.deb", "/d/valkey-server_8.1.1+dfsg1-3_amd64.deb"}
	for name, want := range map[string]string{"redis-server": "8.0.2-3+deb13u3", "valkey-server": "8.1.1+dfsg1-3", "redis": ""} {
		if got := packageVersion(debs, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestEveryFlavorHasASource(t *testing.T) {
	t.Parallel()
	for _, f := range servers.Known() {
		s := sources[f]
		if s.suite == "" || s.packages[0] != f.Program() {
			t.Errorf("%s: %v", f, s)
		}
	}
}

func TestTheFirstComplaintIsTold(t *testing.T) {
	t.Parallel()
	for stderr, want := range map[string]string{
		"":                               "",
		"W: old\nE: no route\nE: more\n": "E: no route",
		"one\ntwo\n":                     "two",
	} {
		if got := complaint(stderr); got != want {
			t.Errorf("complaint(%q) = %q, want %q", stderr, got, want)
		}
	}
}

func TestTheScriptStaysWithItsTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := script(dir, "redis-server"); err == nil {
		t.Error("a tree without a loader has a script")
	}
	for _, triplet := range triplets {
		lib := filepath.Join(dir, "lib", triplet.lib)
		if err := os.MkdirAll(lib, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(lib, triplet.loader), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := script(dir, "redis-server")
	if err != nil || strings.Contains(got, dir) {
		t.Errorf("%s, %v: the tree is moved after it was built", got, err)
	}
}
