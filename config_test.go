package redisx_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
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
		{"valkey://[::1]/4", redisx.Config{Network: "tcp", Addr: "[::1]:6379", DB: 4}},
		{"redis://:p%40ss@h", redisx.Config{Network: "tcp", Addr: "h:6379", Password: "p@ss"}},
		{"redis://u:p@h:1/2?name=n&protocol=2&timeout=1s&dial_timeout=2s&offline_wait=3s&max_in_flight=4", redisx.Config{
			Network: "tcp", Addr: "h:1", Username: "u", Password: "p", DB: 2, ClientName: "n", RESP2: true,
			Timeout: time.Second, DialTimeout: 2 * time.Second, OfflineWait: 3 * time.Second, MaxInFlight: 4,
		}},
		{"unix:///run/redis.sock?db=3", redisx.Config{Network: "unix", Addr: "/run/redis.sock", DB: 3}},
		{"unix://u:p@/run/redis.sock", redisx.Config{Network: "unix", Addr: "/run/redis.sock", Username: "u", Password: "p"}},
	} {
		got, err := redisx.ParseURL(tt.url)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", tt.url, got, err)
		}
	}
}

func TestAWrongURLIsRefusedWithoutQuotingIt(t *testing.T) {
	const secret = "c4n4ry"
	for _, url := range []string{
		"", "h:6379", "http://:" + secret + "@h", "redis://:" + secret + "@h:port", "redis://:" + secret + "@h/x",
		"redis://:" + secret + "@h/-1", "redis://:" + secret + "%zz@h", "redis://:" + secret + "@h?timeout=" + secret,
		"redis://:" + secret + "@h?protocol=4", "redis://:" + secret + "@h?unknown=1", "unix://", "rediss://:" + secret + "@h",
		"redis://:" + secret + "\x7f@h",
	} {
		_, err := redisx.ParseURL(url)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestAWrongConfigIsRefused(t *testing.T) {
	for name, cfg := range map[string]redisx.Config{
		"network":    {Network: "udp"},
		"database":   {DB: -1},
		"name":       {ClientName: "a b"},
		"newline":    {ClientName: "a\nb"},
		"timeout":    {Timeout: -1},
		"bound":      {MaxInFlight: -1},
		"byte bound": {MaxBytes: -1},
	} {
		if _, err := redisx.ConnectConfig(bg, cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestASecretIsNeverPrinted(t *testing.T) {
	const secret = "c4n4ry"
	cfg := redisx.Config{Password: secret}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&b, verb, cfg.Password)
		fmt.Fprintf(&b, verb, cfg)
		fmt.Fprintf(&b, verb, &cfg)
	}
	cfg.Dialer = nil
	j, err := json.Marshal(map[string]any{"password": cfg.Password})
	if err != nil {
		t.Fatal(err)
	}
	b.Write(j)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "password", cfg.Password)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "config", cfg)
	if hex := fmt.Sprintf("%x", secret); strings.Contains(b.String(), secret) || strings.Contains(b.String(), hex) {
		t.Errorf("a secret was printed: %s", b.String())
	}
}
