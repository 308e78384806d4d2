package redisx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/transport"
)

// ParseURL returns the Config that a URL states:
//
//	redis://[[user]:password@]host[:port][/db][?parameters]    default port 6379
//	rediss://…                                                 the same under TLS
//	unix://[[user]:password@]/path/to/socket[?parameters]
//	ws://[[user]:password@]host[:port][/path][?parameters]     default port 80
//	wss://…                                                    default port 443
//
// valkey:// and valkeys:// are redis:// and rediss://. User and password are
// percent-encoded: "@" is %40, "/" %2F, "?" %3F, "#" %23, "%" %25. They are the
// server's, also for ws.
//
// The parameters are fields of Config; a time is a Go duration such as 500ms, a
// size a number of bytes:
//
//	db             DB, where the path is not it
//	name           ClientName
//	protocol       2 (RESP2) or 3
//	dial_timeout, timeout, offline_wait, keepalive, user_timeout
//	max_in_flight, max_bytes, max_private
//
// and for rediss and wss:
//
//	server_name    the name that the server's certificate must be for
//	ca             a file of PEM certificates to trust instead of the system's,
//	               read now; at most 1 MiB
//	cert, key      PEM files to authenticate with (mTLS), read when a connection
//	               is made, and again when they have changed
//
// A parameter that is unknown, or given twice, is an error, and so is one that
// would switch the verification of certificates off: that takes code. Errors
// name parameters but hold neither the URL nor a part of it, as it may carry a
// password.
func ParseURL(rawURL string) (Config, error) {
	var c Config
	u, err := splitURL(rawURL)
	if err != nil {
		return c, err
	}
	if u.User != nil {
		c.Username = u.User.Username()
		password, _ := u.User.Password()
		c.Password = Secret(password)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, errors.New("redisx: the URL's parameters cannot be parsed (their text is withheld)")
	}
	if err := c.address(u, query.Has("db")); err != nil {
		return c, err
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if err := c.parameter(name, query[name]); err != nil {
			return c, err
		}
	}
	if err := c.checkCertificate(query); err != nil {
		return c, err
	}
	return c, nil
}

// splitURL parses the URL and refuses what net/url would take for something
// else than its writer meant. A password with a bare "/", "?" or "#" ends the
// host for net/url, so that the rest of it, and the "@", turn up behind.
func splitURL(rawURL string) (*url.URL, error) {
	_, rest, _ := strings.Cut(rawURL, ":")
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return nil, errScheme
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 && strings.Contains(rest[end:], "@") {
		if end > 0 {
			return nil, errors.New("redisx: the URL has an @ after its host: percent-encode / ? # in user and password, or the @ as %40")
		}
		return nil, errors.New("redisx: the URL has an @ in its path: write it %40")
	}
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, errors.New("redisx: the URL cannot be parsed (its text is withheld, it may hold a password)")
	case strings.Contains(rawURL, "#"):
		return nil, errors.New("redisx: the URL has a fragment: write # as %23")
	}
	return u, nil
}

var errScheme = errors.New("redisx: a URL begins with redis://, rediss://, valkey://, valkeys://, unix://, ws:// or wss://")

