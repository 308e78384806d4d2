// Package transport opens byte streams to servers: TCP and unix sockets.
//
// A transport carries bytes and knows nothing of RESP. It must be a plain byte
// stream: what Write took before it failed is a prefix of what it was given,
// as redisx judges from that whether a command can have run.
package transport
