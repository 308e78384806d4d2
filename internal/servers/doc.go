// Package servers starts private Redis and Valkey servers for tests and for
// the demo.
//
//	s, err := servers.Launch(ctx, servers.Options{})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	conn, err := net.Dial("tcp", s.Addr)
//
// A server is a child process on a free port of 127.0.0.1 and on a unix socket
// in a folder of its own. It persists nothing unless Options.Args say so.
//
// Options.Flavor asks for a version of Redis or Valkey, such as Redis80. It is
// found on PATH or in the Cache, where `go run ./internal/servers/fetch` puts
// what a Debian machine lacks, without root. Tests ask a server what it can;
// the version behind a flavor may move.
//
// Options.TLS opens a second port. Its certificates are made at the start, by an
// authority that only Server.TLSConfig trusts.
//
// Guarantees: Launch and Restart return once the server answers PING. Kill and
// Close return once the process is gone. On Linux the kernel kills the server
// if this process dies first.
//
// Non-guarantees: on other systems a parent that is killed leaves the server
// running. The port is free when it is chosen; if another process takes it
// first, Launch tries another one, but Restart fails.
//
// A Server may be used by many goroutines.
package servers
