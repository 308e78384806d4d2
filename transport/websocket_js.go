package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/coder/websocket"
)

var errBrowser = errors.New("transport: a WebSocket of a browser takes no Header, TLS, ServerName or Under")

func (w WebSocket) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	if len(w.Header) > 0 || w.TLS != nil || w.ServerName != "" || w.Under != nil {
		return nil, errBrowser
	}
	ws, _, err := websocket.Dial(ctx, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("transport: WebSocket with %s: %w", u.Host, err)
	}
	return newWebSocketStream(ws, nil, name("browser"), name(u.Host)), nil
}

// name is an address of which nothing but its name is known.
type name string

func (name) Network() string  { return "ws" }
func (n name) String() string { return string(n) }
