package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/internal/dstest"
)

func lossOf(t *testing.T, l *lease.Lease) string {
	t.Helper()
	var lost *lease.LostError
	if cause := context.Cause(l.Context()); !errors.As(cause, &lost) {
		t.Fatalf("the cause is %v, want a *LostError", cause)
	}
	return lost.Reason
}

func TestTakeOverFencesTheOldHolderAtOnceAndTellsIt(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	release(t, acquire(t, c, "warm")) // a client's first renewal is at once
	for name, learn := range map[string]func(l *lease.Lease){
		"by its renewal": func(l *lease.Lease) {},
		"by Do": func(l *lease.Lease) {
			_, err := l.Do(t.Context(), command.Set("x", "old"))
			var fenced *lease.FencedError
			if !errors.As(err, &fenced) || fenced.Holder != "operator" {
				t.Errorf("Do: %v, want it fenced by the operator", err)
			}
			if l.Context().Err() == nil {
				t.Error("the context lasts after Do was refused")
			}
		},
	} {
		old := acquire(t, c, name, lease.TTL(3*time.Second), lease.Owner("worker"))
		taken, err := lease.TakeOver(t.Context(), c, name, lease.TTL(time.Minute), lease.Owner("operator"))
		if err != nil {
			t.Fatal(err)
		}
		if taken.Token() <= old.Token() {
			t.Errorf("%s: token %d after %d", name, taken.Token(), old.Token())
		}
		begin := time.Now()
		learn(old)
		<-old.Context().Done()
		if r := lossOf(t, old); r != "taken over" {
			t.Errorf("%s: reason is %q, want taken over", name, r)
		}
		t.Logf("%s: told after %v of a TTL of 3s", name, time.Since(begin))
		if err := old.Release(t.Context()); !errors.Is(err, lease.ErrLost) {
			t.Errorf("%s: Release: %v, want ErrLost", name, err)
		}
		if _, err := taken.Do(t.Context(), command.Set("x", "new")); err != nil {
			t.Errorf("%s: Do of the new holder: %v", name, err)
		}
		release(t, taken)
	}
}

func TestReadersWhoAreDrivenOutAreTold(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	var readers []*lease.Lease
	for range 3 {
		readers = append(readers, acquire(t, c, "doc", lease.Shared(), lease.TTL(3*time.Second)))
	}
	taken, err := lease.TakeOver(t.Context(), c, "doc", lease.TTL(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readers[0].Do(t.Context(), command.Set("x", "old")); !errors.Is(err, lease.ErrFenced) {
		t.Errorf("Do of a reader: %v, want ErrFenced", err)
	}
	if err := readers[1].Release(t.Context()); !errors.Is(err, lease.ErrLost) || !strings.Contains(err.Error(), "taken over") {
		t.Errorf("Release of a reader: %v, want taken over", err)
	}
	<-readers[2].Context().Done()
	for _, i := range []int{0, 2} {
		if r := lossOf(t, readers[i]); r != "taken over" {
			t.Errorf("reader %d: reason is %q, want taken over", i, r)
		}
	}
	// Who comes after the one who took it is not told of what was before.
	release(t, taken)
	late := acquire(t, c, "doc", lease.Shared(), lease.TTL(3*time.Second))
	dstest.Cmd(t, c, "DEL", first(lease.Keys("doc")))
	<-late.Context().Done()
	if r := lossOf(t, late); r != "gone" {
		t.Errorf("reason of a later reader is %q, want gone", r)
	}
}

func TestTakeOverOfAFreeLeaseIsAGrant(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l, err := lease.TakeOver(t.Context(), c, "job")
	if err != nil {
		t.Fatal(err)
	}
	release(t, l)
}

func TestHandOverGivesAGreaterTokenToOneAdopter(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job", lease.Owner("a"), lease.TTL(time.Minute))
	ticket, err := l.HandOver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := lossOf(t, l); r != "handed over" {
		t.Errorf("reason is %q, want handed over", r)
	}
	if ticket.Token <= l.Token() {
		t.Errorf("token %d after %d", ticket.Token, l.Token())
	}
	if _, err := l.Do(t.Context(), command.Set("x", "old")); !errors.Is(err, lease.ErrFenced) {
		t.Errorf("Do of the old holder: %v, want ErrFenced", err)
	}
	if _, err := lease.TryAcquire(t.Context(), c, "job"); !errors.Is(err, lease.ErrHeld) {
		t.Errorf("TryAcquire before the adoption: %v, want ErrHeld", err)
	}
	if i, err := lease.Inspect(t.Context(), c, "job"); err != nil || !i.Offered || !strings.Contains(i.Explain(), "handed over by a") {
		t.Errorf("Inspect: %q, %v; want it offered by a", i.Explain(), err)
	}
	again, err := l.HandOver(t.Context())
	if err != nil || again != ticket {
		t.Errorf("HandOver again: %+v, %v; want the same ticket", again, err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("Release after HandOver: %v, want nil", err)
	}

	sent, err := json.Marshal(ticket)
	if err != nil {
		t.Fatal(err)
	}
	var got lease.Ticket
	if err := json.Unmarshal(sent, &got); err != nil {
		t.Fatal(err)
	}
	var adopted atomic.Pointer[lease.Lease]
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			n, err := lease.Adopt(context.Background(), c, got, lease.Owner("b"))
			switch {
			case err == nil && !adopted.CompareAndSwap(nil, n):
				t.Error("adopted twice")
			case err != nil && !errors.Is(err, lease.ErrTicket):
				t.Errorf("Adopt: %v, want ErrTicket", err)
			}
		})
	}
	wg.Wait()
	n := adopted.Load()
	if n == nil {
		t.Fatal("nobody adopted it")
	}
	if n.Token() != ticket.Token {
		t.Errorf("adopted with token %d, the ticket says %d", n.Token(), ticket.Token)
	}
	if _, err := n.Do(t.Context(), command.Set("x", "new")); err != nil {
		t.Errorf("Do of the adopter: %v", err)
	}
	if i, _ := lease.Inspect(t.Context(), c, "job"); i.Offered || i.Owner != "b" {
		t.Errorf("Inspect: %q, want it held by b", i.Explain())
	}
	release(t, n)
}

