package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// TLS says how a server listens for TLS, on a port of its own beside the plain
// one. Every server gets an authority of its own, which nobody else trusts.
type TLS struct {
	// Mutual makes the server demand a certificate of its clients.
	Mutual bool
	// Host is the name or address in the server's certificate. Default
	// 127.0.0.1 and localhost.
	Host string
	// Expired makes the certificate end yesterday.
	Expired bool
}

// Certificates are what a TLS server was started with, as PEM files in its
// folder.
type Certificates struct {
	CA                string // the authority's certificate
	Server, ServerKey string
	Client, ClientKey string // of a client that the server accepts

	config     *tls.Config
	authority  *x509.Certificate
	signingKey *ecdsa.PrivateKey
}

// newCertificates makes an authority, a server's and a client's certificate in
// dir.
func newCertificates(dir string, o TLS) (*Certificates, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &Certificates{signingKey: key}
	ca := template("redisx test authority", time.Now().Add(24*time.Hour))
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	if c.authority, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	if c.CA, err = writePEM(dir, "ca.crt", "CERTIFICATE", der); err != nil {
		return nil, err
	}
	server := template("redisx test server", time.Now().Add(24*time.Hour))
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if o.Expired {
		server.NotAfter = time.Now().Add(-24 * time.Hour)
	}
	switch ip := net.ParseIP(o.Host); {
	case o.Host == "":
		server.IPAddresses, server.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	case ip != nil:
		server.IPAddresses = []net.IP{ip}
	default:
		server.DNSNames = []string{o.Host}
	}
	if c.Server, c.ServerKey, err = c.issue(dir, "server", server); err != nil {
		return nil, err
	}
	client := template("redisx test client", time.Now().Add(24*time.Hour))
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if c.Client, c.ClientKey, err = c.issue(dir, "client", client); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(c.Client, c.ClientKey)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.authority)
	c.config = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return c, nil
}

func template(name string, until time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// issue makes a certificate and its key.
func (c *Certificates) issue(dir, name string, t *x509.Certificate) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, c.authority, &private.PublicKey, c.signingKey)
	if err != nil {
		return "", "", err
	}
	if cert, err = writePEM(dir, name+".crt", "CERTIFICATE", der); err != nil {
		return "", "", err
	}
	if der, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return "", "", err
	}
	key, err = writePEM(dir, name+".key", "PRIVATE KEY", der)
	return cert, key, err
}

func writePEM(dir, name, kind string, der []byte) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func (c *Certificates) args(port int, o TLS) []string {
	clients := "no"
	if o.Mutual {
		clients = "yes"
	}
	return []string{
		"--tls-port", strconv.Itoa(port),
		"--tls-ca-cert-file", c.CA,
		"--tls-cert-file", c.Server,
		"--tls-key-file", c.ServerKey,
		"--tls-auth-clients", clients,
	}
}

// TLSConfig returns what a client needs to trust the server, and to be accepted
// by it if it demands certificates; nil without Options.TLS.
func (s *Server) TLSConfig() *tls.Config {
	if s.Certificates == nil {
		return nil
	}
	return s.Certificates.config.Clone()
}
