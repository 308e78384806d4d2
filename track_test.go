package redisx_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/servers/serverstest"
	"github.com/redisx/redisx/telemetry"
)

var _ command.Tracker = (*redisx.Client)(nil)

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
