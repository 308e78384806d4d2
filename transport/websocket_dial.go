//go:build !js

package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

// answerLimit bounds the header of the answer to an upgrade.
const answerLimit = 64 << 10

func (w WebSocket) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	dialer := under(w.Under)
	if u.Scheme == "wss" {
		dialer = TLS{Under: dialer, Config: w.TLS, ServerName: w.ServerName}
	}
	nc, err := dialer.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	ws, answer, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     &upgrade{nc},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:      w.Header.Clone(),
		CompressionMode: websocket.CompressionDisabled,
	})
	if stop() && err == nil {
		return newWebSocketStream(ws, nc, nc.LocalAddr(), nc.RemoteAddr()), nil
	}
	nc.Close()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("transport: WebSocket upgrade with %s: %w", address, ctx.Err())
	}
	if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, &UpgradeError{Address: address, Status: answer.StatusCode}
	}
	var withURL *url.Error
	if errors.As(err, &withURL) { // its text holds the URL
		err = withURL.Err
	}
	return nil, fmt.Errorf("transport: WebSocket upgrade with %s: %w", address, err)
}

// upgrade sends the one request that makes nc a WebSocket, on its caller's
// goroutine. An http.Transport would dial by itself, and outlive the context.
type upgrade struct{ nc net.Conn }

func (u *upgrade) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Write(u.nc); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: u.nc, N: answerLimit}
	br := bufio.NewReader(limited)
	answer, err := http.ReadResponse(br, r)
	if err != nil {
		if limited.N <= 0 {
			err = errLongAnswer
		}
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		answer.Body = http.NoBody // nobody waits for it
		return answer, nil
	}
	limited.N = math.MaxInt64
	answer.Body = struct {
		io.Reader
		io.Writer
		io.Closer
	}{br, u.nc, u.nc}
	return answer, nil
}

var errLongAnswer = errors.New("the header of the answer is longer than 64 KiB")
