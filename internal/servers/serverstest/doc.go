// Package serverstest starts servers that end with the test that asked for them.
//
//	s := serverstest.Start(t)
//	conn, err := net.Dial("tcp", s.Addr)
//
// Each runs a test against every version that the tests require:
//
//	serverstest.Each(t, func(t *testing.T, f servers.Flavor) {
//		s := serverstest.Start(t, servers.Options{Flavor: f})
//		…
//	})
package serverstest
