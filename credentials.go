package redisx

import (
	"context"
	"fmt"
	"time"

	"github.com/redisx/redisx/internal/pool"
)

// Credentials are what connections authenticate with. Both empty: they do not.
type Credentials struct {
	// Username is the ACL user. Empty means "default", if there is a Password.
	Username string
	// Password is the user's password or token. It may be empty for a user whom
	// the server lets in with any (nopass).
	Password Secret
	// Expires is when the server stops accepting them, by this machine's clock.
	// Zero means never. When 75 to 90 percent of the time until then has passed,
	// Config.Credentials is asked again and every connection authenticates anew,
	// as by Client.Reauthenticate.
	Expires time.Time
}

// Reauthenticate asks Config.Credentials anew and makes all connections
// authenticate with the answer, in line with their commands: none is
// interrupted. It returns nil when no connection has the old credentials any
// more, but for two kinds:
//
//   - Connections in a caller's hands (sessions, transactions, blocking commands)
//     are left alone, as the server queues an AUTH between MULTI and EXEC. They
//     are closed when they come back.
//   - A subscriber whose consumer is slow authenticates when that has read on.
//     Under RESP2, where a subscriber takes no AUTH, it is dialled anew.
//
// A connection on which the server refuses the new credentials is closed, with
// what is in flight on it, and the first refusal returned; the next command
// dials, and is refused as well. When the provider fails nothing changes.
//
// The work goes on when ctx ends; ctx bounds only the waiting. Calls that come
// together share one question to the provider. Without Config.Credentials
// there is nothing to ask, which is an error.
func (c *Client) Reauthenticate(ctx context.Context) error {
	if err := c.node.Reauthenticate(ctx); err != nil {
		return fmt.Errorf("redisx: reauthenticate: %w", err)
	}
	return nil
}

// provider returns Config.Credentials as the pool asks it.
func (c *Config) provider() func(context.Context) (pool.Credentials, error) {
	ask := c.Credentials
	if ask == nil {
		return nil
	}
	return func(ctx context.Context) (pool.Credentials, error) {
		got, err := ask(ctx)
		return pool.Credentials{Username: got.Username, Password: string(got.Password), Expires: got.Expires}, err
	}
}
