package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

func TestCallersBeyondTheBoundWaitInOrder(t *testing.T) {
	inBubble(t, Config{MaxInFlight: 2}, simnet.Options{}, func(c *Conn, p *peer) {
		var ch []<-chan result
		for i := range 6 {
			ch = append(ch, do(bg, c, "GET", fmt.Sprint(i)))
		}
		sent := []string{p.next(), p.next()}
		p.nothing()
		for i := range 6 {
			if i >= 2 {
				sent = append(sent, p.next())
			}
			if want := fmt.Sprintf("GET %d", i); sent[i] != want {
				t.Errorf("sent %q, want %q", sent[i], want)
			}
			p.send(fmt.Sprintf("+%d\r\n", i))
			p.want(ch[i], fmt.Sprint(i))
			synctest.Wait() // who was let in writes before the next one is
		}
	})
}

func TestWhatIsLargerThanTheBoundGoesAlone(t *testing.T) {
	inBubble(t, Config{MaxBytes: 300}, simnet.Options{}, func(c *Conn, p *peer) {
		a := do(bg, c, "GET", "a")
		b := do(bg, c, "SET", "b", strings.Repeat("x", 500))
		d := do(bg, c, "GET", "d") // small, and yet behind the large one
		p.next()
		p.nothing()
		p.send("+a\r\n")
		p.want(a, "a")
		if got := p.next(); !strings.HasPrefix(got, "SET b") {
			t.Errorf("sent %q", got)
		}
		p.nothing()
		p.send("+b\r\n")
		p.want(b, "b")
		p.next()
		p.send("+d\r\n")
		p.want(d, "d")
	})
}

// A waiter that is let in at the moment at which its context ends keeps no room.
func TestAWaiterThatLeavesKeepsNoRoom(t *testing.T) {
	left := 0
	for i := range 40 {
		inBubble(t, Config{MaxInFlight: 1}, simnet.Options{}, func(c *Conn, p *peer) {
			a := do(bg, c, "GET", "a")
			ctx, cancel := context.WithCancel(bg)
			b := do(ctx, c, "GET", "b")
			c.mu.Lock()
			c.cfg.MaxInFlight = 2
			if i%2 == 0 { // what comes first wakes the waiter
				cancel()
			}
			c.grant()
			cancel()
			c.mu.Unlock()
			if (<-b).err != nil {
				left++
			}
			p.send("+a\r\n")
			p.want(a, "a")
			if n := c.Pending(); n != 0 {
				t.Errorf("%d pending", n)
			}
		})
	}
	if left != 40 {
		t.Errorf("%d of 40 calls with an ended context ran", 40-left)
	}
}

func TestCloseTellsEachCallHowFarItCame(t *testing.T) {
	for range 20 { // leader and writer learn of it in any order
		closeWhileBusy(t)
	}
}

func closeWhileBusy(t *testing.T) {
	inBubble(t, Config{MaxInFlight: 5}, simnet.Options{Window: 200}, func(c *Conn, p *peer) {
		a := do(bg, c, "GET", "a")
		b := do(bg, c, "SET", "b", strings.Repeat("x", 100_000)) // half written
		d := do(bg, c, "GET", "d")                               // not written
		e := doBatch(bg, c, request("GET", "e1"), request("GET", "e2"))
		for range 3 {
			go c.Close() // at once, from many
		}
		p.wantError(a, command.Maybe, "queue", ErrClosed)
		p.wantError(b, command.Cut, "queue", ErrClosed)
		p.wantError(d, command.NotSent, "queue", ErrClosed)
		for _, err := range <-e {
			if !command.SafeToRetry(err) {
				t.Errorf("the batch: %v", err)
			}
		}
		c.Close()
		p.wantError(do(bg, c, "GET", "f"), command.NotSent, "queue", ErrClosed)
	})
}

