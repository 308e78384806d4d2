package redisx_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/telemetry"
)

var (
	_ command.Tracker      = (*redisx.Client)(nil)
	_ command.EventWatcher = (*redisx.Client)(nil)
)

func TestEventsAreForClientsWithoutPush(t *testing.T) {
	srv := serverstest.Start(t, servers.Options{Args: []string{"--notify-keyspace-events", "AK"}})
	connect := func(url string) *redisx.Client {
		t.Helper()
		c, err := redisx.Connect(bg, url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	pushed, resp2 := connect(srv.URL()), connect(srv.URL()+"?protocol=2")
	if w, err := pushed.Watch(bg, "k"); err != nil {
		t.Fatal(err)
	} else {
		w.Stop()
	}
	if _, err := pushed.WatchEvents(bg, "k", "g$e"); err == nil {
		t.Error("a client that is pushed changes would subscribe to events as well")
	}
	if _, err := resp2.Watch(bg, "k"); err == nil {
		t.Fatal("a push over RESP2")
	}
	watch, err := resp2.WatchEvents(bg, "k", "g$e")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	if err := pushed.Set(bg, "k", "v"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-watch.Changed():
	case <-time.After(5 * time.Second):
		t.Error("the change was not told")
	}
	last, err := resp2.WatchEvents(bg, "k", "g$e")
	if err != nil {
		t.Fatal(err)
	}
	defer last.Stop()
	resp2.Close()
	select {
	case <-last.Changed():
	case <-time.After(5 * time.Second):
		t.Error("Close was not told")
	}
	if _, err := resp2.WatchEvents(bg, "k", "g$e"); err == nil {
		t.Error("a watch after Close")
	}
}

func TestTrackIsObservedAndAdmittedAsAnyCommand(t *testing.T) {
	srv := serverstest.Start(t)
	w := &witness{}
	client := connectObserved(t, srv.URL(), nil, w)
	reply, watch, err := client.Track(bg, command.Get("k").Request())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	if !reply.View().IsNull() {
		t.Errorf("an absent key is %v", reply.View().Value())
	}
	reply.Release()
	if got := w.taken(); len(got) != 1 || got[0].Name != "GET" || got[0].Outcome != telemetry.OK {
		t.Errorf("told %+v", got)
	}
	if err := client.Set(bg, "k", "v"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-watch.Changed():
	case <-time.After(5 * time.Second):
		t.Error("the change was not told")
	}

	w.mu.Lock()
	open := errors.New("the breaker is open")
	w.refuse = open
	w.mu.Unlock()
	if _, watch, err := client.Track(bg, command.Get("k").Request()); watch != nil || !errors.Is(err, open) || !redisx.SafeToRetry(err) {
		t.Errorf("watch %v, error %v", watch, err)
	}
}
