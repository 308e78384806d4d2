package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var bg = context.Background()

func answerHello(nc *tls.Conn) {
	b := make([]byte, 5)
	if _, err := io.ReadFull(nc, b); err == nil {
		nc.Write([]byte("world"))
		io.Copy(io.Discard, nc)
	}
}

func TestAServerThatCannotBeVerifiedIsRefusedWithTheReason(t *testing.T) {
	a, other, end := newAuthority(t), newAuthority(t), time.Now().Add(time.Hour)
	good := a.certificate("127.0.0.1", end)
	for _, tt := range []struct {
		name   string
		server *tls.Config
		client TLS
		says   string // empty: no error
		is     func(error) bool
	}{
		{name: "right host and authority", server: &tls.Config{Certificates: []tls.Certificate{good}}, client: TLS{}},
		{
			name: "another host", server: &tls.Config{Certificates: []tls.Certificate{a.certificate("redis.example", end)}},
			says: `not for "127.0.0.1"`, is: func(err error) bool { var e x509.HostnameError; return errors.As(err, &e) },
		},
		{
			name: "another host that ServerName names", server: &tls.Config{Certificates: []tls.Certificate{a.certificate("redis.example", end)}},
			client: TLS{ServerName: "redis.example"},
		},
		{
			name: "the host, but ServerName names another", server: &tls.Config{Certificates: []tls.Certificate{good}},
			client: TLS{ServerName: "redis.example"}, says: `not for "redis.example"`,
			is: func(err error) bool { var e x509.HostnameError; return errors.As(err, &e) },
		},
		{
			name: "another authority", server: &tls.Config{Certificates: []tls.Certificate{other.certificate("127.0.0.1", end)}},
			says: "authority", is: func(err error) bool { var e x509.UnknownAuthorityError; return errors.As(err, &e) },
		},
		{
			name: "another authority, and the caller's own code says so", client: TLS{Config: &tls.Config{InsecureSkipVerify: true}},
			server: &tls.Config{Certificates: []tls.Certificate{other.certificate("redis.example", end)}},
		},
		{
			name: "expired", server: &tls.Config{Certificates: []tls.Certificate{a.certificate("127.0.0.1", time.Now().Add(-time.Hour))}},
			says: "expired", is: func(err error) bool { var e x509.CertificateInvalidError; return errors.As(err, &e) },
		},
		{
			name: "TLS 1.1", server: &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
			client: TLS{Config: &tls.Config{MinVersion: tls.VersionTLS10}}, says: "protocol version",
		},
		{
			name: "a client certificate missing, TLS 1.2", says: "asked for a client certificate",
			server: &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := serveTLS(t, tt.server, answerHello)
			if tt.client.Config == nil {
				tt.client.Config = &tls.Config{RootCAs: a.pool()}
			}
			before := tt.client.Config.Clone()
			c, err := tt.client.Dial(bg, "tcp", addr)
			if tt.client.Config.MinVersion != before.MinVersion || tt.client.Config.ServerName != before.ServerName {
				t.Error("the caller's Config was changed")
			}
			if tt.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.Write([]byte("hello"))
				b := make([]byte, 5)
				if _, err := io.ReadFull(c, b); err != nil || string(b) != "world" {
					t.Errorf("read %q: %v", b, err)
				}
				return
			}
			var e *TLSError
			if !errors.As(err, &e) || e.Address != addr || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v, want a TLSError with %s that says %q", err, addr, tt.says)
			}
			if tt.is != nil && !tt.is(err) {
				t.Errorf("error %v does not hold its cause", err)
			}
		})
	}
}

func TestAPeerWithoutTLSIsNamedAndASlowOneCostsNoMoreThanTheContext(t *testing.T) {
	addr := serve(t, func(nc net.Conn) {
		nc.Read(make([]byte, 1))
		nc.Write([]byte("-ERR unknown command\r\n"))
	})
	_, err := TLS{}.Dial(bg, "tcp", addr)
	var e *TLSError
	var h tls.RecordHeaderError
	if !errors.As(err, &e) || !errors.As(err, &h) || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("error %v", err)
	}

	silent := serve(t, func(nc net.Conn) { io.Copy(io.Discard, nc) })
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := (TLS{}).Dial(ctx, "tcp", silent); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}

	if _, err := (TLS{}).Dial(bg, "unix", "/run/redis.sock"); !errors.As(err, &e) || !strings.Contains(err.Error(), "ServerName") {
		t.Errorf("without a name to verify: %v", err)
	}
}

