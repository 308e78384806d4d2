// Package faultproxy is a TCP proxy that does to connections what networks do:
// it cuts them, resets them, closes one direction, holds bytes back, delays
// them, or lets them through in drops.
//
//	p, err := faultproxy.Start(server.Addr)
//	if err != nil {
//		return err
//	}
//	defer p.Close()
//	// Connect to p.Addr, then:
//	p.Apply(faultproxy.Fault{Kind: faultproxy.Cut, To: faultproxy.Client, Bytes: 100})
//
// A fault is a value. Random makes one from a source of random numbers, so a
// schedule is repeated by its seed; how the bytes fall into the schedule depends
// on the machine.
//
// Guarantees: what arrives is a prefix of what was sent, in order. A fault
// applies to the connections that are open, and to those that are opened while
// it lasts. Close returns once every connection is closed and nothing of the
// proxy runs.
//
// Non-guarantees: bytes are not passed on one write at a time; where a stream is
// split is for the kernel to say.
//
// A Proxy may be used by many goroutines.
package faultproxy