func TestATicketThatNobodyAdoptsLapses(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job", lease.TTL(time.Second))
	ticket, err := l.HandOver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release(t, acquire(t, c, "job"))
	_, err = lease.Adopt(t.Context(), c, ticket)
	var bad *lease.TicketError
	if !errors.As(err, &bad) || bad.Token != ticket.Token {
		t.Errorf("Adopt: %v, want a *TicketError", err)
	}
}

func TestHandOverOfALostLeaseSaysSo(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job", lease.TTL(time.Minute))
	taken, err := lease.TakeOver(t.Context(), c, "job")
	if err != nil {
		t.Fatal(err)
	}
	defer release(t, taken)
	_, err = l.HandOver(t.Context())
	var lost *lease.LostError
	if !errors.As(err, &lost) {
		t.Errorf("HandOver: %v, want a *LostError", err)
	}
}

func TestAHandOverWithALostAnswerCanBeRepeated(t *testing.T) {
	t.Parallel()
	f := &dstest.Lossy{Client: dstest.Start(t)}
	l := acquire(t, f, "job")
	f.Change(func() { f.Lose = func(command.Request) bool { return true } })
	if _, err := l.HandOver(t.Context()); err == nil || errors.Is(err, lease.ErrLost) {
		t.Fatalf("HandOver: %v, want the lost connection", err)
	}
	f.Change(func() { f.Lose = nil })
	ticket, err := l.HandOver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := lease.Adopt(t.Context(), f, ticket)
	if err != nil {
		t.Fatal(err)
	}
	release(t, n)
}

func TestTheHoldersMetadataIsShown(t *testing.T) {
	t.Parallel()
	c := dstest.Start(t)
	l := acquire(t, c, "job", lease.Owner("a"), lease.Meta("pod-7, v1.2"))
	defer release(t, l)
	_, err := lease.TryAcquire(t.Context(), c, "job")
	var held *lease.HeldError
	if !errors.As(err, &held) || held.Meta != "pod-7, v1.2" {
		t.Errorf("TryAcquire: %+v, want the metadata", err)
	}
	i, err := lease.Inspect(t.Context(), c, "job")
	if err != nil || i.Meta != "pod-7, v1.2" {
		t.Errorf("Inspect: %+v, %v; want the metadata", i, err)
	}
	for _, part := range []string{"held by a since ", "token ", "pod-7", "renewed ", "lapses in "} {
		if !strings.Contains(i.Explain(), part) {
			t.Errorf("Explain: %q, want %q in it", i.Explain(), part)
		}
	}
	if _, err := lease.TryAcquire(t.Context(), c, "x", lease.Meta(strings.Repeat("x", 1025))); err == nil {
		t.Error("metadata without a bound")
	}
}

func TestAFenceRefusesSmallerTokens(t *testing.T) {
	t.Parallel()
	f := lease.NewFence("job", 5)
	ran := func(token int64) error { return f.Do(token, func() error { return nil }) }
	for _, tt := range []struct {
		token int64
		ok    bool
	}{{4, false}, {5, true}, {5, true}, {9, true}, {8, false}, {9, true}} {
		err := ran(tt.token)
		var fenced *lease.FencedError
		if tt.ok != (err == nil) || !tt.ok && (!errors.As(err, &fenced) || fenced.HolderToken != f.Greatest()) {
			t.Errorf("token %d: %v, want ok=%v", tt.token, err, tt.ok)
		}
	}
	// What fails has been seen all the same.
	if err := f.Do(12, func() error { return context.Canceled }); err != context.Canceled || f.Greatest() != 12 {
		t.Errorf("Do: %v, greatest %d", err, f.Greatest())
	}
	var zero lease.Fence
	var last int64
	var wg sync.WaitGroup
	for token := range int64(1000) {
		wg.Go(func() {
			_ = zero.Do(token, func() error {
				if token < last {
					t.Errorf("token %d after %d", token, last)
				}
				last = token
				return nil
			})
		})
	}
	wg.Wait()
}
