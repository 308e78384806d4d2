package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// TLS dials Under and makes the stream a TLS one. The server's certificate is
// always verified, unless the caller's own Config says InsecureSkipVerify.
//
// Config.GetClientCertificate answers a server that asks who calls (mTLS); see
// CertificateFiles. It is asked at every dial, so new connections show the
// certificate of the day.
type TLS struct {
	// Under opens the stream below. Nil means Net{}.
	Under Dialer
	// Config is used as a copy, its MinVersion raised to TLS 1.2 if it is lower.
	// Nil means the defaults of crypto/tls.
	Config *tls.Config
	// ServerName is the name, or IP address, that the certificate must be for.
	// Empty means Config.ServerName, and without that the host of the address.
	ServerName string
}

// Dial opens a stream and shakes hands, both under ctx. A handshake that fails
// is a *TLSError, unless ctx has ended.
func (t TLS) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	cfg := &tls.Config{}
	if t.Config != nil {
		cfg = t.Config.Clone()
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	if t.ServerName != "" {
		cfg.ServerName = t.ServerName
	}
	if cfg.ServerName == "" && network != "unix" {
		cfg.ServerName, _, _ = net.SplitHostPort(address)
	}
	if cfg.ServerName == "" && !cfg.InsecureSkipVerify {
		return nil, &TLSError{Address: address, Err: errNoName}
	}
	asked := false
	if cfg.GetClientCertificate == nil && len(cfg.Certificates) == 0 {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		}
	}
	nc, err := under(t.Under).Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s := newTLSStream(nc, cfg)
	if err := s.HandshakeContext(ctx); err != nil {
		nc.Close()
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, &TLSError{Address: address, ServerName: cfg.ServerName, Err: err, uncertified: asked}
	}
	return s, nil
}

// under returns the dialer of the stream below.
func under(d Dialer) Dialer {
	if d == nil {
		return Net{}
	}
	return d
}

var errNoName = errors.New("no server name to verify: the address holds no host, and ServerName is empty")

// TLSError reports a handshake that failed.
type TLSError struct {
	Address    string // that was dialled
	ServerName string // that the certificate had to be for
	Err        error  // why; errors.As finds the error of crypto/tls or crypto/x509

	uncertified bool // the server asked for a certificate and got none
}

// Error names the address and the reason.
func (e *TLSError) Error() string {
	return fmt.Sprintf("transport: TLS with %s: %s", e.Address, e.reason())
}

// Unwrap returns Err.
func (e *TLSError) Unwrap() error { return e.Err }

// reason says first what is wrong, then what crypto/tls calls it.
func (e *TLSError) reason() string {
	var (
		notTLS  tls.RecordHeaderError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	what := ""
	switch {
	case errors.As(e.Err, &notTLS):
		what = "the peer does not speak TLS"
	case errors.As(e.Err, &host):
		what = fmt.Sprintf("the certificate is not for %q", e.ServerName)
	case errors.As(e.Err, &unknown):
		what = "the certificate is of an authority that is not trusted here"
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		what = "the certificate has expired, or is not valid yet"
	case e.uncertified:
		what = "the server asked for a client certificate and none is configured"
	default:
		return e.Err.Error()
	}
	return what + ": " + e.Err.Error()
}
