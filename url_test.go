package redisx_test

import (
	"encoding/pem"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
)

func TestAURLStatesAConfig(t *testing.T) {
	for _, tt := range []struct {
		url  string
		want redisx.Config
	}{
		{"redis://h:1", redisx.Config{Network: "tcp", Addr: "h:1"}},
		{"redis://", redisx.Config{Network: "tcp", Addr: "127.0.0.1:6379"}},
		{"redis://h/", redisx.Config{Network: "tcp", Addr: "h:6379"}},
		{"REDIS://h", redisx.Config{Network: "tcp", Addr: "h:6379"}},
		{"valkey://[::1]/4", redisx.Config{Network: "tcp", Addr: "[::1]:6379", DB: 4}},
		{"redis://[fe80::1%25eth0]:7", redisx.Config{Network: "tcp", Addr: "[fe80::1%eth0]:7"}},
		{"redis://:p%40ss@h", redisx.Config{Network: "tcp", Addr: "h:6379", Password: "p@ss"}},
		{"redis://:a@b@h", redisx.Config{Network: "tcp", Addr: "h:6379", Password: "a@b"}},
		{"redis://:a:b+c@h", redisx.Config{Network: "tcp", Addr: "h:6379", Password: "a:b+c"}},
		{"redis://u@h", redisx.Config{Network: "tcp", Addr: "h:6379", Username: "u"}},
		{"redis://%40%2F%3F%23%25:%40%2F%3F%23%25%00%0A@h", redisx.Config{Network: "tcp", Addr: "h:6379", Username: "@/?#%", Password: "@/?#%\x00\n"}},
		{"redis://u:p@h:1/2?name=n&protocol=2&timeout=1s&dial_timeout=2s&offline_wait=3s&max_in_flight=4&max_bytes=5&max_private=6&keepalive=7s&user_timeout=-1s", redisx.Config{
			Network: "tcp", Addr: "h:1", Username: "u", Password: "p", DB: 2, ClientName: "n", RESP2: true,
			Timeout: time.Second, DialTimeout: 2 * time.Second, OfflineWait: 3 * time.Second,
			MaxInFlight: 4, MaxBytes: 5, MaxPrivate: 6, KeepAlive: 7 * time.Second, UserTimeout: -time.Second,
		}},
		{"redis://h?db=3&protocol=3", redisx.Config{Network: "tcp", Addr: "h:6379", DB: 3}},
		{"unix:///run/redis.sock?db=3", redisx.Config{Network: "unix", Addr: "/run/redis.sock", DB: 3}},
		{"unix://u:p@/run/a%40b.sock", redisx.Config{Network: "unix", Addr: "/run/a@b.sock", Username: "u", Password: "p"}},
		{"ws://u:p@h/a/b%20c?db=1", redisx.Config{Network: "ws", Addr: "h:80/a/b%20c", Username: "u", Password: "p", DB: 1}},
		{"ws://h:8080", redisx.Config{Network: "ws", Addr: "h:8080"}},
	} {
		got, err := redisx.ParseURL(tt.url)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v", tt.url, got, err)
		}
	}
}

func TestAURLWithTLSVerifiesAndMayNameTheCertificates(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, network, addr string }{
		{"rediss://h", "tcp", "h:6379"},
		{"valkeys://h:1/2", "tcp", "h:1"},
		{"wss://h/x", "wss", "h:443/x"},
	} {
		got, err := redisx.ParseURL(tt.url)
		if err != nil || got.Network != tt.network || got.Addr != tt.addr || got.TLS == nil || got.TLS.InsecureSkipVerify ||
			got.TLS.RootCAs != nil || got.TLS.GetClientCertificate != nil {
			t.Errorf("%s: %+v, %v", tt.url, got, err)
		}
	}
	got, err := redisx.ParseURL("rediss://h?server_name=n&cert=c.pem&key=k.pem&ca=" + neturl.QueryEscape(ca))
	if err != nil || got.TLS.ServerName != "n" || got.TLS.RootCAs == nil || got.TLS.GetClientCertificate == nil || got.TLS.InsecureSkipVerify {
		t.Errorf("%+v, %v", got.TLS, err)
	}
}

const canary = "c4n4ry"

