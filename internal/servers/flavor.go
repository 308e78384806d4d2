package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// Flavor is a line of servers: a name and a minor version, such as "redis 8.0".
type Flavor string

// The flavors that tests may ask for.
const (
	Redis70  Flavor = "redis 7.0"
	Redis80  Flavor = "redis 8.0"
	Valkey80 Flavor = "valkey 8.0"
	Valkey81 Flavor = "valkey 8.1"
	Valkey91 Flavor = "valkey 9.1"
)

// Required returns the flavors that CI does not go on without.
func Required() []Flavor { return []Flavor{Redis70, Redis80, Valkey81} }

// Known returns all flavors: the required ones, then those that are nice to
// have. `go run ./internal/servers/fetch -all` gets them.
func Known() []Flavor { return append(Required(), Valkey80, Valkey91) }

// Program returns the name of the flavor's executable.
func (f Flavor) Program() string {
	name, _, _ := strings.Cut(string(f), " ")
	return name + "-server"
}

// Find returns the binary of the flavor: from PATH if its version fits, else
// what the fetch command has put into the Cache, else ErrNotFound.
func (f Flavor) Find(ctx context.Context) (Binary, error) {
	if path, err := exec.LookPath(f.Program()); err == nil {
		if b, err := absolute(path); err == nil && f.is(ctx, b) {
			return b, nil
		}
	}
	cache, err := Cache()
	if err != nil {
		return Binary{}, fmt.Errorf("%w: %w", &MissingError{Flavor: f}, err)
	}
	var newest Binary
	var at int64
	paths, _ := filepath.Glob(filepath.Join(cache, f.Folder("*"), f.Program())) // the pattern is well formed
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.ModTime().UnixNano() >= at {
			newest, at = Binary{Path: path}, info.ModTime().UnixNano()
		}
	}
	if newest == (Binary{}) {
		return Binary{}, &MissingError{Flavor: f}
	}
	return newest, nil
}

// MissingError reports that this machine has no server of a flavor. It is an
// ErrNotFound.
type MissingError struct{ Flavor Flavor }

// Error names the flavor.
func (e *MissingError) Error() string { return fmt.Sprintf("servers: no %s on this machine", e.Flavor) }

// Is makes it an ErrNotFound.
func (e *MissingError) Is(err error) bool { return err == ErrNotFound }

// Folder returns the name of the flavor's folder in the Cache, for a version of
// the package that holds it.
func (f Flavor) Folder(version string) string {
	return strings.ReplaceAll(string(f), " ", "-") + "_" + version + "_" + runtime.GOARCH
}

// Cache returns the folder that fetched servers are kept in. Removing it costs
// nothing but fetching them again.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("servers: %w", err)
	}
	return filepath.Join(dir, "redisx", "servers"), nil
}

// versions remembers what binaries said of themselves, by path.
var versions sync.Map

func (f Flavor) is(ctx context.Context, b Binary) bool {
	v, ok := versions.Load(b)
	if !ok {
		version, err := b.Version(ctx)
		if err != nil {
			return false
		}
		v, _ = versions.LoadOrStore(b, version)
	}
	return strings.HasPrefix(strings.ToLower(v.(string)), string(f)+".")
}

// Available returns the known flavors that this machine has.
func Available(ctx context.Context) []Flavor {
	var fs []Flavor
	for _, f := range Known() {
		if _, err := f.Find(ctx); err == nil {
			fs = append(fs, f)
		}
	}
	return fs
}
