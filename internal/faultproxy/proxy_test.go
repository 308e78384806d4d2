package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that says what it hears, through a proxy.
func echo(t *testing.T) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { io.Copy(c, c); c.Close() })
		}
	})
	p, err := Start(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		p.Close()
		ln.Close()
		wg.Wait()
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if got := say(t, c, "hello"); got != "hello" {
		t.Fatalf("the echo is %q", got)
	}
	return c.(*net.TCPConn)
}

func say(t *testing.T, c net.Conn, s string) string {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(s))
	n, _ := io.ReadFull(c, b)
	return string(b[:n])
}

func TestWithoutAFaultEverythingPasses(t *testing.T) {
	t.Parallel()
	c := dial(t, echo(t))
	want := bytes.Repeat([]byte("0123456789"), 300_000)
	var got []byte
	var wg sync.WaitGroup
	wg.Go(func() { got, _ = io.ReadAll(c) })
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	c.CloseWrite()
	wg.Wait()
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d came back", len(got), len(want))
	}
}

func TestACutComesAfterItsBytes(t *testing.T) {
	t.Parallel()
	for _, to := range []Side{Client, Server} {
		p := echo(t)
		c := dial(t, p)
		p.Apply(Fault{Kind: Cut, To: to, Bytes: 4})
		c.Write([]byte("0123456789"))
		got, err := io.ReadAll(c)
		if err != nil || (to == Client && string(got) != "0123") || (to == Server && !bytes.HasPrefix([]byte("0123"), got)) {
			t.Errorf("to the %v: %q, %v", to, got, err)
		}
		waitNoLinks(t, p)
	}
	p := echo(t)
	c := dial(t, p)
	p.Apply(Fault{Kind: Cut})
	if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
		t.Errorf("at once: %q, %v", got, err)
	}
}

func waitNoLinks(t *testing.T, p *Proxy) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); p.Links() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d links are left", p.Links())
		}
	}
}

func TestAResetIsSeenAsOne(t *testing.T) {
	t.Parallel()
	p := echo(t)
	c := dial(t, p)
	p.Apply(Fault{Kind: Reset})
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v", err)
	}
	waitNoLinks(t, p)
}

func TestAHalfCloseLeavesTheOtherDirection(t *testing.T) {
	t.Parallel()
	p := echo(t)
	c := dial(t, p)
	p.Apply(Fault{Kind: HalfClose, To: Server}) // the echo ends, as it has heard all
	if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	c = dial(t, p)
	p.Apply(Fault{Kind: HalfClose, To: Client})
	if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Write([]byte("still open")); err != nil {
		t.Errorf("the other direction: %v", err)
	}
}

func TestAHoleHoldsEverythingAndLosesNothing(t *testing.T) {
	t.Parallel()
	p := echo(t)
	c := dial(t, p)
	p.Apply(Fault{Kind: Hole})
	c.Write([]byte("x"))
	c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v through a hole", n, err)
	}
	p.Heal()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 1)
	if _, err := c.Read(b); err != nil || b[0] != 'x' {
		t.Errorf("after it healed: %q, %v", b, err)
	}
	start := time.Now()
	p.Apply(Fault{Kind: Hole, For: 100 * time.Millisecond})
	if got := say(t, c, "y"); got != "y" || time.Since(start) < 100*time.Millisecond {
		t.Errorf("%q after %v", got, time.Since(start))
	}
}

func TestADelayAndADripAreSlow(t *testing.T) {
	t.Parallel()
	p := echo(t)
	c := dial(t, p)
	for f, least := range map[Fault]time.Duration{
		{Kind: Delay, Late: 30 * time.Millisecond}: 30 * time.Millisecond,
		{Kind: Delay, To: Server}:                  late,
		{Kind: Drip}:                               10 * dropEvery,
	} {
		p.Apply(f)
		start := time.Now()
		want := string(bytes.Repeat([]byte("x"), 10*drop))
		if got := say(t, c, want); got != want || time.Since(start) < least {
			t.Errorf("%v: %q after %v", f, got, time.Since(start))
		}
		p.Heal()
	}
}

func TestHealTakesBackWhatHasNotHappened(t *testing.T) {
	t.Parallel()
	p := echo(t)
	c := dial(t, p)
	p.Apply(Fault{Kind: Cut, Bytes: 3})
	p.Heal()
	if got := say(t, c, "0123456789"); got != "0123456789" {
		t.Errorf("%q", got)
	}
}

func TestAServerThatIsDownClosesTheConnection(t *testing.T) {
	t.Parallel()
	p, err := Start("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d", n)
	}
}

func TestTheSameSeedMakesTheSameFaults(t *testing.T) {
	t.Parallel()
	seen := map[Kind]bool{}
	a, b := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))
	for range 200 {
		f, g := Random(a, time.Second), Random(b, time.Second)
		if !reflect.DeepEqual(f, g) {
			t.Fatalf("%v, then %v", f, g)
		}
		if f.For > time.Second {
			t.Errorf("%v lasts longer than its limit", f)
		}
		seen[f.Kind] = true
	}
	if len(seen) != int(kinds) {
		t.Errorf("only %v of %d kinds", seen, kinds)
	}
}

func TestASwitchCutsAndGoesElsewhere(t *testing.T) {
	t.Parallel()
	p, other := echo(t), echo(t)
	c := dial(t, p)
	p.Switch(other.Addr)
	if got, err := io.ReadAll(c); len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	waitNoLinks(t, p)
	dial(t, p)
	if n := other.Links(); n != 1 {
		t.Errorf("%d connections go to the other address, want 1", n)
	}
}
