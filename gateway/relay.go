package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	chunk   = 32 << 10    // bytes that are relayed at once
	goodbye = time.Second // for the client to answer the closing
)

// relay is one WebSocket and its connection to Redis.
type relay struct {
	ws    *websocket.Conn
	below net.Conn // of ws
	redis net.Conn
	times times

	moved   atomic.Int64  // when a byte last passed, in ns since begun
	heard   atomic.Int64  // pieces that the client has sent
	busy    atomic.Int32  // writes in progress, to either side
	ending  atomic.Bool   // the first reason counts
	ended   chan struct{} // closed when the end begins
	over    chan struct{} // closed when it is through
	begun   time.Time
	helpers sync.WaitGroup
}

type times struct{ write, idle, ping time.Duration }

func newRelay(ws *websocket.Conn, below, redis net.Conn, t times) *relay {
	return &relay{ws: ws, below: below, redis: redis, times: t, ended: make(chan struct{}), over: make(chan struct{}), begun: time.Now()}
}

// run relays until one side ends.
func (y *relay) run() {
	y.helpers.Go(y.down)
	y.helpers.Go(y.watch)
	y.up()
	y.helpers.Wait()
}

// end says goodbye to the client, with the reason that came first, and closes
// both connections. It returns when that is done, whoever does it.
func (y *relay) end(code websocket.StatusCode, reason string) {
	if y.ending.Swap(true) {
		<-y.over
		return
	}
	close(y.ended)
	y.redis.Close()
	cut := time.AfterFunc(goodbye, func() { sever(y.below) })
	y.ws.Close(code, reason)
	cut.Stop()
	sever(y.below)
	close(y.over)
}

// sever closes nc without a word to its peer, who may not be listening.
func sever(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	nc.Close()
}

func (y *relay) passed() { y.moved.Store(int64(time.Since(y.begun))) }

// up carries what the client sends.
func (y *relay) up() {
	b := make([]byte, chunk)
	for {
		kind, message, err := y.ws.Reader(context.Background())
		if err != nil {
			y.end(websocket.StatusNormalClosure, "")
			return
		}
		if kind != websocket.MessageBinary {
			y.end(websocket.StatusUnsupportedData, "binary messages only")
			return
		}
		for err == nil {
			var n int
			n, err = message.Read(b)
			// What comes with an error is of a frame that was cut off, and the
			// library has not unmasked it.
			if n > 0 && (err == nil || err == io.EOF) && !y.toRedis(b[:n]) {
				return
			}
		}
		if errors.Is(err, websocket.ErrMessageTooBig) {
			y.end(websocket.StatusMessageTooBig, "message too big")
			return
		}
		if err != io.EOF {
			y.end(websocket.StatusNormalClosure, "")
			return
		}
	}
}

func (y *relay) toRedis(b []byte) bool {
	y.heard.Add(1)
	y.passed()
	y.busy.Add(1)
	defer y.busy.Add(-1)
	y.redis.SetWriteDeadline(time.Now().Add(y.times.write))
	if _, err := y.redis.Write(b); err != nil {
		y.end(websocket.StatusBadGateway, "the connection to redis is lost, or takes nothing")
		return false
	}
	y.passed()
	return true
}

// down carries what Redis sends.
func (y *relay) down() {
	b := make([]byte, chunk)
	for {
		n, err := y.redis.Read(b)
		if n > 0 && !y.toClient(b[:n]) {
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			y.end(websocket.StatusNormalClosure, "redis closed the connection")
			return
		case err != nil:
			y.end(websocket.StatusBadGateway, "the connection to redis is lost")
			return
		}
	}
}

func (y *relay) toClient(b []byte) bool {
	y.passed()
	y.busy.Add(1)
	defer y.busy.Add(-1)
	ctx, cancel := context.WithTimeout(context.Background(), y.times.write)
	defer cancel()
	if err := y.ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		y.end(websocket.StatusPolicyViolation, "the client takes nothing")
		return false
	}
	y.passed()
	return true
}

// watch ends a connection over which nothing passes, and one whose client is
// gone.
func (y *relay) watch() {
	every := y.times.ping
	if y.times.idle > 0 {
		every = min(every, y.times.idle)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-y.ended:
			return
		case <-ticker.C:
		}
		if idle := time.Since(y.begun) - time.Duration(y.moved.Load()); y.times.idle > 0 && idle >= y.times.idle {
			y.end(websocket.StatusGoingAway, "idle")
			return
		}
		if !y.alive() {
			y.end(websocket.StatusPolicyViolation, "no answer to a ping")
			return
		}
	}
}

// alive reports whether the client answers a ping, or has sent something
// instead. While something is being written, to either side, that write's
// timeout decides: a client whose input waits for Redis is not asked.
func (y *relay) alive() bool {
	if y.busy.Load() > 0 {
		return true
	}
	heard := y.heard.Load()
	ctx, cancel := context.WithTimeout(context.Background(), y.times.ping)
	defer cancel()
	return y.ws.Ping(ctx) == nil || y.heard.Load() != heard || y.busy.Load() > 0
}