func TestAWrongURLIsRefusedWithoutQuotingIt(t *testing.T) {
	dir := t.TempDir()
	notPEM := filepath.Join(dir, canary)
	if err := os.WriteFile(notPEM, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, want string }{
		{"", "begins with"},
		{"h:6379", "begins with"},
		{canary, "begins with"},
		{canary + ":x", "begins with"},
		{canary + ":x@h", ""},
		{"u:" + canary + "@h:6379", ""},
		{"redis:" + canary, "begins with"},
		{"redis:/" + canary, "begins with"},
		{"unix:/://u:" + canary + "@", "begins with"},
		{"http://:" + canary + "@h", "begins with"},
		{"redis+unix://:" + canary + "@h", "begins with"},
		{"redis+sentinel://:" + canary + "@h", "redis+sentinel is not supported yet"},
		{"redis+cluster://:" + canary + "@h", "redis+cluster is not supported yet"},
		{"redis://:" + canary + "@h:port", "cannot be parsed"},
		{"redis://:" + canary + "@h/x", "not a database"},
		{"redis://:" + canary + "@h/-1", "not a database"},
		{"redis://:" + canary + "@h/+1", "not a database"},
		{"redis://:" + canary + "@h/1/", "not a database"},
		{"redis://:" + canary + "@h/99999999999999999999", "not a database"},
		{"redis://:" + canary + "@h/1?db=1", "twice"},
		{"redis://:" + canary + "%zz@h", "cannot be parsed"},
		{"redis://:" + canary + "%@h", "cannot be parsed"},
		{"redis://:" + canary + "\x7f@h", "cannot be parsed"},
		{"redis://:" + canary + " @h", "cannot be parsed"},
		{"redis://:1" + canary + "/x@h", "percent-encode"},
		{"redis://:1/" + canary + "@h", "percent-encode"},
		{"redis://:1?" + canary + "@h", "percent-encode"},
		{"redis://:1?" + canary + "=1@h", "percent-encode"},
		{"redis://:1#" + canary + "@h", "percent-encode"},
		{"redis://:" + canary + "?x@h", "percent-encode"},
		{"redis://:" + canary + "#x@h", "percent-encode"},
		{"redis://:" + canary + "@h#", "%23"},
		{"redis://:" + canary + "@h#" + canary, "%23"},
		{"redis://:" + canary + "@h?timeout=" + canary, "timeout"},
		{"redis://:" + canary + "@h?timeout=", "timeout is empty"},
		{"redis://:" + canary + "@h?timeout", "timeout is empty"},
		{"redis://:" + canary + "@h?timeout=1", "timeout"},
		{"redis://:" + canary + "@h?timeout=1s&timeout=" + canary, "timeout is given twice"},
		{"redis://:" + canary + "@h?protocol=4", "protocol"},
		{"redis://:" + canary + "@h?max_bytes=-1", "max_bytes"},
		{"redis://:" + canary + "@h?max_bytes=8mb", "max_bytes"},
		{"redis://:" + canary + "@h?unknown=" + canary, `unknown URL parameter "unknown"`},
		{"redis://:" + canary + "@h?" + strings.Repeat("x", 10000), strings.Repeat("x", 32) + `"`},
		{"redis://:" + canary + "@h?a;b", "parameters cannot be parsed"},
		{"redis://:" + canary + "@h?%zz" + canary, "parameters cannot be parsed"},
		{"redis://:" + canary + "@h?ca=" + canary, "ca needs rediss"},
		{"rediss://:" + canary + "@h?ca=/nowhere/" + canary, "no such file"},
		{"rediss://:" + canary + "@h?ca=" + neturl.QueryEscape(notPEM), "no PEM certificate"},
		{"rediss://:" + canary + "@h?ca=" + neturl.QueryEscape(dir), "not a regular file"},
		{"rediss://:" + canary + "@h?ca=/dev/zero", "not a regular file"},
		{"rediss://:" + canary + "@h?ca=" + neturl.QueryEscape(large), "larger than"},
		{"rediss://:" + canary + "@h?cert=" + canary, "go together"},
		{"wss://:" + canary + "@h?key=" + canary, "go together"},
		{"unix://", "absolute path"},
		{"unix://" + canary + "/redis.sock", "absolute path"},
		{"unix:///a@b", "%40"},
	} {
		cfg, err := redisx.ParseURL(tt.url)
		if err == nil || strings.Contains(err.Error(), canary) || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 300 {
			t.Errorf("%.80q: %+v, %v; want an error with %q", tt.url, cfg, err, tt.want)
		}
	}
}

func TestAURLCannotSwitchVerificationOff(t *testing.T) {
	for _, query := range []string{
		"skip_verify=true", "insecure=1", "insecure_skip_verify=true", "InsecureSkipVerify=true", "tls_skip_verify=1",
		"ssl_cert_reqs=none", "verify=false", "verifyPeer=NONE", "rejectUnauthorized=false", "ssl_check_hostname=false", "skip_verify=false",
	} {
		for _, scheme := range []string{"rediss", "wss", "redis"} {
			_, err := redisx.ParseURL(scheme + "://h?" + query)
			if err == nil || !strings.Contains(err.Error(), "cannot switch the verification") {
				t.Errorf("%s with %s: %v", scheme, query, err)
			}
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"redis://h:1/2?timeout=1s&name=n", "valkey://[::1]", "unix:///run/redis.sock?db=1", "ws://h/p?db=1", "wss://h:1/p",
		"rediss://h?server_name=n&cert=c&key=k", "redis+cluster://h", "redis://h?skip_verify=1", "redis://h?x=1&x=2", "redis://h#f",
		"redis://h?%zz", "redis://u:p@h", "x", "redis:x", "unix://h/x", "redis://[::1", "redis://h:99999",
	} {
		f.Add(seed, "p")
		f.Add(seed, "@/?#%")
	}
	f.Fuzz(func(t *testing.T, raw, password string) {
		if strings.Contains(raw, "ca=") {
			return // it would open files
		}
		cfg, err := redisx.ParseURL(raw)
		if err == nil {
			if err := redisx.CheckConfig(cfg); err != nil && len(err.Error()) > 400 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
		scheme, rest, ok := strings.Cut(raw, "://")
		if !ok || strings.Contains(raw, canary) {
			return
		}
		// The password as it is, where anything in it may be misread.
		if _, err := redisx.ParseURL(scheme + "://:" + canary + password + canary + "@" + rest); err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the password is quoted: %v", err)
		}
		// And encoded, where nothing may.
		if err != nil || strings.Contains(rest, "@") {
			return
		}
		secret := canary + password
		withUser := scheme + "://" + neturl.UserPassword("user", secret).String() + "@" + rest
		got, err := redisx.ParseURL(withUser)
		if err != nil {
			t.Fatalf("%q is parsed and with a password not: %v", raw, err)
		}
		if got.Username != "user" || string(got.Password) != secret {
			t.Errorf("user %q, password %q, want %q", got.Username, string(got.Password), secret)
		}
		if got.Addr != cfg.Addr || got.Network != cfg.Network || got.DB != cfg.DB {
			t.Errorf("with a password: %+v, without: %+v", got, cfg)
		}
	})
}
