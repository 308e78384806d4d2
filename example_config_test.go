package redisx_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redisx/redisx"
)

func ExampleParseURL() {
	cfg, err := redisx.ParseURL("rediss://app:s%40cret@cache.example/2?name=web&timeout=500ms&max_private=64")
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.Limits.Bulk = 64 << 20 // what a URL cannot say
	fmt.Println(cfg.Network, cfg.Addr, cfg.DB, cfg.Timeout, cfg.TLS != nil)
	fmt.Println(cfg.Username, cfg.Password)

	_, err = redisx.ParseURL("rediss://cache.example?skip_verify=true")
	fmt.Println(err)
	// Output:
	// tcp cache.example:6379 2 500ms true
	// app [redacted]
	// redisx: URL parameter "skip_verify": a URL cannot switch the verification of certificates off; trust the server's authority with ca=file, or set Config.TLS in code
}

// A token that lasts a quarter of an hour: it is renewed before that, on all
// connections, without interrupting any.
func ExampleConfig_credentials() {
	ctx := context.Background()
	cfg, err := redisx.ParseURL(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.Credentials = func(context.Context) (redisx.Credentials, error) {
		token := "" // of a vault, a file, the cloud's metadata service…
		return redisx.Credentials{Password: redisx.Secret(token), Expires: time.Now().Add(15 * time.Minute)}, nil
	}
	client, err := redisx.ConnectConfig(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(client.Set(ctx, "example:key", "v"))
}
