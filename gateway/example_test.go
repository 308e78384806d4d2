//go:build !js

package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/gateway"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/transport"
)

// address is where the example's Redis is.
var address = "127.0.0.1:6379"

func ExampleHandler() {
	const token = "4f1c8a6e0d9b2735"
	relay := &gateway.Handler{
		Dial:      gateway.To(transport.Net{}, "tcp", address),
		Authorize: gateway.Bearer(token),
	}
	mux := http.NewServeMux()
	mux.Handle("/redis", relay)
	server := httptest.NewServer(mux) // yours is an http.Server, under TLS
	defer server.Close()
	defer relay.Close() // Shutdown does not know of WebSockets

	ctx := context.Background()
	cfg, err := redisx.ParseURL("ws://" + server.Listener.Addr().String() + "/redis")
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.Header = map[string]redisx.Secret{"Authorization": "Bearer " + token}
	client, err := redisx.ConnectConfig(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(client.Ping(ctx))
	fmt.Println(relay.Stats().Open)
}

func TestTheExampleRelays(t *testing.T) {
	address = serverstest.Start(t).Addr
	if got, want := serverstest.Printed(t, ExampleHandler), "PONG <nil>\n1\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}
