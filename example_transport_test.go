package redisx_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/transport"
)

// Where the examples connect to, and what they trust and show.
var tlsAddress, authority, certificate, key = "cache.example:6380", "ca.crt", "client.crt", "client.key"

// An authority of one's own, and a client certificate that is read again when
// its files have changed.
func ExampleConfig_tls() {
	ctx := context.Background()
	pem, err := os.ReadFile(authority)
	if err != nil {
		fmt.Println(err)
		return
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client, err := redisx.ConnectConfig(ctx, redisx.Config{
		Addr: tlsAddress,
		TLS: &tls.Config{
			RootCAs:              roots,
			GetClientCertificate: transport.CertificateFiles(certificate, key),
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(client.Ping(ctx))
}

// tunnel opens its streams in a way of its own: through SOCKS, SSH, a sidecar.
type tunnel struct{ by transport.Net }

func (t tunnel) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	fmt.Println("dialling", network)
	return t.by.Dial(ctx, network, address)
}

// A way through the network of one's own. Under TLS it would be
// transport.TLS{Under: tunnel{}}.
func ExampleConfig_dialer() {
	ctx := context.Background()
	cfg, err := redisx.ParseURL(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.Dialer = tunnel{}
	client, err := redisx.ConnectConfig(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(client.Ping(ctx))
}

func TestTransportExamples(t *testing.T) {
	server := serverstest.Start(t, servers.Options{TLS: &servers.TLS{Mutual: true}})
	url = server.URL()
	tlsAddress, authority = server.TLSAddr, server.Certificates.CA
	certificate, key = server.Certificates.Client, server.Certificates.ClientKey
	for _, e := range []struct {
		name, prints string
		run          func()
	}{
		{"Config_tls", "PONG <nil>\n", ExampleConfig_tls},
		{"Config_dialer", "dialling tcp\nPONG <nil>\n", ExampleConfig_dialer},
	} {
		if got := serverstest.Printed(t, e.run); got != e.prints {
			t.Errorf("Example%s printed %q, want %q", e.name, got, e.prints)
		}
	}
}
