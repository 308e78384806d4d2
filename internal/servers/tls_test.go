package servers

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"
)

// pingTLS says what a client with the config meets.
func pingTLS(s *Server, config *tls.Config) (string, error) {
	conn, err := tls.Dial("tcp", s.TLSAddr, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := command(conn, bufio.NewReader(conn), "PING")
	return strings.TrimSpace(line), err
}

func TestATLSServerIsTrustedByItsOwnConfigOnly(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{TLS: &TLS{}})
	if got, err := pingTLS(s, s.TLSConfig()); got != "+PONG" {
		t.Errorf("PING = %q, %v", got, err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := pingTLS(s, &tls.Config{}); !errors.As(err, &unknown) {
		t.Errorf("a client that does not know the authority: %v", err)
	}
	if got := dial(t, "tcp", s.Addr).do("PING"); got != "+PONG" {
		t.Errorf("the plain port: PING = %q", got)
	}
	if want := "rediss://" + s.TLSAddr; s.TLSURL() != want {
		t.Errorf("TLSURL() = %q, want %q", s.TLSURL(), want)
	}
}

func TestAMutualServerDemandsACertificate(t *testing.T) {
	t.Parallel()
	s := launch(t, Options{TLS: &TLS{Mutual: true}})
	if got, err := pingTLS(s, s.TLSConfig()); got != "+PONG" {
		t.Errorf("PING = %q, %v", got, err)
	}
	bare := s.TLSConfig()
	bare.Certificates = nil
	if got, err := pingTLS(s, bare); err == nil {
		t.Errorf("without a certificate: PING = %q", got)
	}
}

func TestABadCertificateIsBad(t *testing.T) {
	t.Parallel()
	host := launch(t, Options{TLS: &TLS{Host: "elsewhere.example"}})
	var name x509.HostnameError
	if _, err := pingTLS(host, host.TLSConfig()); !errors.As(err, &name) {
		t.Errorf("a certificate for another host: %v", err)
	}
	old := launch(t, Options{TLS: &TLS{Expired: true}})
	var invalid x509.CertificateInvalidError
	if _, err := pingTLS(old, old.TLSConfig()); !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("an expired certificate: %v", err)
	}
}