func TestARotatedClientCertificateIsShownByNewConnections(t *testing.T) {
	a := newAuthority(t)
	shown := make(chan string, 10)
	addr := serveTLS(t, &tls.Config{
		Certificates: []tls.Certificate{a.certificate("127.0.0.1", time.Now().Add(time.Hour))},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: a.pool(),
	}, func(nc *tls.Conn) {
		shown <- nc.ConnectionState().PeerCertificates[0].Subject.CommonName
		io.Copy(io.Discard, nc)
	})
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	d := TLS{Config: &tls.Config{RootCAs: a.pool(), GetClientCertificate: CertificateFiles(certFile, keyFile)}}

	if _, err := d.Dial(bg, "tcp", addr); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without files: %v", err)
	}
	written := time.Now().Add(-time.Hour)
	write := func(file string, b []byte) {
		t.Helper()
		written = written.Add(time.Second) // however coarse the clock of the file system
		if err := errors.Join(os.WriteFile(file, b, 0o600), os.Chtimes(file, written, written)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(name string) {
		t.Helper()
		c, err := d.Dial(bg, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := <-shown; got != name {
			t.Errorf("the server was shown %q, want %q", got, name)
		}
	}
	cert, key := a.pem("monday", time.Now().Add(time.Hour))
	write(certFile, cert)
	write(keyFile, key)
	want("monday")
	cert, key = a.pem("tuesday", time.Now().Add(time.Hour))
	write(certFile, cert)
	want("monday") // the key is not there yet
	write(keyFile, key)
	want("tuesday")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	want("tuesday")
}

// pair returns both ends of a TLS connection.
func pair(t *testing.T, under Dialer) (*tlsStream, *tls.Conn) {
	t.Helper()
	a := newAuthority(t)
	got, done := make(chan *tls.Conn, 1), make(chan struct{})
	addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.certificate("127.0.0.1", time.Now().Add(time.Hour))}}, func(nc *tls.Conn) {
		got <- nc
		<-done
	})
	t.Cleanup(func() { close(done) })
	c, err := TLS{Under: under, Config: &tls.Config{RootCAs: a.pool()}}.Dial(bg, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*tlsStream), <-got
}

// wait is until a condition holds.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for: %s", what)
		}
	}
}

// held is a Dialer whose streams read nothing while they are held.
type held struct{ nc *heldConn }

type heldConn struct {
	net.Conn
	gate chan struct{}
}

func (h *held) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := Net{}.Dial(ctx, network, address)
	h.nc = &heldConn{Conn: nc, gate: make(chan struct{}, 1000)}
	for range 100 {
		h.nc.gate <- struct{}{}
	}
	return h.nc, err
}

func (c *heldConn) Read(p []byte) (int, error) {
	<-c.gate
	return c.Conn.Read(p)
}

func TestOneReadTakesAllRecordsThatArrivedTogether(t *testing.T) {
	h := &held{}
	c, server := pair(t, h)
	for len(h.nc.gate) > 0 { // from now on a read waits for the test
		<-h.nc.gate
	}
	for _, s := range []string{"one", "two", "three"} {
		if _, err := server.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond) // loopback: all three are in the socket
	h.nc.gate <- struct{}{}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if got := string(b[:n]); got != "onetwothree" || err != nil {
		t.Errorf("read %q: %v", got, err)
	}
	if c.Buffered() {
		t.Error("nothing is left, yet Buffered says so")
	}
	server.Write([]byte("four"))
	h.nc.gate <- struct{}{}
	if n, err := c.Read(b[:2]); n != 2 || err != nil || !c.Buffered() {
		t.Errorf("read %d bytes: %v; Buffered %v though two are left", n, err, c.Buffered())
	}
	h.nc.gate <- struct{}{}
	if n, err := c.Read(b); string(b[:n]) != "ur" || err != nil || c.Buffered() {
		t.Errorf("read %q: %v; Buffered %v", b[:n], err, c.Buffered())
	}
}

func TestAReadThatItsDeadlineInterruptedGoesOn(t *testing.T) {
	c, server := pair(t, nil)
	big := strings.Repeat("x", 100_000)
	go func() { // ends with the connection
		for i := range len(big) / 1000 {
			server.NetConn().(*net.TCPConn).SetWriteBuffer(1000)
			server.Write([]byte(big[i*1000:][:1000]))
			time.Sleep(100 * time.Microsecond)
		}
	}()
	got, late := 0, 0
	b := make([]byte, 700)
	for got < len(big) {
		c.SetReadDeadline(time.Now().Add(50 * time.Microsecond))
		n, err := c.Read(b)
		got += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			late++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if late == 0 {
		t.Error("no read was interrupted")
	}
}

func TestClosingATLSStreamDoesNotWaitForItsPeer(t *testing.T) {
	c, server := pair(t, nil)
	server.NetConn().(*net.TCPConn).SetReadBuffer(1)
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the peer does not read, yet: %v", err)
	}
	start := time.Now()
	c.Close()
	if took := time.Since(start); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}

// A Read that has to send an alert waits for a Write that is stuck.
func TestAReadIsNotHeldByAStuckWriteBeyondItsDeadline(t *testing.T) {
	c, server := pair(t, narrow{})
	raw := server.NetConn().(*net.TCPConn)
	raw.SetReadBuffer(1)
	done := make(chan error, 1)
	go func() { // ends with the connection
		_, err := c.Write(make([]byte, 32<<20))
		done <- err
	}()
	time.Sleep(100 * time.Millisecond)
	raw.Write([]byte{23, 3, 3, 0, 20, 'n', 'o', 't', ' ', 'a', ' ', 'r', 'e', 'c', 'o', 'r', 'd', ' ', 'a', 't', ' ', 'a', 'l', 'l', '!'})
	start := time.Now()
	c.SetReadDeadline(start.Add(20 * time.Millisecond))
	if _, err := c.Read(make([]byte, 100)); err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if err := <-done; err == nil {
		t.Error("the write went through")
	}
}
