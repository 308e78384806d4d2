package redisx

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/resp3"
	"github.com/redisx/redisx/transport"
)

// Secret is text that is never printed, logged or marshalled. Convert it to a
// string to use it.
type Secret string

const redacted = "[redacted]"

// String returns "[redacted]", or "" if there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String in quotes.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// Format prints what String prints, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText returns what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Config says how to reach a server and what to bound. Zero fields take the
// defaults; a zero Config is 127.0.0.1:6379.
type Config struct {
	// Network is "tcp" or "unix". Default "tcp".
	Network string
	// Addr is host:port, or the path of a unix socket. Default 127.0.0.1:6379.
	Addr string
	// Username and Password authenticate the connection. Username defaults to
	// "default" when there is a password.
	Username string
	Password Secret
	// DB is the database to select. Default 0.
	DB int
	// ClientName names the connections in CLIENT LIST. No spaces.
	ClientName string
	// RESP2 keeps the client from asking for RESP3. Without RESP3 there are no
	// push messages, so whatever waits for a change has to poll.
	RESP2 bool
	// DialTimeout bounds dial and handshake. Default 5 s.
	DialTimeout time.Duration
	// Timeout bounds commands whose context has no deadline: the longest a
	// server may leave a command unanswered before the connection counts as
	// dead. Default 5 s.
	Timeout time.Duration
	// OfflineWait is how long a command waits for a lost connection to come
	// back before it fails as not sent. Default 1 s.
	OfflineWait time.Duration
	// MaxInFlight bounds the commands in flight on the shared connection,
	// MaxBytes their size. Callers beyond it wait in order, as long as their
	// contexts let them. Defaults 8192 and 8 MiB.
	MaxInFlight int
	MaxBytes    int
	// MaxPrivate bounds the private connections of blocking commands and
	// sessions. Callers beyond it wait. Default 1024.
	MaxPrivate int
	// Limits bounds what is accepted from the server. See resp3.Limits.
	Limits resp3.Limits
	// Dialer opens the streams. Default transport.Net{}.
	Dialer transport.Dialer
}

// ParseURL returns the Config that a URL states:
//
//	redis://[[user]:password@]host[:port][/db][?parameters]
//	unix://[[user]:password@]/path/to/socket[?db=n&parameters]
//
// valkey:// is redis://. Parameters: db, name (ClientName), protocol (2 or 3),
// timeout, dial_timeout, offline_wait (durations such as 500ms), max_in_flight.
// An unknown parameter is an error. Errors never hold the URL: it may carry a
// password.
func ParseURL(rawURL string) (Config, error) {
	var c Config
	u, err := url.Parse(rawURL)
	if err != nil {
		return c, errors.New("redisx: the URL cannot be parsed (its text is withheld, it may hold a password)")
	}
	if u.User != nil {
		c.Username = u.User.Username()
		password, _ := u.User.Password()
		c.Password = Secret(password)
	}
	switch u.Scheme {
	case "redis", "valkey":
		c.Network = "tcp"
		host, port := u.Hostname(), u.Port()
		if host == "" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "6379"
		}
		c.Addr = net.JoinHostPort(host, port)
		if db := strings.Trim(u.Path, "/"); db != "" {
			if c.DB, err = strconv.Atoi(db); err != nil || c.DB < 0 {
				return c, errors.New("redisx: the URL's path is not a database number")
			}
		}
	case "unix":
		c.Network, c.Addr = "unix", u.Path
		if c.Addr == "" {
			return c, errors.New("redisx: a unix URL needs a path: unix:///run/redis.sock")
		}
	case "rediss", "valkeys", "ws", "wss", "redis+sentinel", "redis+cluster":
		return c, fmt.Errorf("redisx: scheme %s is not supported yet", u.Scheme)
	default:
		return c, errors.New("redisx: a URL begins with redis://, valkey:// or unix://")
	}
	for name, values := range u.Query() {
		if err := c.parameter(name, values[len(values)-1]); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *Config) parameter(name, value string) error {
	var err error
	switch name {
	case "db":
		c.DB, err = strconv.Atoi(value)
	case "name":
		c.ClientName = value
	case "protocol":
		if value != "2" && value != "3" {
			err = errors.New("not 2 or 3")
		}
		c.RESP2 = value == "2"
	case "timeout":
		c.Timeout, err = time.ParseDuration(value)
	case "dial_timeout":
		c.DialTimeout, err = time.ParseDuration(value)
	case "offline_wait":
		c.OfflineWait, err = time.ParseDuration(value)
	case "max_in_flight":
		c.MaxInFlight, err = strconv.Atoi(value)
	default:
		return fmt.Errorf("redisx: unknown URL parameter %q", name)
	}
	if err != nil {
		return fmt.Errorf("redisx: URL parameter %s has an invalid value", name)
	}
	return nil
}

// check reports what makes a Config unusable.
func (c *Config) check() error {
	if c.Network == "" {
		c.Network = "tcp"
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:6379"
	}
	if c.Dialer == nil {
		c.Dialer = transport.Net{}
	}
	switch {
	case c.Network != "tcp" && c.Network != "unix":
		return fmt.Errorf("redisx: network %q is neither tcp nor unix", c.Network)
	case c.DB < 0:
		return errors.New("redisx: a database number cannot be negative")
	case strings.ContainsAny(c.ClientName, " \r\n"):
		return errors.New("redisx: a client name cannot hold spaces or newlines")
	case c.Timeout < 0 || c.DialTimeout < 0 || c.OfflineWait < 0:
		return errors.New("redisx: a timeout cannot be negative")
	case c.MaxInFlight < 0 || c.MaxBytes < 0 || c.MaxPrivate < 0:
		return errors.New("redisx: a bound cannot be negative")
	}
	return nil
}
