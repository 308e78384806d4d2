package simnet

import (
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBytesArriveInOrderHoweverTheyAreSplitAndDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Options{Seed: 3, Latency: time.Millisecond, Split: 5, Window: 64})
		sent := make([]byte, 10_000)
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		done := make(chan error, 1)
		go func() { // ends with the pipe
			_, err := a.Write(sent)
			a.Close()
			done <- err
		}()
		got, err := io.ReadAll(b)
		if err != nil || string(got) != string(sent) {
			t.Errorf("read %d bytes, error %v", len(got), err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDeadlinesObeyTheBubblesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Options{Window: 4})
		start := time.Now()
		b.SetReadDeadline(start.Add(time.Hour))
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		a.SetWriteDeadline(time.Now().Add(time.Hour))
		if n, err := a.Write(make([]byte, 6)); n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write took %d bytes: %v", n, err)
		}
		if d := time.Since(start); d != 2*time.Hour {
			t.Errorf("took %v, want 2h", d)
		}
	})
}

func TestACutTakesExactlyTheBytesItWasSetTo(t *testing.T) {
	a, b := Pipe(Options{})
	a.CutAfter(3)
	if n, err := a.Write([]byte("abcdef")); n != 3 || !errors.Is(err, ErrReset) {
		t.Errorf("write took %d bytes: %v", n, err)
	}
	if got, err := io.ReadAll(b); string(got) != "abc" || !errors.Is(err, ErrReset) {
		t.Errorf("read %q: %v", got, err)
	}
}
