package backend

import (
	"context"
	"errors"
	"fmt"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers"
)

// Backend is a server to play on.
type Backend struct {
	URL  string   // with the password, if there is one: not for printing
	Name string   // what it is, in words
	Off  []string // what it cannot do, in words

	close func() error
}

// Open picks the backend: url if there is one, else a private server from
// PATH, else the embedded one. embedded picks that in any case.
func Open(ctx context.Context, url string, embedded bool) (*Backend, error) {
	switch {
	case embedded:
		return openEmbedded("as asked")
	case url != "":
		return &Backend{URL: url, Name: "the server at " + redact(url), close: func() error { return nil }}, nil
	}
	bin, err := servers.Find()
	if errors.Is(err, servers.ErrNotFound) {
		return openEmbedded("as neither redis-server nor valkey-server is on PATH")
	}
	if err != nil {
		return nil, err
	}
	version, err := bin.Version(ctx)
	if err != nil {
		return nil, err
	}
	s, err := servers.Launch(ctx, servers.Options{Binary: bin})
	if err != nil {
		return nil, err
	}
	return &Backend{
		URL:   s.URL(),
		Name:  fmt.Sprintf("%s, private, at %s", version, s.Addr),
		close: s.Close,
	}, nil
}

// redact returns the address in a URL, never its credentials.
func redact(url string) string {
	cfg, err := redisx.ParseURL(url)
	if err != nil {
		return "a URL that cannot be parsed"
	}
	return cfg.Addr
}

// Close ends what Open started.
func (b *Backend) Close() error { return b.close() }
