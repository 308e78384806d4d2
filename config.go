package redisx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/transport"
)

// Config says how to reach a server and what to bound. Zero fields take the
// defaults; a zero Config is 127.0.0.1:6379. A negative number or time is an
// error unless the field says what it means. Printing a Config shows no secret.
type Config struct {
	// Network is "tcp", "unix", "ws" or "wss". Default "tcp".
	Network string
	// Addr is host:port, the path of a unix socket, or host:port/path for ws and
	// wss. A name is resolved at every dial. Default 127.0.0.1:6379.
	Addr string
	// TLS encrypts a tcp network, if it is not nil, and configures wss. It is
	// used as a copy, with a minimum of TLS 1.2. The certificate must be for
	// ServerName or else the host of Addr. See transport.TLS.
	TLS *tls.Config `json:"-"`
	// Header is sent when a WebSocket is opened, such as Authorization.
	Header map[string]Secret
	// KeepAlive is how long a connection is silent before TCP probes the peer.
	// Default 15 s; negative: no probes. See transport.Net.
	KeepAlive time.Duration
	// UserTimeout is how long sent data may stay unacknowledged before the
	// kernel gives a TCP connection up (Linux). Default 10 s; negative: the
	// system's own.
	UserTimeout time.Duration
	// Dialer opens the streams, in place of all of the above but Network and
	// Addr, which it is given as they are. A proxy under TLS is
	// transport.TLS{Under: proxy}.
	Dialer transport.Dialer `json:"-"`

	// Username and Password authenticate the connections. Username defaults to
	// "default" when there is a password.
	Username string
	Password Secret
	// Credentials, if not nil, is asked for username and password instead: when
	// a connection is dialled, though at most once a second, before the
	// credentials end, and by Client.Reauthenticate. It is given DialTimeout and
	// must return when its context ends; calls may overlap. While it fails,
	// nothing is dialled: commands that need a connection fail with its error,
	// which must not hold a secret. A panic counts as an error.
	Credentials func(ctx context.Context) (Credentials, error) `json:"-"`
	// DB is the database to select. Default 0.
	DB int
	// ClientName names the connections in CLIENT LIST: printable ASCII without
	// spaces. Default: no name.
	ClientName string
	// RESP2 keeps the client from asking for RESP3. Without RESP3 there are no
	// push messages, so whatever waits for a change needs the server's keyspace
	// events, or has to poll (package ds/smart).
	RESP2 bool

	// DialTimeout bounds the asking for credentials, the dial and the handshake
	// together. Default 5 s.
	DialTimeout time.Duration
	// Timeout bounds commands whose context has no deadline: the longest a
	// server may leave a command unanswered before the connection counts as
	// dead. Default 5 s.
	Timeout time.Duration
	// OfflineWait is how long a command waits for a lost connection to come
	// back before it fails as not sent. Default 1 s.
	OfflineWait time.Duration
	// MaxInFlight bounds the commands in flight on the shared connection,
	// MaxBytes their size in bytes. Callers beyond it wait in order, as long as
	// their contexts let them. Defaults 8192 and 8 MiB.
	MaxInFlight int
	MaxBytes    int
	// MaxPrivate bounds the private connections of blocking commands and
	// sessions. Callers beyond it wait. Default 1024.
	MaxPrivate int
	// Limits bounds what is accepted from the server. See resp3.Limits.
	Limits resp3.Limits
	// Cache tunes what Cached keeps.
	Cache CacheConfig

	// Retry bounds what the client sends again by itself.
	Retry RetryConfig
	// Observers are told what the client does, in this order. See package
	// telemetry.
	Observers []Observer `json:"-"`
	// Logger is told of connections, retries and panics of observers, at a
	// bounded rate and without arguments (telemetry.Log). Default: no log.
	Logger *slog.Logger `json:"-"`
}

// maxDuration is the longest time that a Config may state: sums of a few do not
// overflow.
const maxDuration = 10 * 365 * 24 * time.Hour

// check reports what makes a Config unusable, and fills in where to dial. Its
// errors do not quote Addr: people put URLs there.
func (c *Config) check() error {
	if c.Network == "" {
		c.Network = "tcp"
	}
	if c.Addr == "" && c.Network == "tcp" {
		c.Addr = "127.0.0.1:6379"
	}
	if err := c.checkDial(); err != nil {
		return err
	}
	switch {
	case c.Credentials != nil && (c.Username != "" || c.Password != ""):
		return errors.New("redisx: Config has both Credentials and a username or password")
	case c.DB < 0:
		return errors.New("redisx: a database number cannot be negative")
	case strings.ContainsFunc(c.ClientName, func(r rune) bool { return r < '!' || r > '~' }):
		return errors.New("redisx: a client name is printable ASCII without spaces")
	case c.Timeout < 0 || c.DialTimeout < 0 || c.OfflineWait < 0:
		return errors.New("redisx: a timeout cannot be negative")
	case max(c.Timeout, c.DialTimeout, c.OfflineWait, c.KeepAlive, c.UserTimeout) > maxDuration:
		return errors.New("redisx: a timeout cannot be longer than ten years")
	case c.MaxInFlight < 0 || c.MaxBytes < 0 || c.MaxPrivate < 0:
		return errors.New("redisx: a bound cannot be negative")
	}
	return c.Cache.check()
}

func (c *Config) checkDial() error {
	if c.Dialer != nil {
		if c.TLS != nil || len(c.Header) > 0 || c.KeepAlive != 0 || c.UserTimeout != 0 {
			return errors.New("redisx: Config has a Dialer and what only the default one heeds: " +
				"TLS, Header, KeepAlive or UserTimeout; a Dialer of one's own goes under a transport.TLS or transport.WebSocket")
		}
		return nil
	}
	hostPort, web := c.Addr, false
	switch c.Network {
	case "tcp":
	case "unix":
		if c.Addr == "" {
			return errors.New("redisx: a unix network needs the path of a socket")
		}
		if c.TLS != nil {
			return errors.New("redisx: there is no TLS over a unix socket")
		}
	case "ws", "wss":
		hostPort, _, _ = strings.Cut(c.Addr, "/")
		web = true
	default:
		return fmt.Errorf("redisx: network %q is none of tcp, unix, ws and wss", c.Network)
	}
	if c.Network == "ws" && c.TLS != nil {
		return errors.New("redisx: a WebSocket with TLS is network wss")
	}
	if !web && len(c.Header) > 0 {
		return errors.New("redisx: only a WebSocket has a Header")
	}
	if c.Network != "unix" && !isHostPort(hostPort) {
		return errors.New("redisx: Addr is not host:port (its text is withheld, it may hold a password)")
	}
	for name, value := range c.Header {
		if name == "" || strings.ContainsAny(name+string(value), "\r\n\x00") {
			return errors.New("redisx: a Header has an empty name or a line break")
		}
	}
	return nil
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && n > 0 && !strings.ContainsAny(host, "@/ ")
}

// dialer returns what opens the streams of a Config that was checked.
func (c *Config) dialer() transport.Dialer {
	if c.Dialer != nil {
		return c.Dialer
	}
	stream := transport.Net{KeepAlive: c.KeepAlive, UserTimeout: c.UserTimeout}
	switch {
	case c.Network == "ws" || c.Network == "wss":
		header := http.Header{}
		for name, value := range c.Header {
			header.Set(name, string(value))
		}
		return transport.WebSocket{Under: stream, TLS: c.TLS, Header: header}
	case c.TLS != nil:
		return transport.TLS{Under: stream, Config: c.TLS}
	}
	return stream
}
