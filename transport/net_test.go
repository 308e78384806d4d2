package transport

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNetDialsTCPAndUnix(t *testing.T) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []Net{{}, {KeepAlive: -1, UserTimeout: -1}, {UserTimeout: time.Second}} {
			c, err := n.Dial(context.Background(), network, ln.Addr().String())
			if err != nil {
				t.Errorf("%s: %v", network, err)
				continue
			}
			c.Close()
		}
		ln.Close()
	}
}

func TestADialObeysItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (Net{}).Dial(ctx, "tcp", "127.0.0.1:1"); err == nil {
		t.Errorf("error %v", err)
	}
}

func TestTheFamiliesOfANameAreTriedInTurn(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"1.0.0.1", "1.0.0.1"},
		{"1.0.0.1 1.0.0.2", "1.0.0.1 1.0.0.2"},
		{"::1 ::2 ::3 1.0.0.1", "::1 1.0.0.1 ::2 ::3"},
		{"1.0.0.1 1.0.0.2 ::1", "1.0.0.1 ::1 1.0.0.2"},
		{"::ffff:1.0.0.1 ::1 1.0.0.2", "::ffff:1.0.0.1 ::1 1.0.0.2"},
	} {
		var in []netip.Addr
		for s := range strings.FieldsSeq(tt.in) {
			in = append(in, netip.MustParseAddr(s))
		}
		var got []string
		for _, ip := range alternate(in) {
			got = append(got, ip.String())
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("alternate(%s) = %s, want %s", tt.in, s, tt.want)
		}
	}
}