func TestCloseFromEveryState(t *testing.T) {
	for name, prepare := range map[string]func(c *Conn, p *peer){
		"unused":      func(*Conn, *peer) {},
		"idle":        func(*Conn, *peer) { time.Sleep(3 * time.Second) },
		"in a ping":   func(*Conn, *peer) { time.Sleep(11 * time.Second) },
		"peer gone":   func(_ *Conn, p *peer) { p.nc.Close() },
		"peer spoilt": func(_ *Conn, p *peer) { p.send("HTTP/1.1 400 Bad Request\r\n") },
		"with an orphan": func(c *Conn, _ *peer) {
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			defer cancel()
			<-do(ctx, c, "GET", "a")
		},
		"writing for nobody": func(c *Conn, _ *peer) {
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			defer cancel()
			<-do(ctx, c, "GET", strings.Repeat("x", 100_000))
		},
		"leading": func(c *Conn, _ *peer) { do(bg, c, "GET", "a") },
	} {
		for _, standing := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, standing %v", name, standing), func(t *testing.T) {
				closed := 0
				cfg := Config{Standing: standing, OnClose: func(error) { closed++ }}
				inBubble(t, cfg, simnet.Options{Window: 1000}, func(c *Conn, p *peer) {
					prepare(c, p)
					c.Close()
					c.Close()
					if closed != 1 || c.Err() == nil {
						t.Errorf("OnClose was called %d times, error %v", closed, c.Err())
					}
				})
			})
		}
	}
}

// doBatch starts a batch and returns its results as errors.
func doBatch(ctx context.Context, c *Conn, rs ...command.Request) <-chan []error {
	ch := make(chan []error, 1)
	go func() {
		errs := make([]error, len(rs))
		c.DoBatch(ctx, rs, func(i int, _ resp3.View, err error) { errs[i] = err })
		ch <- errs
	}()
	synctest.Wait()
	return ch
}

func outcomes(errs []error) string {
	var s []string
	for _, err := range errs {
		var e *command.Error
		switch {
		case err == nil:
			s = append(s, "ok")
		case errors.As(err, &e):
			s = append(s, e.Outcome.String())
		default:
			s = append(s, "?")
		}
	}
	return strings.Join(s, ", ")
}

func TestABatchHasAnOutcomeForEachCommand(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		size := len("*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
		c.nc.(*simnet.Conn).CutAfter(3*size + 5)
		ch := doBatch(bg, c, request("GET", "a"), request("GET", "b"), request("GET", "c"), request("GET", "d"), request("GET", "e"))
		const want = "may have run, may have run, may have run, cut before its end, not run, not sent"
		if got := outcomes(<-ch); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		ch := doBatch(bg, c, request("GET", "a"), request("GET", "b"), request("GET", "c"))
		p.send("+a\r\n-ERR b\r\n")
		p.nc.Close()
		if got := outcomes(<-ch); got != "ok, answered, may have run" {
			t.Error(got)
		}
	})
}

// What was withdrawn before a batch moves the batch in the stream. If that were
// forgotten, commands that went out would be reported as not sent.
func TestABatchBehindAWithdrawnCommandIsJudgedByWhereItWas(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{Window: 100}, func(c *Conn, p *peer) {
		a := do(bg, c, "SET", "a", strings.Repeat("x", 100_000))
		ctx, cancel := context.WithCancel(bg)
		b := do(ctx, c, "SET", "b", strings.Repeat("x", 5000))
		e := doBatch(bg, c, request("INCR", "e1"), request("INCR", "e2"))
		cancel()
		p.wantError(b, command.NotSent, "queue", context.Canceled)
		p.next()
		p.next()
		p.next()
		p.send("+a\r\n")
		p.want(a, "a")
		p.nc.Close()
		if got := outcomes(<-e); got != "may have run, may have run" {
			t.Error(got)
		}
	})
}

