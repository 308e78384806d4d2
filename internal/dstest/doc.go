// Package dstest is what the tests of the primitives share: clients of servers
// of their own, answers that get lost, and processes that die.
//
//	func TestMain(m *testing.M) {
//		dstest.Play(roles)
//		goleak.VerifyTestMain(m)
//	}
//
//	func TestIt(t *testing.T) {
//		dstest.Servers(t, func(t *testing.T, f servers.Flavor) {
//			s := serverstest.Start(t, servers.Options{Flavor: f})
//			c := dstest.Connect(t, s)
//			…
//		})
//	}
//
// Filler is the tests that aside and coalesce share.
//
// With REDISX_LONG set, tests run at the full numbers of their scenarios and on
// every server that the project requires.
package dstest
