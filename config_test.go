package redisx_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/transport"
)

func TestAWrongConfigIsRefused(t *testing.T) {
	ask := func(context.Context) (redisx.Credentials, error) { return redisx.Credentials{}, nil }
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS13}
	header := map[string]redisx.Secret{"X": "y"}
	for name, cfg := range map[string]redisx.Config{
		"network":                  {Network: "udp"},
		"a URL as address":         {Addr: "redis://:" + canary + "@h:6379"},
		"user info in the address": {Addr: "u:" + canary + "@h:6379"},
		"no port":                  {Addr: "h"},
		"port 0":                   {Addr: "h:0"},
		"a large port":             {Addr: "h:65536"},
		"a port by name":           {Addr: "h:redis"},
		"no path":                  {Network: "unix"},
		"no web address":           {Network: "ws"},
		"a web address":            {Network: "wss", Addr: "h/path"},
		"TLS over unix":            {Network: "unix", Addr: "/s", TLS: tlsConfig},
		"ws with TLS":              {Network: "ws", Addr: "h:1/", TLS: tlsConfig},
		"header without a web":     {Header: header},
		"a header with a line":     {Network: "ws", Addr: "h:1", Header: map[string]redisx.Secret{"X": "a\r\nb: " + canary}},
		"a header without a name":  {Network: "ws", Addr: "h:1", Header: map[string]redisx.Secret{"": canary}},
		"dialer and TLS":           {Dialer: transport.Net{}, TLS: tlsConfig},
		"dialer and header":        {Dialer: transport.Net{}, Header: header},
		"dialer and keepalive":     {Dialer: transport.Net{}, KeepAlive: 1},
		"dialer and user timeout":  {Dialer: transport.Net{}, UserTimeout: -1},
		"password and provider":    {Password: canary, Credentials: ask},
		"user and provider":        {Username: "u", Credentials: ask},
		"database":                 {DB: -1},
		"name":                     {ClientName: "a b"},
		"newline":                  {ClientName: "a\nb"},
		"a name that is not ASCII": {ClientName: "é"},
		"timeout":                  {Timeout: -1},
		"dial timeout":             {DialTimeout: -1},
		"offline wait":             {OfflineWait: -1},
		"a timeout without end":    {Timeout: 1<<63 - 1},
		"a keepalive without end":  {KeepAlive: 1<<63 - 1},
		"bound":                    {MaxInFlight: -1},
		"byte bound":               {MaxBytes: -1},
		"private bound":            {MaxPrivate: -1},
	} {
		start := time.Now()
		client, err := redisx.ConnectConfig(bg, cfg)
		if err == nil {
			client.Close()
			t.Errorf("%s: accepted", name)
			continue
		}
		if strings.Contains(err.Error(), canary) || !strings.HasPrefix(err.Error(), "redisx: ") || redisx.CheckConfig(cfg) == nil {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
	}
}

func TestARightConfigIsAccepted(t *testing.T) {
	for name, cfg := range map[string]redisx.Config{
		"zero":             {},
		"everything off":   {KeepAlive: -1, UserTimeout: -1},
		"TLS":              {TLS: &tls.Config{MinVersion: tls.VersionTLS12}},
		"wss without TLS":  {Network: "wss", Addr: "h:1/path", Header: map[string]redisx.Secret{"X": "y"}},
		"IPv6":             {Addr: "[::1]:1"},
		"any host":         {Addr: ":1"},
		"a day":            {Timeout: 24 * time.Hour},
		"a dialer's words": {Network: "pigeon", Addr: "the one with the ring", Dialer: transport.Net{}},
	} {
		if err := redisx.CheckConfig(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAWebSocketIsOpenedWithPathAndHeader(t *testing.T) {
	var asked *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer srv.Close()
	_, err := redisx.ConnectConfig(bg, redisx.Config{
		Network: "ws", Addr: srv.Listener.Addr().String() + "/a/b%20c", Password: canary + "2",
		Header: map[string]redisx.Secret{"Authorization": canary},
	})
	if !redisx.SafeToRetry(err) || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v", err)
	}
	if asked == nil || asked.URL.EscapedPath() != "/a/b%20c" || asked.Header.Get("Authorization") != canary {
		t.Errorf("the server was asked %+v", asked)
	}
}

func TestAClientDoesNotPrintItsSecrets(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Password: canary})
	client := connect(t, srv.URL())
	if got := fmt.Sprintf("%v %+v %#v", client, client, client); strings.Contains(got, canary) {
		t.Error(got)
	}
}

// The name is seen, the database selected and the password used, whichever way
// they were stated.
func TestTheServerSeesWhatTheConfigStates(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Password: "a @/?#%:+\"b"})
	for _, url := range []string{srv.URL(), srv.SocketURL()} {
		for _, protocol := range []string{"2", "3"} {
			client := connect(t, url+"?name=me"+protocol+"!&db=3&max_in_flight=10&max_bytes=1000&max_private=2&keepalive=1s&user_timeout=1s&protocol="+protocol)
			list, err := client.Cmd(bg, "CLIENT", "LIST")
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for line := range strings.Lines(list.Text()) {
				if strings.Contains(line, " name=me"+protocol+"! ") && strings.Contains(line, " db=3 ") &&
					strings.Contains(line, " user=default ") && strings.HasSuffix(line, " resp="+protocol+"\n") {
					found = true
				}
			}
			if !found {
				t.Errorf("%s with protocol %s is not in %s", url, protocol, list.Text())
			}
		}
	}
}
