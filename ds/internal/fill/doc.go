// Package fill is the right to compute a value for everybody: a lease on the
// server, with a token that is used once.
//
//	token := owner.New()
//	sent := time.Now()
//	… // a script of the primitive takes the fill at key, with kind, token and a TTL
//	h := fill.Keep(ctx, d, key, token, lease, sent, nil, lost)
//	compute(h.Context()) // ends before the server lets anyone else compute
//	h.Stop()
//	… // a script stores the value if the token is still current, and ends the fill
//
// How a fill is taken and what storing means is the primitive's business. This
// package renews fills, gives them back, and says where they lie: in the hash
// slot of the value, whatever its key looks like.
//
// All functions may be used by many goroutines.
package fill
