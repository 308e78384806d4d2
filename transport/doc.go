// Package transport opens byte streams to servers: TCP, unix sockets, TLS and
// WebSocket. A transport carries bytes and knows nothing of RESP.
//
//	transport.Net{}                       // tcp, unix
//	transport.TLS{Config: &tls.Config{}}  // the same under TLS
//	transport.WebSocket{Header: h}        // ws, wss, as through package gateway
//
// Dialers stack: TLS and WebSocket open their stream with another Dialer,
// which may be the caller's own (a proxy, a tunnel, a test).
//
// # Guarantees
//
//   - A dial ends when its context does, and leaves nothing behind then.
//   - All addresses of a name are tried, the next one 250 ms after the one
//     before it: an address that is dead costs that much and not the dial.
//   - A certificate is verified, and TLS is at least 1.2, whatever the URL says:
//     only code can switch verification off.
//   - What a Write did not report as written never reaches the server (see
//     Dialer), so redisX can tell whether a command may have run.
//   - What a peer sends takes bounded memory, whatever lengths it announces.
//
// # Not promised
//
//   - A WebSocket does not know how much of a message that failed has arrived:
//     it reports all of it as written, and a command in it may have run.
//   - No proxy of the environment is used. Give a Dialer that goes through it.
//   - In a browser (GOOS=js) the page's WebSocket is used: it takes no header, no
//     TLS configuration and no Dialer, and buffers without bound what the page
//     does not read.
package transport
