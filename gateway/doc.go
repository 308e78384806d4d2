// Package gateway lets WebSocket clients reach a Redis server: browsers, edge
// functions, networks where only HTTP passes. It relays bytes, in binary
// messages, and does not interpret RESP.
//
//	g := &gateway.Handler{
//		Dial:      gateway.To(transport.Net{}, "tcp", "127.0.0.1:6379"),
//		Hosts:     []string{"redis.example.com"},
//		Origins:   []string{"https://app.example.com"},
//		Authorize: gateway.Bearer(token),
//	}
//	http.Handle("/redis", g)
//	…
//	server.Shutdown(ctx) // does not know of WebSockets
//	g.Close()
//
// A redisX client connects with ws://host/redis or wss://host/redis, any other
// one with package transport's WebSocket.
//
// # What it means for security
//
// Whoever may connect may do what the Redis user may do as whom they then
// authenticate; the gateway adds nothing and takes nothing away. Give each kind
// of client a Redis user of its own, with the commands and keys it needs (ACL
// SETUSER), and leave the default user without rights. A server that lets the
// default user in without a password is open to everybody the gateway lets in.
//
// Before a request is upgraded:
//
//   - Its Host must be in Hosts, or an IP address or localhost if there are none:
//     a name that an attacker points at this server (DNS rebinding) is refused
//     with 421.
//   - If a browser sent it, its Origin must be in Origins or be the same as the
//     Host, or it is refused with 403: without that every web page could use the
//     gateway through its visitor's browser, with the visitor's cookies.
//   - Authorize must agree, or it is refused with 401 or 403.
//   - There must be room (MaxConns), or it is refused with 503.
//
// # Bounds
//
// A WebSocket costs three goroutines and 64 KiB of buffers, and a connection to
// Redis. What is read from one side is written to the other before more is
// read: a slow client slows its connection to Redis down, and Redis gives up a
// client that leaves too much unread (client-output-buffer-limit). A side that
// takes nothing for WriteTimeout, and a client that answers no ping, are cut.
//
// # Not promised
//
//   - There is no encryption: serve it with TLS, or behind something that does.
//   - Nothing is limited per client: no rate, no commands, no connections.
//   - A message that was received may or may not have reached Redis when the
//     connection ends.
//   - A client that does not read for two PingIntervals counts as gone.
//   - Browsers cannot set Authorization on a WebSocket: for them, Authorize has to
//     look at a cookie, or leave it to AUTH.
package gateway
