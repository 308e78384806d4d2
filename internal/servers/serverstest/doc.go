// Package serverstest starts servers that end with the test that asked for them.
//
//	s := serverstest.Start(t)
//	conn, err := net.Dial("tcp", s.Addr)
package serverstest
