package session

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

// peer is the server's end of a connection, played by the test.
type peer struct {
	t  *testing.T
	nc *simnet.Conn
	rd *resp3.Reader
}

// inBubble runs f in virtual time with a connection and its peer.
func inBubble(t *testing.T, cfg Config, o simnet.Options, f func(c *Conn, p *peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, server := simnet.Pipe(o)
		cfg.Node = "peer:1"
		c := New(client, cfg)
		defer server.Close()
		defer c.Close() // also if f fails
		f(c, &peer{t, server, resp3.NewReader(server, resp3.Limits{})})
		c.Close()
		if c.nflight != 0 || c.nbytes != 0 || len(c.waiters) != 0 || c.leading || c.writing {
			t.Errorf("left: %d commands, %d bytes, %d waiters, leading %v, writing %v", c.nflight, c.nbytes, len(c.waiters), c.leading, c.writing)
		}
	})
}

// next returns the next command, its words joined by spaces.
func (p *peer) next() string {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(time.Hour))
	v, err := p.rd.Read()
	if err != nil {
		p.t.Fatalf("the server waited for a command: %v", err)
	}
	var words []string
	for e := range v.Elems() {
		words = append(words, e.Text())
	}
	return strings.Join(words, " ")
}

// nothing checks that the client has sent nothing more.
func (p *peer) nothing() {
	p.t.Helper()
	synctest.Wait()
	p.nc.SetReadDeadline(time.Now().Add(time.Millisecond))
	if v, err := p.rd.Read(); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.EOF) {
		p.t.Errorf("the server was sent %q, error %v", v.Raw(), err)
	}
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := p.nc.Write([]byte(s)); err != nil {
		p.t.Errorf("the server could not send: %v", err)
	}
}

// result is what a call returned, and when.
type result struct {
	text string
	err  error
	took time.Duration
}

func request(name string, args ...string) command.Request {
	r := command.NewRequest(command.NewSpec(command.Spec{Name: name, Arity: -1}))
	for _, a := range args {
		r.Add(command.Str(a))
	}
	return r
}

// do starts a call and returns when it waits.
func do(ctx context.Context, c *Conn, name string, args ...string) <-chan result {
	r := request(name, args...)
	return doRequest(ctx, c, r)
}

func doRequest(ctx context.Context, c *Conn, r command.Request) <-chan result {
	ch := make(chan result, 1)
	start := time.Now()
	go func() {
		reply, err := c.Do(ctx, &r)
		res := result{err: err, took: time.Since(start)}
		if err == nil {
			res.text = reply.View().Text()
			reply.Release()
		}
		ch <- res
	}()
	synctest.Wait()
	return ch
}

func (p *peer) want(ch <-chan result, text string) {
	p.t.Helper()
	if r := <-ch; r.err != nil || r.text != text {
		p.t.Errorf("got %q, error %v; want %q", r.text, r.err, text)
	}
}

// wantError checks outcome, phase and cause, and returns the error.
func (p *peer) wantError(ch <-chan result, o command.Outcome, phase string, cause error) result {
	p.t.Helper()
	r := <-ch
	var e *command.Error
	if !errors.As(r.err, &e) || e.Outcome != o || e.Phase != phase || !errors.Is(r.err, cause) {
		p.t.Errorf("got %q, error %v; want one that says %q in phase %s because of %v", r.text, r.err, o, phase, cause)
	}
	return r
}

func (p *peer) dead(c *Conn) {
	p.t.Helper()
	synctest.Wait()
	if c.Err() == nil {
		p.t.Error("the connection lives on")
	}
}
