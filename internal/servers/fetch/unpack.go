package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/redisx/redisx/internal/servers"
)

// triplets name the folders of libraries of the architectures we know.
var triplets = map[string]struct{ lib, loader string }{
	"amd64": {"x86_64-linux-gnu", "ld-linux-x86-64.so.2"},
	"arm64": {"aarch64-linux-gnu", "ld-linux-aarch64.so.1"},
}

// fetch downloads a flavor, unpacks it, tries it and puts it into the cache. It
// returns the version of the package.
func (a *apt) fetch(ctx context.Context, f servers.Flavor) (string, error) {
	debs, err := a.download(ctx, f)
	if err != nil {
		return "", err
	}
	version := packageVersion(debs, sources[f].packages[0])
	if version == "" {
		return "", errors.New("apt-get did not download " + sources[f].packages[0])
	}
	cache, err := servers.Cache()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	// Built beside its place and moved there in one step: other processes see
	// a whole server or none.
	building, err := os.MkdirTemp(cache, ".building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(building)
	if err := a.build(ctx, f, debs, building); err != nil {
		return "", err
	}
	final := filepath.Join(cache, f.Folder(version))
	if err := os.Rename(building, final); err != nil {
		if _, missing := os.Stat(final); missing != nil {
			return "", err
		} // else another fetch was faster
	}
	return version, nil
}

func (a *apt) download(ctx context.Context, f servers.Flavor) ([]string, error) {
	dir := filepath.Join(a.dir, "cache", f.Folder("debs"))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	packages := append(libraries(a.suite), sources[f].packages...)
	if _, err := outputIn(ctx, dir, a.env, "apt-get", append([]string{"download", "-q"}, packages...)...); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(dir, "*.deb"))
}

// build makes a server out of packages and checks that it is the right one.
func (a *apt) build(ctx context.Context, f servers.Flavor, debs []string, dir string) error {
	root := filepath.Join(dir, "root")
	for _, deb := range debs {
		if _, err := output(ctx, a.env, "dpkg-deb", "-x", deb, root); err != nil {
			return err
		}
	}
	script, err := script(root, f.Program())
	if err != nil {
		return err
	}
	b := servers.Binary{Path: filepath.Join(dir, f.Program())}
	if err := os.WriteFile(b.Path, []byte(script), 0o755); err != nil {
		return err
	}
	says, err := b.Version(ctx)
	if err != nil {
		return fmt.Errorf("it does not run: %w", err)
	}
	if !strings.HasPrefix(strings.ToLower(says), string(f)+".") {
		return fmt.Errorf("Debian %s has %s now", a.suite, says)
	}
	return os.Chmod(dir, 0o755) // MkdirTemp makes it for us alone
}

// script returns the shell script, beside root, that runs a program on the
// libraries of its own release: those of the machine may be older than it
// needs. Older releases keep some of them in /lib.
func script(root, program string) (string, error) {
	t, ok := triplets[runtime.GOARCH]
	if !ok {
		return "", errors.New("no recipe for " + runtime.GOARCH)
	}
	for _, lib := range []string{"usr/lib", "lib"} {
		loader := lib + "/" + t.lib + "/" + t.loader
		if _, err := os.Stat(filepath.Join(root, loader)); err == nil {
			return fmt.Sprintf("#!/bin/sh\nroot=\"${0%%/*}/root\"\nexec \"$root/%s\" --library-path \"$root/usr/lib/%[2]s:$root/lib/%[2]s\" --argv0 %[3]s \"$root/usr/bin/%[3]s\" \"$@\"\n",
				loader, t.lib, program), nil
		}
	}
	return "", errors.New("the packages hold no loader " + t.loader)
}

// packageVersion returns the version in the name of a package's file, such as
// redis-server_5%3a8.0.2-3_amd64.deb, without the epoch.
func packageVersion(debs []string, name string) string {
	for _, deb := range debs {
		parts := strings.Split(filepath.Base(deb), "_")
		if len(parts) != 3 || parts[0] != name {
			continue
		}
		version := parts[1]
		if _, after, ok := strings.Cut(version, "%3a"); ok {
			version = after
		}
		return version
	}
	return ""
}
