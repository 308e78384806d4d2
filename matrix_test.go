package redisx_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/gateway"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/transport"
)

// way is one way to a server.
type way struct {
	name   string
	config func(t *testing.T, s *servers.Server) redisx.Config
}

var ways = []way{
	{"tcp", func(_ *testing.T, s *servers.Server) redisx.Config { return redisx.Config{Addr: s.Addr} }},
	{"unix", func(_ *testing.T, s *servers.Server) redisx.Config {
		return redisx.Config{Network: "unix", Addr: s.Socket}
	}},
	{"tls", func(_ *testing.T, s *servers.Server) redisx.Config {
		return redisx.Config{Addr: s.TLSAddr, TLS: s.TLSConfig()}
	}},
	{"ws", func(t *testing.T, s *servers.Server) redisx.Config {
		return redisx.Config{Network: "ws", Addr: startGateway(t, s.Addr, nil)}
	}},
	{"wss", func(t *testing.T, s *servers.Server) redisx.Config {
		c := s.Certificates
		pair, err := tls.LoadX509KeyPair(c.Server, c.ServerKey)
		if err != nil {
			t.Fatal(err)
		}
		return redisx.Config{
			Network: "wss", TLS: s.TLSConfig(),
			Addr: startGateway(t, s.Addr, &tls.Config{Certificates: []tls.Certificate{pair}}),
		}
	}},
}

// side is one square of the matrix: the rules do not ask which.
type side struct {
	client *redisx.Client
	admin  *redisx.Client // of the same server, another way
	config redisx.Config
	prefix string
}

// key returns a name that nothing else uses.
func (s *side) key(name string) string { return s.prefix + name }

// call bounds a test's calls: nothing here takes long.
func call(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestEveryServerServesTheSameEveryWay is the promise that the code of a user
// does not depend on the server, its protocol or the way there.
func TestEveryServerServesTheSameEveryWay(t *testing.T) {
	eachServer(t, func(t *testing.T, f servers.Flavor) {
		t.Parallel() // much of it is waiting
		srv := serverstest.Start(t, servers.Options{Flavor: f, TLS: &servers.TLS{Mutual: true}})
		admin := connect(t, srv.SocketURL())
		for _, w := range ways {
			for _, resp2 := range []bool{false, true} {
				name := w.name + fmt.Sprintf("/RESP%d", map[bool]int{false: 3, true: 2}[resp2])
				t.Run(name, func(t *testing.T) {
					cfg := w.config(t, srv)
					cfg.RESP2 = resp2
					ctx := call(t)
					client, err := redisx.ConnectConfig(ctx, cfg)
					if err != nil {
						t.Fatal(err)
					}
					defer client.Close()
					s := &side{client: client, admin: admin, config: cfg, prefix: name + ":"}
					for _, rule := range rules {
						t.Run(rule.name, func(t *testing.T) { rule.holds(t, s) })
					}
				})
			}
		}
	})
}

// equal fails unless a call had no error and returned what was expected.
func equal[T comparable](t *testing.T, what string, got T, err error, want T) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("%s: %v, %v, want %v", what, short(got), err, short(want))
	}
}

// same is equal for what is only comparable as text.
func same(t *testing.T, what string, got any, err error, want any) {
	t.Helper()
	equal(t, what, fmt.Sprintf("%+v", got), err, fmt.Sprintf("%+v", want))
}

func short(v any) string {
	s := fmt.Sprintf("%+q", fmt.Sprint(v))
	if len(s) > 200 {
		s = fmt.Sprintf("%s… (%d bytes)", s[:200], len(s))
	}
	return s
}

// startGateway lets WebSockets through to a server, and returns where it is.
func startGateway(t *testing.T, to string, config *tls.Config) string {
	t.Helper()
	g := &gateway.Handler{Dial: gateway.To(transport.Net{}, "tcp", to)}
	web := httptest.NewUnstartedServer(g)
	if web.TLS = config; config != nil {
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(func() {
		g.Close()
		web.Close()
	})
	return web.Listener.Addr().String() + "/"
}
