package session

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/simnet"
)

// writerFunc is an io.Writer that is a function.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// pour starts a Pour of GET big and returns when it waits. text holds what was
// written.
func pour(ctx context.Context, c *Conn, w func(b []byte) (int, error)) (<-chan result, *strings.Builder) {
	var text strings.Builder
	ch := make(chan result, 1)
	start := time.Now()
	go func() {
		r := request("GET", "big")
		n, reply, err := c.Pour(ctx, &r, writerFunc(func(b []byte) (int, error) {
			text.Write(b)
			return w(b)
		}))
		if n != int64(text.Len()) && err == nil {
			err = errors.New("the count is wrong")
		}
		reply.Release()
		ch <- result{err: err, took: time.Since(start)}
	}()
	synctest.Wait()
	return ch, &text
}

func takesAll(b []byte) (int, error) { return len(b), nil }

func TestAStringIsPouredAsItArrives(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		done, text := pour(bg, c, takesAll)
		if got := p.next(); got != "GET big" {
			t.Errorf("sent %q", got)
		}
		p.send("$10\r\n01234")
		synctest.Wait()
		if text.String() != "01234" {
			t.Errorf("written before the rest has come: %q", text)
		}
		p.send("56789\r\n")
		p.want(done, "")
		if text.String() != "0123456789" {
			t.Errorf("written: %q", text)
		}
		next := do(bg, c, "GET", "next")
		p.next()
		p.send("+next\r\n")
		p.want(next, "next")
	})
}

// A writer may take longer than the server may.
func TestASlowWriterDoesNotStallTheConnection(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		done, _ := pour(bg, c, func(b []byte) (int, error) {
			time.Sleep(time.Minute)
			return len(b), nil
		})
		p.send("$10\r\n01234")
		time.Sleep(time.Second)
		p.send("56789\r\n")
		p.want(done, "")
	})
}

func TestAWriterThatFailsEndsItsConnection(t *testing.T) {
	full := errors.New("disk full")
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		done, _ := pour(bg, c, func(b []byte) (int, error) { return 3, full })
		p.send("$10\r\n01234")
		p.wantError(done, command.Done, "copy", full)
		p.dead(c)
	})
}

func TestAContextThatEndsInTheMiddleOfAStringEndsItsConnection(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		ctx, cancel := context.WithCancel(bg)
		done, _ := pour(ctx, c, takesAll)
		p.send("$10\r\n01234")
		synctest.Wait()
		cancel()
		if r := p.wantError(done, command.Maybe, "read", context.Canceled); r.took != 0 {
			t.Errorf("took %v", r.took)
		}
		p.dead(c)
	})
}

// What a writer does to its goroutine must not leave the connection to nobody:
// Close would wait for ever.
func TestAWriterThatPanicsOrExitsEndsItsConnection(t *testing.T) {
	for name, leave := range map[string]func(){
		"panics": func() { panic("mine") },
		"exits":  runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
				left := make(chan any, 1)
				go func() {
					defer func() { left <- recover() }()
					r := request("GET", "big")
					c.Pour(bg, &r, writerFunc(func([]byte) (int, error) { leave(); return 0, nil }))
				}()
				synctest.Wait()
				other := do(bg, c, "GET", "other")
				p.send("$10\r\n01234")
				if got := <-left; name == "panics" && got != "mine" {
					t.Errorf("recovered %v", got)
				}
				p.wantError(other, command.Maybe, "read", errSink)
				p.dead(c)
			})
		})
	}
}
