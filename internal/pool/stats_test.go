package pool

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/internal/session"
)

func TestStatsCountDialsAndWhatWasPassedOn(t *testing.T) {
	inBubble(t, func(n *Node, s *site) {
		if st := n.State(); st.Up || st.Since.IsZero() {
			t.Errorf("before the first dial: %+v", st)
		}
		mustGet(t, n, "a")
		born := time.Now()
		if st := n.State(); !st.Up || !st.Since.Equal(born) || st.Err != nil {
			t.Errorf("up: %+v", st)
		}
		time.Sleep(5 * time.Second)
		s.last.Load().Cut()
		time.Sleep(3 * time.Second) // an idle connection is looked at once a second
		synctest.Wait()
		if st := n.State(); st.Up || st.Err == nil || !st.Since.After(born) {
			t.Errorf("after the cut: %+v", st)
		}
		mustGet(t, n, "b")
		if st := n.Stats(); st.Dials != 2 || st.Reconnects != 1 || st.DialFailures != 0 || st.PassedOn != 1 {
			t.Errorf("%+v, want two dials and one command passed on", st)
		}
		r := get("c")
		r.SetBlock(time.Second)
		reply, err := n.Do(bg, r)
		if err != nil {
			t.Fatal(err)
		}
		reply.Release()
		if st := n.Stats(); st.Dials != 3 || st.Idle != 1 || st.Private != 0 || st.MaxPrivate != 1024 {
			t.Errorf("%+v, want one idle private connection", st)
		}
		s.down.Store(true)
		s.last.Load().Cut()
		n.retire(n.shared.Load())
		if _, err := n.Do(bg, get("d")); !errors.Is(err, errRefused) {
			t.Error(err)
		}
		if st := n.Stats(); st.DialFailures == 0 || st.Reconnects != 1 {
			t.Errorf("%+v, want failures", st)
		}
		if st := n.State(); st.Up || !errors.Is(st.Err, errRefused) {
			t.Errorf("down: %+v", st)
		}
		n.Close()
		if st := n.State(); st.Up || !(errors.Is(st.Err, ErrClosed) || errors.Is(st.Err, session.ErrClosed)) {
			t.Errorf("closed: %+v", st)
		}
	})
}
