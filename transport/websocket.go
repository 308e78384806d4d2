package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// WebSocket carries the stream in the binary messages of a WebSocket (RFC
// 6455), as through package gateway. The network is "ws" or "wss", the address
// host:port/path; the port may be left out.
//
// Messages mean nothing: their boundaries are lost, and a message of any size is
// taken in pieces. Text messages end the stream. Redirects are not followed, as
// Header may hold credentials.
type WebSocket struct {
	// Under opens the stream below, with network "tcp". Nil means Net{}.
	Under Dialer
	// TLS configures wss, as Config does in type TLS.
	TLS *tls.Config
	// ServerName is the name that the certificate must be for, as in type TLS.
	ServerName string
	// Header is sent with the upgrade, such as Authorization.
	Header http.Header
}

// Dial opens the stream and upgrades it, both under ctx. A server that answers
// the upgrade with another status is an *UpgradeError.
func (w WebSocket) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "ws" && network != "wss" {
		return nil, fmt.Errorf("transport: network %q is neither ws nor wss", network)
	}
	u, err := url.Parse(network + "://" + address)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return nil, fmt.Errorf("transport: a WebSocket address is host:port/path")
	}
	return w.dial(ctx, u)
}

// UpgradeError reports a server that answered, but did not upgrade to a
// WebSocket.
type UpgradeError struct {
	Address string // host:port
	Status  int    // of HTTP, such as 403
}

// Error names the address and the status.
func (e *UpgradeError) Error() string {
	return fmt.Sprintf("transport: %s answered the WebSocket upgrade with %d %s", e.Address, e.Status, http.StatusText(e.Status))
}