func TestAPipelineLargerThanAllBuffersPassesBothWays(t *testing.T) {
	const n, size = 100, 100_000
	inBubble(t, Config{}, simnet.Options{Window: 10_000}, func(c *Conn, p *peer) {
		rs := make([]command.Request, n)
		for i := range rs {
			rs[i] = request("ECHO", fmt.Sprint(i, strings.Repeat("x", size)))
		}
		ok := 0
		done := make(chan error, 1)
		go func() {
			done <- c.DoBatch(bg, rs, func(i int, v resp3.View, err error) {
				if v.Text() == rs[i].Arg(0).Text() {
					ok++
				}
			})
		}()
		for range n {
			_, arg, _ := strings.Cut(p.next(), " ")
			p.send(string(resp3.AppendBulk(nil, arg)))
		}
		if err := <-done; err != nil || ok != n {
			t.Errorf("%d of %d replies are right, error %v", ok, n, err)
		}
	})
}

func TestWhatMakesProgressIsNotStalled(t *testing.T) {
	inBubble(t, Config{MaxBytes: 64 << 20}, simnet.Options{Window: 1 << 20}, func(c *Conn, p *peer) {
		a := do(bg, c, "SET", "a", strings.Repeat("x", 10<<20))
		b := do(bg, c, "GET", "b") // behind it
		go func() {
			for i := 0; i < 10; i++ {
				time.Sleep(2 * time.Second)
				buf := make([]byte, 1<<20)
				for n := 0; n < len(buf); {
					m, err := p.nc.Read(buf[n:])
					if err != nil {
						return
					}
					n += m
				}
			}
			p.nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // well within the timeout
			for n := 1; n > 0; {
				n, _ = p.nc.Read(make([]byte, 1000)) // the rest, and what is behind it
			}
			p.send("$10485760\r\n")
			part := strings.Repeat("y", 1<<20)
			for range 10 {
				time.Sleep(2 * time.Second)
				p.send(part)
			}
			p.send("\r\n+b\r\n")
		}()
		if r := <-a; r.err != nil || len(r.text) != 10<<20 {
			t.Errorf("%d bytes, error %v", len(r.text), r.err)
		}
		p.want(b, "b")
	})
}

func TestAWrongRequestIsNotSent(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		bad := request("GET", "a")
		bad.Fail(errors.New("no"))
		p.wantError(doRequest(bg, c, bad), command.NotSent, "build", bad.Err())
		if got := outcomes(<-doBatch(bg, c, request("GET", "b"), bad)); got != "not sent, not sent" {
			t.Error(got)
		}
		p.nothing()
	})
}

// The memory of a burst is given back while small commands go on.
func TestABurstOfWritesKeepsItsMemoryOnlyWhileItLasts(t *testing.T) {
	inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
		value := strings.Repeat("x", 50_000)
		ask := func(name string, args ...string) {
			var ch []<-chan result
			for range 20 {
				ch = append(ch, do(bg, c, name, args...))
			}
			for range ch {
				p.next()
				p.send("+OK\r\n")
			}
			for _, r := range ch {
				p.want(r, "OK")
			}
		}
		held := func() int {
			c.mu.Lock()
			defer c.mu.Unlock()
			return max(cap(c.wbuf), cap(c.spare))
		}
		c.mu.Lock()
		c.writing = true // so that the burst gathers in one buffer
		c.mu.Unlock()
		var ch []<-chan result
		for range 20 {
			ch = append(ch, do(bg, c, "SET", "k", value))
		}
		c.mu.Lock()
		c.wg.Go(c.writeRest)
		c.mu.Unlock()
		for range ch {
			p.next()
			p.send("+OK\r\n")
		}
		for _, r := range ch {
			p.want(r, "OK")
		}
		if n := held(); n < 1_000_000 {
			t.Errorf("%d bytes held right after the burst", n)
		}
		for range 2 {
			ask("GET", "a")
			time.Sleep(c.clock.busy)
		}
		ask("GET", "a")
		if n := held(); n > keepWrite {
			t.Errorf("%d bytes held long after the burst", n)
		}
	})
}
