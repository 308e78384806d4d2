package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redisx/redisx/internal/servers"
)

// source is where a flavor comes from.
type source struct {
	suite    string
	packages []string // the server's own; the last one holds the binary
}

var (
	redisPackages  = []string{"redis-server", "redis-tools"}
	valkeyPackages = []string{"valkey-server", "valkey-tools"}

	sources = map[servers.Flavor]source{
		servers.Redis70:  {"bookworm", redisPackages},
		servers.Redis80:  {"trixie", redisPackages},
		servers.Valkey80: {"bookworm-backports", valkeyPackages},
		servers.Valkey81: {"trixie", valkeyPackages},
		servers.Valkey91: {"forky", valkeyPackages},
	}
)

// libraries are what the servers load; loader and libraries must be of one
// release.
func libraries(suite string) []string {
	ssl := "libssl3t64"
	if strings.HasPrefix(suite, "bookworm") {
		ssl = "libssl3"
	}
	return []string{
		"libc6", "libatomic1", "libgcc-s1", "libstdc++6", "libjemalloc2", "liblzf1",
		ssl, "libsystemd0", "libcap2", "libzstd1", "zlib1g", "liblzma5", "liblz4-1", "libgcrypt20", "libgpg-error0",
	}
}

// keyring holds the keys that Debian signs its releases with.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// apt is a private apt tree on one Debian release.
type apt struct {
	suite string
	dir   string
	env   []string
}

// openApt makes the tree and reads the release's index.
func openApt(ctx context.Context, suite string) (*apt, error) {
	for _, tool := range []string{"apt-get", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, errors.New("not a Debian machine: there is no " + tool)
		}
	}
	if _, err := os.Stat(keyring); err != nil {
		return nil, fmt.Errorf("not a Debian machine: %w", err)
	}
	mirrors, err := mirrors(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redisx-apt-")
	if err != nil {
		return nil, err
	}
	a := &apt{suite: suite, dir: dir, env: append(os.Environ(), "LC_ALL=C", "APT_CONFIG="+filepath.Join(dir, "apt.conf"))}
	if err := a.open(ctx, mirrors); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *apt) open(ctx context.Context, m mirror) error {
	network, err := output(ctx, os.Environ(), "apt-config", "dump")
	if err != nil {
		return err
	}
	for _, sub := range []string{"etc/sources.list.d", "etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, sub), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"status":           "",
		"apt.conf":         a.config(network),
		"etc/sources.list": a.sources(m),
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	args := []string{"update", "-q", "--error-on=any"}
	if a.suite == "forky" { // a testing release that nobody has signed anew for a while is still a test
		args = append(args, "-o", "Acquire::Check-Valid-Until=false")
	}
	_, err = output(ctx, a.env, "apt-get", args...)
	return err
}

// config is the tree's apt.conf: its own folders, the machine's own way to the
// network.
func (a *apt) config(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		if strings.HasPrefix(line, "Acquire::http") {
			b.WriteString(line)
		}
	}
	for _, kv := range [][2]string{
		{"Dir::Etc", filepath.Join(a.dir, "etc")},
		{"Dir::Etc::sourcelist", filepath.Join(a.dir, "etc/sources.list")},
		{"Dir::Etc::sourceparts", filepath.Join(a.dir, "etc/sources.list.d")},
		{"Dir::Etc::parts", filepath.Join(a.dir, "etc/apt.conf.d")},
		{"Dir::State", filepath.Join(a.dir, "state")},
		{"Dir::State::status", filepath.Join(a.dir, "status")},
		{"Dir::Cache", filepath.Join(a.dir, "cache")},
		{"Acquire::Languages", "none"},
		{"Acquire::Retries", "3"},
		{"Acquire::GzipIndexes", "true"},
		{"APT::Sandbox::User", "root"},
	} {
		fmt.Fprintf(&b, "%s %q;\n", kv[0], kv[1])
	}
	return b.String()
}

func (a *apt) sources(m mirror) string {
	line := func(uri, suite string) string {
		return fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, uri, suite)
	}
	base, _, _ := strings.Cut(a.suite, "-")
	text := line(m.main, base)
	if base != a.suite {
		text += line(m.main, a.suite)
	}
	if m.security != "" && base != "forky" {
		text += line(m.security, base+"-security")
	}
	return text
}

func (a *apt) close() { os.RemoveAll(a.dir) }

// mirror is where this machine gets Debian from.
type mirror struct{ main, security string }

// mirrors reads the machine's own sources.
func mirrors(ctx context.Context) (mirror, error) {
	out, err := output(ctx, os.Environ(), "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
	if err != nil {
		return mirror{}, err
	}
	return parseMirrors(out)
}

// parseMirrors reads lines of "address release component". Other archives than
// Debian's have releases of other names.
func parseMirrors(targets string) (mirror, error) {
	var m mirror
	for line := range strings.Lines(targets) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "main" {
			continue
		}
		release, security := strings.CutSuffix(fields[1], "-security")
		if !slices.Contains(releases, release) {
			continue
		}
		if security && m.security == "" {
			m.security = fields[0]
		} else if !security && m.main == "" {
			m.main = fields[0]
		}
	}
	if m.main == "" {
		return m, errors.New("not a Debian machine: its apt sources name no release of Debian")
	}
	return m, nil
}

var releases = []string{"bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable"}

// output runs a command and returns what it printed; an error holds the first
// thing it complained of.
func output(ctx context.Context, env []string, name string, args ...string) (string, error) {
	return outputIn(ctx, "", env, name, args...)
}

func outputIn(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, complaint(stderr.String()))
	}
	return string(out), nil
}

// complaint returns the first line that apt marks as an error, else the last one.
func complaint(stderr string) string {
	last := ""
	for line := range strings.Lines(stderr) {
		last = strings.TrimSpace(line)
		if strings.HasPrefix(last, "E: ") {
			break
		}
	}
	return last
}
