package pool

import "context"

// Generation rises before a new shared connection takes its first command,
// which may reach another server than the one before, and when the connections
// have become another user's. What was read in one generation need not hold in
// the next.
func (n *Node) Generation() int64 { return n.generation.Load() }

// Ready waits for a shared connection that is not known to be dead.
func (n *Node) Ready(ctx context.Context) error { return n.live(ctx) }
