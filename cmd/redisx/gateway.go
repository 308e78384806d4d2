package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/gateway"
	"github.com/redisx/redisx/transport"
)

// gatewayOptions are the flags of redisx gateway.
type gatewayOptions struct {
	Listen, Path      string
	URL               string
	Origins, Hosts    []string
	TokenFile         string
	CertFile, KeyFile string
	Plaintext         bool
	MaxConns          int
}

const (
	minToken = 16              // characters
	lastWait = 5 * time.Second // for requests in progress, at the end
)

func gatewayCommand() *cobra.Command {
	var o gatewayOptions
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Serve a Redis server to WebSocket clients",
		Long: `Serve a Redis server to WebSocket clients, such as redisX with ws:// or wss://.
Bytes are relayed as they are: clients authenticate to Redis by themselves, and
may do what the Redis user may do as whom they do. Give them users of their own
(ACL SETUSER).

By default only this machine is served. Any other address needs --token-file, and
either --tls-cert and --tls-key or --plaintext, which says that the encryption is
done elsewhere. The token is sent as "Authorization: Bearer TOKEN"; it is read
from a file so that it shows in no list of processes and no URL.

Pages may connect from the same origin and from those named by --origin. Requests
must name an IP address, localhost, or a name given by --host.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.serve(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8081", "address to serve on")
	f.StringVar(&o.Path, "path", "/redis", "path to serve on")
	f.StringVar(&o.URL, "url", "redis://127.0.0.1:6379", "server to relay to, without credentials (environment: REDISX_URL)")
	f.StringSliceVar(&o.Origins, "origin", nil, "origin of pages that may connect, such as https://app.example.com")
	f.StringSliceVar(&o.Hosts, "host", nil, "name under which clients reach the gateway, such as redis.example.com")
	f.StringVar(&o.TokenFile, "token-file", "", "file with the token that clients must show")
	f.StringVar(&o.CertFile, "tls-cert", "", "PEM file with the certificate to serve with")
	f.StringVar(&o.KeyFile, "tls-key", "", "PEM file with its key")
	f.BoolVar(&o.Plaintext, "plaintext", false, "serve other machines without TLS, which is done elsewhere")
	f.IntVar(&o.MaxConns, "max-conns", 1024, "connections at most")
	if url := os.Getenv("REDISX_URL"); url != "" {
		o.URL = url
	}
	return cmd
}

// serve serves until ctx ends.
func (o *gatewayOptions) serve(ctx context.Context, out, warnings io.Writer) error {
	h, target, err := o.handler(warnings)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(o.Path, h)
	s := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	scheme := "ws"
	if o.CertFile != "" {
		scheme = "wss"
	}
	fmt.Fprintf(out, "serving %s at %s://%s%s\n", target, scheme, ln.Addr(), o.Path)
	fmt.Fprintf(out, "  pages of: %s\n", strings.Join(append([]string{"the same origin"}, o.Origins...), ", "))
	fmt.Fprintf(out, "  token: %s\n", map[bool]string{true: "asked for", false: "none, this machine only"}[o.TokenFile != ""])

	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
		defer cancel()
		err := s.Shutdown(last)
		ended <- errors.Join(err, h.Close())
	})
	if scheme == "wss" {
		err = s.ServeTLS(ln, o.CertFile, o.KeyFile)
	} else {
		err = s.Serve(ln)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		if stop() {
			ln.Close()
			return errors.Join(err, h.Close())
		}
	}
	return <-ended
}

// handler checks the flags and returns what they ask for, and the name of the
// server behind it.
func (o *gatewayOptions) handler(warnings io.Writer) (*gateway.Handler, string, error) {
	cfg, err := redisx.ParseURL(o.URL)
	if err != nil {
		return nil, "", err
	}
	if cfg.Network == "" {
		cfg.Network = "tcp"
	}
	switch {
	case cfg.Username != "" || cfg.Password != "" || cfg.DB != 0:
		return nil, "", errors.New("gateway: --url (or REDISX_URL) holds credentials or a database: the gateway relays bytes, clients authenticate and select by themselves")
	case cfg.Network != "tcp" && cfg.Network != "unix":
		return nil, "", errors.New("gateway: --url is a WebSocket: connect the clients to that")
	case (o.CertFile == "") != (o.KeyFile == ""):
		return nil, "", errors.New("gateway: --tls-cert and --tls-key go together")
	case !strings.HasPrefix(o.Path, "/") || strings.ContainsAny(o.Path, "{} "):
		return nil, "", errors.New("gateway: --path is a path, such as /redis")
	case o.MaxConns <= 0:
		return nil, "", errors.New("gateway: --max-conns is positive")
	}
	if !loopback(o.Listen) {
		if o.TokenFile == "" {
			return nil, "", fmt.Errorf("gateway: --listen %s serves other machines: that needs --token-file", o.Listen)
		}
		if o.CertFile == "" && !o.Plaintext {
			return nil, "", fmt.Errorf("gateway: --listen %s serves other machines: that needs --tls-cert and --tls-key, or --plaintext if TLS is done elsewhere", o.Listen)
		}
	}
	var d transport.Dialer = transport.Net{}
	if cfg.TLS != nil {
		d = transport.TLS{Config: cfg.TLS}
	}
	h := &gateway.Handler{Dial: gateway.To(d, cfg.Network, cfg.Addr), Hosts: o.Hosts, Origins: o.Origins, MaxConns: o.MaxConns}
	if o.TokenFile != "" {
		token, err := readToken(o.TokenFile, warnings)
		if err != nil {
			return nil, "", err
		}
		h.Authorize = gateway.Bearer(token)
	}
	return h, cfg.Addr, nil
}

// loopback reports whether only this machine can reach the address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func readToken(file string, warnings io.Writer) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		fmt.Fprintf(warnings, "redisx: gateway: everybody on this machine can read %s\n", file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("gateway: the token in %s is not %d or more printable characters in one word", file, minToken)
	}
	return token, nil
}
