package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// inlineWrite is how many bytes may be unanswered while a caller writes by
	// itself to a transport that cannot resume: they fit into the buffers of any
	// socket, so the write does not block though the peer reads nothing.
	inlineWrite = 8 << 10
	// blockedFor is how many ticks such a write may block beyond its caller's
	// context. Less could cost a connection because this process did not run.
	blockedFor = 3
)

// errInterrupted is why a connection ended, in the middle of a write.
var errInterrupted = errors.New("a write was interrupted that the transport cannot resume")

// resumes reports whether a write that its deadline interrupted can go on where
// it stopped. TLS has spent the record then, WebSocket has half a message out,
// and of other transports nothing is known unless they say so.
func resumes(nc net.Conn) bool {
	switch nc := nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case interface{ ResumesWrites() bool }:
		return nc.ResumesWrites()
	}
	return false
}

// mayBlock reports whether what is to be written could block a caller beyond its
// context, because too much is unanswered and the write could not be
// interrupted: then it is made in the background. It is called with mu held.
func (c *Conn) mayBlock() bool { return !c.resumes && c.nbytes > inlineWrite }

// interrupt frees the caller that writes, whose context has ended, from a write
// that blocks. Where the write cannot be resumed it ends the connection. It is
// called by every tick that finds such a caller, with mu held.
func (c *Conn) interrupt() {
	if c.watch.late++; c.resumes || c.watch.late >= blockedFor {
		c.nc.SetWriteDeadline(past)
	}
}

// forgive takes back an interruption that came too late for the write that it
// was meant for. It is called with mu held.
func (c *Conn) forgive() {
	if !c.resumes && c.watch.late >= blockedFor {
		c.nc.SetWriteDeadline(time.Time{})
	}
}

// blame makes the end of a context, which interrupted a write and so ended the
// connection, the error of the call that it belongs to. Only the owner of a call
// that is done calls it.
func (k *call) blame(ctx context.Context) {
	if errors.Is(k.err, errInterrupted) && ctx.Err() != nil {
		k.err = fmt.Errorf("%w: %w", Ended(ctx), k.err)
	}
}