// address sets where to dial, and the database if the path says it.
func (c *Config) address(u *url.URL, hasDB bool) error {
	switch u.Scheme {
	case "rediss", "valkeys", "wss":
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	switch u.Scheme {
	case "redis", "valkey", "rediss", "valkeys":
		c.Network, c.Addr = "tcp", hostPort(u, "6379")
		db := strings.TrimPrefix(u.Path, "/")
		if db == "" {
			return nil
		}
		if hasDB {
			return errors.New("redisx: the URL states the database twice, in its path and as a parameter")
		}
		n, err := strconv.ParseUint(db, 10, 31)
		if err != nil {
			return errors.New("redisx: the URL's path is not a database number")
		}
		c.DB = int(n)
	case "unix":
		c.Network, c.Addr = "unix", u.Path
		if u.Path == "" || u.Host != "" {
			return errors.New("redisx: a unix URL is unix:// and an absolute path: unix:///run/redis.sock")
		}
	case "ws":
		c.Network, c.Addr = "ws", hostPort(u, "80")+u.EscapedPath()
	case "wss":
		c.Network, c.Addr = "wss", hostPort(u, "443")+u.EscapedPath()
	case "redis+sentinel", "redis+cluster":
		return fmt.Errorf("redisx: scheme %s is not supported yet", u.Scheme)
	default:
		return errScheme
	}
	return nil
}

func hostPort(u *url.URL, port string) string {
	host := u.Hostname()
	if host == "" {
		host = "127.0.0.1"
	}
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(host, port)
}

// parameters are the parameters of a URL that any scheme may have.
var parameters = map[string]func(c *Config, value string) error{
	"name":          func(c *Config, s string) error { c.ClientName = s; return nil },
	"protocol":      (*Config).setProtocol,
	"db":            whole(func(c *Config) *int { return &c.DB }),
	"max_in_flight": whole(func(c *Config) *int { return &c.MaxInFlight }),
	"max_bytes":     whole(func(c *Config) *int { return &c.MaxBytes }),
	"max_private":   whole(func(c *Config) *int { return &c.MaxPrivate }),
	"timeout":       duration(func(c *Config) *time.Duration { return &c.Timeout }),
	"dial_timeout":  duration(func(c *Config) *time.Duration { return &c.DialTimeout }),
	"offline_wait":  duration(func(c *Config) *time.Duration { return &c.OfflineWait }),
	"keepalive":     duration(func(c *Config) *time.Duration { return &c.KeepAlive }),
	"user_timeout":  duration(func(c *Config) *time.Duration { return &c.UserTimeout }),
}

// tlsParameters need a scheme with TLS.
var tlsParameters = map[string]func(c *Config, value string) error{
	"server_name": func(c *Config, s string) error { c.TLS.ServerName = s; return nil },
	"ca":          (*Config).trustOnly,
	"cert":        func(*Config, string) error { return nil }, // with key, in checkCertificate
	"key":         func(*Config, string) error { return nil },
}

// weakening are words by which other clients' URLs switch verification off.
var weakening = []string{"insecure", "skip", "verif", "cert_reqs", "reject_unauthorized", "rejectunauthorized", "check_hostname"}

func whole(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, s string) error {
		n, err := strconv.ParseUint(s, 10, 31)
		*field(c) = int(n)
		return err
	}
}

func duration(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, s string) (err error) {
		*field(c), err = time.ParseDuration(s)
		return err
	}
}

func (c *Config) setProtocol(s string) error {
	if s != "2" && s != "3" {
		return errors.New("neither 2 nor 3")
	}
	c.RESP2 = s == "2"
	return nil
}

func (c *Config) parameter(name string, values []string) error {
	set, plain := parameters[name]
	if !plain {
		set = tlsParameters[name]
	}
	switch {
	case set == nil:
		return unknownParameter(name)
	case len(values) > 1:
		return fmt.Errorf("redisx: URL parameter %s is given twice", name)
	case !plain && c.TLS == nil:
		return fmt.Errorf("redisx: URL parameter %s needs rediss:// or wss://", name)
	case values[0] == "":
		return fmt.Errorf("redisx: URL parameter %s is empty", name)
	}
	if err := set(c, values[0]); err != nil {
		var reason fileError
		if errors.As(err, &reason) {
			return fmt.Errorf("redisx: URL parameter %s: %w", name, reason)
		}
		return fmt.Errorf("redisx: URL parameter %s has an invalid value", name)
	}
	return nil
}

func unknownParameter(name string) error {
	lower := strings.ToLower(name)
	for _, word := range weakening {
		if strings.Contains(lower, word) {
			return fmt.Errorf("redisx: URL parameter %.32q: a URL cannot switch the verification of certificates off; trust the server's authority with ca=file, or set Config.TLS in code", name)
		}
	}
	return fmt.Errorf("redisx: unknown URL parameter %.32q", name)
}

// fileError is what is wrong with a file, without its name, which the URL held.
type fileError struct{ error }

func (e fileError) Unwrap() error { return e.error }

// maxCA bounds a file of certificates. The system's own are about 200 KiB.
const maxCA = 1 << 20

// trustOnly makes the certificates of a file the only authorities.
func (c *Config) trustOnly(path string) error {
	pem, err := readRegular(path, maxCA)
	if err != nil {
		var withPath *fs.PathError
		if errors.As(err, &withPath) {
			err = withPath.Err
		}
		return fileError{err}
	}
	c.TLS.RootCAs = x509.NewCertPool()
	if !c.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return fileError{errors.New("the file holds no PEM certificate")}
	}
	return nil
}

// readRegular reads a file that a URL names: what has no end, or would wait for
// a writer, is refused.
func readRegular(path string, limit int64) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	} else if info.Size() > limit {
		return nil, fmt.Errorf("the file is larger than %d bytes", limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// checkCertificate takes cert and key, which make sense only together.
func (c *Config) checkCertificate(query url.Values) error {
	cert, key := query.Get("cert"), query.Get("key")
	switch {
	case cert == "" && key == "":
		return nil
	case cert == "" || key == "":
		return errors.New("redisx: URL parameters cert and key go together")
	}
	c.TLS.GetClientCertificate = transport.CertificateFiles(cert, key)
	return nil
}
