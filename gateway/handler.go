package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/redisx/redisx/transport"
)

// ErrUnauthorized says that a request shows no valid credentials. Authorize
// returns it, wrapped or not, to have the client told so with 401.
var ErrUnauthorized = errors.New("gateway: no valid credentials")

// Handler relays WebSockets to Redis. It may serve many requests at once. Its
// fields must not change once it serves; fields but Dial that are zero, or
// negative without a meaning, take the defaults.
type Handler struct {
	// Dial opens the stream to Redis for one WebSocket; see To. It is called when
	// everything else about r was found right. Without it requests are answered
	// with 500.
	Dial func(ctx context.Context, r *http.Request) (net.Conn, error)
	// Hosts are the names, with or without a port, that requests may name as
	// their Host. Without any, these are all IP addresses and localhost, which no
	// attacker can point elsewhere.
	Hosts []string
	// Origins are the origins, such as https://app.example.com, of pages that may
	// connect beside those of the same origin. There are no patterns.
	Origins []string
	// Authorize says who may connect. An error that is ErrUnauthorized is
	// answered with 401, any other with 403; its text goes nowhere. Nil lets
	// everybody connect who passes the other checks.
	Authorize func(r *http.Request) error
	// MaxConns bounds the WebSockets that are open or being opened. Default 1024.
	MaxConns int
	// DialTimeout bounds Dial. Default 5 s.
	DialTimeout time.Duration
	// WriteTimeout is how long either side may take nothing of what is written to
	// it. Default 30 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long no byte may pass in either direction; pings do not
	// count. Default 10 min, negative for ever.
	IdleTimeout time.Duration
	// PingInterval is how often the client is pinged, and how long it may take to
	// answer. Default 30 s.
	PingInterval time.Duration
	// MaxMessage bounds one message of a client, in bytes. It does not take
	// memory. Default 16 MiB.
	MaxMessage int64

	mu     sync.Mutex
	closed bool
	taken  int // of MaxConns
	relays map[*relay]struct{}
	stats  Stats
	wg     sync.WaitGroup // of requests
}

// Stats counts what a Handler did.
type Stats struct {
	Open     int   // WebSockets now
	Accepted int64 // since the beginning
	Refused  int64 // requests that were not upgraded
}

// To returns a Dial that opens every stream to the same address.
func To(d transport.Dialer, network, address string) func(context.Context, *http.Request) (net.Conn, error) {
	return func(ctx context.Context, _ *http.Request) (net.Conn, error) { return d.Dial(ctx, network, address) }
}

// Bearer returns an Authorize that asks for the header "Authorization: Bearer
// token". It takes the same time for every wrong token. An empty token is never
// right.
func Bearer(token string) func(*http.Request) error {
	want := sha256.Sum256([]byte(token))
	return func(r *http.Request) error {
		headers := r.Header.Values("Authorization")
		if token == "" || len(headers) != 1 {
			return ErrUnauthorized
		}
		scheme, got, _ := strings.Cut(headers[0], " ")
		have := sha256.Sum256([]byte(got))
		if subtle.ConstantTimeCompare(have[:], want[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
			return ErrUnauthorized
		}
		return nil
	}
}

// ServeHTTP upgrades the request and relays until one side ends.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := h.check(r); status != 0 {
		h.refuse(w, status)
		return
	}
	if !h.take() {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, http.StatusServiceUnavailable)
		return
	}
	defer h.give()
	if h.Dial == nil {
		h.refuse(w, http.StatusInternalServerError)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), or(h.DialTimeout, 5*time.Second))
	nc, err := h.Dial(ctx, r)
	cancel()
	if err != nil {
		h.refuse(w, http.StatusBadGateway)
		return
	}
	defer nc.Close()
	c := &capture{ResponseWriter: w}
	ws, err := websocket.Accept(c, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // of the Origin: check did that
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil { // it was answered
		h.count(func(s *Stats) { s.Refused++ })
		return
	}
	ws.SetReadLimit(or(h.MaxMessage, 16<<20))
	idle := h.IdleTimeout
	if idle == 0 {
		idle = 10 * time.Minute
	}
	y := newRelay(ws, c.nc, nc, times{
		write: or(h.WriteTimeout, 30*time.Second), idle: idle, ping: or(h.PingInterval, 30*time.Second),
	})
	if h.enter(y) {
		y.run()
		h.leave(y)
	} else {
		y.end(websocket.StatusGoingAway, closing)
	}
}

const closing = "the gateway is closing"

// capture keeps the connection of an upgraded request, to be able to cut it.
type capture struct {
	http.ResponseWriter
	nc net.Conn
}

func or[T ~int64 | ~int](v, byDefault T) T {
	if v <= 0 {
		return byDefault
	}
	return v
}

func (h *Handler) refuse(w http.ResponseWriter, status int) {
	h.count(func(s *Stats) { s.Refused++ })
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusUpgradeRequired:
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(status), status)
}

func (h *Handler) count(f func(*Stats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.stats)
}

// take reserves one of MaxConns; every one taken is given back.
func (h *Handler) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.taken >= or(h.MaxConns, 1024) {
		return false
	}
	h.taken++
	h.wg.Add(1)
	return true
}

func (h *Handler) give() {
	h.mu.Lock()
	h.taken--
	h.mu.Unlock()
	h.wg.Done()
}

// enter makes y known to Close. It reports false if Close came first.
func (h *Handler) enter(y *relay) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	if h.relays == nil {
		h.relays = map[*relay]struct{}{}
	}
	h.relays[y] = struct{}{}
	h.stats.Accepted++
	return true
}

func (h *Handler) leave(y *relay) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.relays, y)
}

// Stats returns what h did until now.
func (h *Handler) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Open = len(h.relays)
	return s
}

// Close refuses new requests with 503, tells all clients that the gateway goes
// away, and returns when their connections have ended, which takes a second at
// most beyond a Dial in progress. It may be called more than once. Call it after
// http.Server.Shutdown, which does not know of WebSockets.
func (h *Handler) Close() error {
	h.mu.Lock()
	h.closed = true
	var ends sync.WaitGroup
	for y := range h.relays {
		ends.Go(func() { y.end(websocket.StatusGoingAway, closing) })
	}
	h.mu.Unlock()
	ends.Wait()
	h.wg.Wait()
	return nil
}
