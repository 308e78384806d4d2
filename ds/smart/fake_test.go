package smart_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/smart"
	"github.com/redisx/redisx/resp3"
)

// fake is a client of one server with string keys, in virtual time. A command
// takes half of rtt to the server and half of it back.
type fake struct {
	rtt time.Duration

	mu      sync.Mutex
	keys    map[string]string
	ends    map[string]time.Time
	watches map[*fakeWatch]bool
	reads   int // GET and EXISTS that arrived
	pttls   int
	fail    error // of whatever arrives
	noPush  bool
	letters string // the classes of events that are published
	silent  bool   // nothing is told
	shared  map[any]io.Closer
}

type fakeWatch struct {
	f       *fake
	key     string
	changed chan struct{}
	once    sync.Once
}

func (w *fakeWatch) Changed() <-chan struct{} { return w.changed }

func (w *fakeWatch) Stop() {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	delete(w.f.watches, w)
}

func (w *fakeWatch) tell() { w.once.Do(func() { close(w.changed) }) }

// inBubble runs f with a fake whose hub is closed at the end.
func inBubble(t *testing.T, f func(t *testing.T, d *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &fake{rtt: 2 * time.Millisecond, keys: map[string]string{}, ends: map[string]time.Time{}, watches: map[*fakeWatch]bool{}, shared: map[any]io.Closer{}}
		f(t, d)
		synctest.Wait()
		if n := len(d.watches); n != 0 {
			t.Errorf("%d watches are left", n)
		}
		if st := smart.StatsOf(d); st.Waiters != 0 || st.Keys != 0 || st.Bytes != 0 {
			t.Errorf("left behind: %+v", st)
		}
		for _, c := range d.shared {
			c.Close()
		}
	})
}

func (f *fake) Attach(key any, make func() io.Closer) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shared[key] == nil {
		f.shared[key] = make()
	}
	return f.shared[key], nil
}

func (f *fake) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return f.do(ctx, r, nil)
}

var errNoPush = errors.New("no push")

func (f *fake) Watch(context.Context, string) (command.Watch, error) { return nil, errNoPush }

// WatchEvents refuses at once, as one does who has asked for the setting before.
func (f *fake) WatchEvents(ctx context.Context, key, classes string) (command.Watch, error) {
	f.mu.Lock()
	covered := f.letters != ""
	for _, c := range classes {
		covered = covered && strings.ContainsRune(f.letters, c)
	}
	f.mu.Unlock()
	if !covered {
		return nil, errNoPush
	}
	if err := f.travel(ctx); err != nil {
		return nil, err
	}
	w := &fakeWatch{f: f, key: key, changed: make(chan struct{})}
	f.mu.Lock()
	f.watches[w] = true
	f.mu.Unlock()
	if err := f.travel(ctx); err != nil {
		w.Stop()
		return nil, err
	}
	return w, nil
}

func (f *fake) Track(ctx context.Context, r command.Request) (command.Reply, command.Watch, error) {
	key, _ := r.FirstKey()
	w := &fakeWatch{f: f, key: key, changed: make(chan struct{})}
	f.mu.Lock()
	refused := f.noPush
	f.mu.Unlock()
	if refused {
		return command.Reply{}, nil, errNoPush
	}
	reply, err := f.do(ctx, r, w)
	var said resp3.ServerError
	if err != nil && !errors.As(err, &said) {
		w.Stop()
		return reply, nil, err
	}
	return reply, w, err
}

func (f *fake) do(ctx context.Context, r command.Request, w *fakeWatch) (command.Reply, error) {
	if err := f.travel(ctx); err != nil {
		return command.Reply{}, err
	}
	frame, err := f.run(r, w)
	if e := f.travel(ctx); e != nil {
		return command.Reply{}, e
	}
	if err != nil {
		return command.Reply{}, err
	}
	v, e := resp3.NewReader(strings.NewReader(frame), resp3.Limits{}).Read()
	if e != nil {
		return command.Reply{}, e
	}
	return command.NewReply(&v, nil), nil
}

func (f *fake) travel(ctx context.Context) error {
	select {
	case <-time.After(f.rtt / 2):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is one step of the server. Like the real one it removes a key that has
// ended when somebody looks, and tells the watches in the same step.
func (f *fake) run(r command.Request, w *fakeWatch) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return "", f.fail
	}
	key, _ := r.FirstKey()
	if end, ok := f.ends[key]; ok && !time.Now().Before(end) {
		f.change(key, "", false)
	}
	v, ok := f.keys[key]
	if w != nil {
		f.watches[w] = true
	}
	switch r.Name() {
	case "GET":
		f.reads++
		if !ok {
			return "_\r\n", nil
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(v), v), nil
	case "EXISTS":
		f.reads++
		if !ok {
			return ":0\r\n", nil
		}
		return ":1\r\n", nil
	case "PTTL":
		f.pttls++
		switch end, ends := f.ends[key]; {
		case !ok:
			return ":-2\r\n", nil
		case !ends:
			return ":-1\r\n", nil
		default:
			return fmt.Sprintf(":%d\r\n", time.Until(end).Milliseconds()), nil
		}
	}
	return "", resp3.ServerError("ERR unknown command " + r.Name())
}

// change sets or removes a key. It is called with mu held.
func (f *fake) change(key, v string, there bool) {
	delete(f.ends, key)
	if there {
		f.keys[key] = v
	} else {
		delete(f.keys, key)
	}
	for w := range f.watches {
		if w.key == key && !f.silent {
			w.tell()
			delete(f.watches, w)
		}
	}
}

func (f *fake) set(key, v string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(key, v, true)
}

func (f *fake) setFor(key, v string, life time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change(key, v, true)
	f.ends[key] = time.Now().Add(life)
}

// count returns how many reads and PTTLs have arrived.
func (f *fake) count() (reads, pttls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads, f.pttls
}

func (f *fake) setFail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// await starts a wait.
func await(t *testing.T, d command.Doer, c smart.Condition, opts ...smart.Option) <-chan smart.Result {
	ch := make(chan smart.Result, 1)
	go func() {
		r, err := smart.WaitFor(t.Context(), d, c, opts...)
		if err != nil {
			t.Errorf("WaitFor: %v", err)
		}
		ch <- r
	}()
	return ch
}

func TestAChangeCostsOneReadForAllWaiters(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.set("k", "a")
		var all []<-chan smart.Result
		for range 100 {
			all = append(all, await(t, d, smart.Key("k", is("z"))))
		}
		time.Sleep(time.Second)
		if reads, pttls := d.count(); reads != 1 || pttls != 1 {
			t.Errorf("100 waiters: %d reads, %d PTTL; want one of each", reads, pttls)
		}
		for _, v := range []string{"b", "c", "d"} {
			d.set("k", v)
			time.Sleep(time.Second)
		}
		if reads, pttls := d.count(); reads != 4 || pttls != 4 {
			t.Errorf("after 3 changes %d reads, %d PTTL; want 4 of each", reads, pttls)
		}
		d.set("k", "z")
		for _, ch := range all {
			if r := <-ch; r.Value != "z" {
				t.Errorf("got %+v", r)
			}
		}
		if reads, pttls := d.count(); reads != 5 || pttls != 4 {
			t.Errorf("in the end %d reads, %d PTTL; want 5 and 4: nobody stayed", reads, pttls)
		}
	})
}

func TestChangesDuringAReadCostOneMoreRead(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		done := await(t, d, smart.Key("k", is("z")))
		time.Sleep(time.Second)
		d.set("k", "a")               // makes the read begin
		time.Sleep(d.rtt/2 + d.rtt/4) // it has left the server
		for _, v := range []string{"b", "c", "d", "e"} {
			d.set("k", v)
		}
		time.Sleep(time.Second)
		if reads, _ := d.count(); reads != 3 {
			t.Errorf("%d reads; want 3: the first, one for the change, one for those meanwhile", reads)
		}
		d.set("k", "z")
		<-done
	})
}

// TestWhatWasReadBeforeTheCallProvesNothing is about a caller who resets a key
// and then waits, while another wait has a reading from before.
func TestWhatWasReadBeforeTheCallProvesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.set("k", "done")
		other := await(t, d, smart.Key("k", is("z")))
		time.Sleep(time.Second)
		// The server has the new value, and its push has not arrived.
		d.mu.Lock()
		d.keys["k"] = "pending"
		d.mu.Unlock()
		var asked atomic.Int64
		mine := await(t, d, smart.Key("k", func(v string, ok bool) bool {
			asked.Add(1)
			return v == "done"
		}))
		time.Sleep(time.Second)
		select {
		case r := <-mine:
			t.Fatalf("met by what was read before: %+v", r)
		default:
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("the predicate was asked %d times, want 2: of the old reading and of the new", n)
		}
		d.set("k", "done")
		<-mine
		for range 50 { // the reading is from before all of them
			mine = await(t, d, smart.Key("k", is("done")))
			<-mine
		}
		before, _ := d.count()
		var all []<-chan smart.Result
		for range 50 {
			all = append(all, await(t, d, smart.Key("k", is("done"))))
		}
		for _, ch := range all {
			<-ch
		}
		if after, _ := d.count(); after-before > 2 {
			t.Errorf("50 who came together cost %d reads", after-before)
		}
		d.set("k", "z")
		<-other
	})
}

func TestTheEndOfAKeyIsCountedDown(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		for _, life := range []time.Duration{1, 3 * time.Millisecond, 50 * time.Millisecond, time.Hour} {
			d.setFor("k", "v", life)
			start := time.Now()
			<-await(t, d, smart.Absent("k"))
			if late := time.Since(start) - life; late > 2*time.Millisecond+2*d.rtt {
				t.Errorf("the end of a life of %v was seen %v late", life, late)
			}
		}
		// A longer life in place of the shorter one.
		d.setFor("k", "v", 100*time.Millisecond)
		done := await(t, d, smart.Absent("k"))
		time.Sleep(50 * time.Millisecond)
		d.setFor("k", "v", time.Second)
		start := time.Now()
		<-done
		if took := time.Since(start); took < time.Second || took > time.Second+10*time.Millisecond {
			t.Errorf("the longer life ended after %v", took)
		}
	})
}

func TestPollingHasAWorstLatency(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		d.noPush = true
		for _, idle := range []time.Duration{0, time.Second, time.Minute} {
			d.set("k", "a")
			done := await(t, d, smart.Key("k", is("z")))
			time.Sleep(10*time.Millisecond + idle)
			if st := smart.StatsOf(d); st.Poll != 1 || st.Push != 0 {
				t.Errorf("%+v", st)
			}
			start := time.Now()
			d.set("k", "z")
			<-done
			if took := time.Since(start); took > 250*time.Millisecond+2*d.rtt {
				t.Errorf("after %v idle: seen after %v", idle, took)
			}
		}
		// Push again, once the server can.
		done := await(t, d, smart.Key("k", is("y")))
		time.Sleep(time.Second)
		d.mu.Lock()
		d.noPush = false
		d.mu.Unlock()
		time.Sleep(300 * time.Millisecond)
		if st := smart.StatsOf(d); st.Push != 1 {
			t.Errorf("%+v", st)
		}
		before, _ := d.count()
		time.Sleep(time.Hour)
		if after, _ := d.count(); after != before {
			t.Errorf("%d reads in an hour without a change", after-before)
		}
		d.set("k", "y")
		<-done
	})
}

func TestAServerThatFailsIsAskedWithPauses(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		down := &command.Error{Command: "GET", Phase: "dial", Outcome: command.NotSent, Err: io.ErrUnexpectedEOF}
		loading := &command.Error{Command: "GET", Phase: "reply", Outcome: command.Refused, Err: resp3.ServerError("LOADING later")}
		for _, err := range []error{down, loading} {
			d.set("k", "a")
			done := await(t, d, smart.Key("k", is("z")))
			time.Sleep(time.Second)
			d.setFail(err)
			d.set("k", "z")
			before := smart.StatsOf(d).Failures
			time.Sleep(10 * time.Second)
			if n := smart.StatsOf(d).Failures - before; n < 30 || n > 100 {
				t.Errorf("%v: asked %d times in 10 s", err, n)
			}
			_, e := smart.WaitFor(t.Context(), d, smart.Key("k", is("z")), smart.Budget(time.Second))
			if !errors.Is(e, smart.ErrBudget) || !errors.Is(e, err) {
				t.Errorf("the budget's error hides the server's: %v", e)
			}
			d.setFail(nil)
			start := time.Now()
			<-done
			if took := time.Since(start); took > 250*time.Millisecond+2*d.rtt {
				t.Errorf("seen %v after the server was back", took)
			}
		}
		// What will not pass is an error at once, not a loop.
		d.setFail(&command.Error{Command: "GET", Phase: "reply", Outcome: command.Refused, Err: resp3.ServerError("NOPERM no")})
		start := time.Now()
		if _, err := smart.WaitFor(t.Context(), d, smart.Exists("k")); err == nil || time.Since(start) > 2*d.rtt {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestValuesAreBoundedInBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		large := strings.Repeat("x", 33<<20)
		d.set("a", large)
		d.set("b", large)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := smart.WaitFor(ctx, d, smart.Key("a", is("z"))); !errors.Is(err, context.Canceled) {
				t.Errorf("the first: %v", err)
			}
		})
		time.Sleep(time.Second)
		_, err := smart.WaitFor(ctx, d, smart.Key("b", is("z")))
		var over interface{ Explain() string }
		if !errors.Is(err, smart.ErrOverloaded) || !errors.As(err, &over) || !strings.Contains(err.Error(), "of at most 67108864") || over.Explain() == "" {
			t.Errorf("the second: %v", err)
		}
		if _, err := smart.WaitFor(ctx, d, smart.Exists("b")); err != nil {
			t.Errorf("without its value: %v", err)
		}
		if st := smart.StatsOf(d); st.Bytes < 33<<20 || st.Bytes > 34<<20 {
			t.Errorf("%+v", st)
		}
		cancel()
		wg.Wait()
	})
}

// bare hides what a fake can do besides Do. It cannot be compared, as a wrapper
// with a slice in it.
type bare struct {
	d    command.Doer
	tags []string
}

func (b bare) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	return b.d.Do(ctx, r)
}

// prefixed is a wrapper that shares the hub of its fake, and asks for other
// keys.
type prefixed struct {
	*fake
	prefix string
}

func (p *prefixed) Track(ctx context.Context, r command.Request) (command.Reply, command.Watch, error) {
	key, _ := r.FirstKey()
	own := command.NewRequest(r.Spec())
	own.Add(command.Str(p.prefix + key))
	return p.fake.Track(ctx, own)
}

func TestAnyDoerCanBeWaitedOn(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		done := await(t, bare{d: d, tags: []string{"a"}}, smart.AnyOf(smart.Exists("k"), smart.Exists("l")))
		time.Sleep(time.Second)
		d.set("k", "v")
		if r := <-done; r.Index != 0 {
			t.Errorf("got %+v", r)
		}
	})
}

func TestWrappersOfOneClientDoNotMeet(t *testing.T) {
	inBubble(t, func(t *testing.T, d *fake) {
		a, b := &prefixed{d, "a:"}, &prefixed{d, "b:"}
		ofA, ofB := await(t, a, smart.Key("k", is("v"))), await(t, b, smart.Key("k", is("v")))
		time.Sleep(time.Second)
		if st := smart.StatsOf(d); st.Keys != 2 {
			t.Errorf("%+v", st)
		}
		d.set("b:k", "v")
		<-ofB
		select {
		case <-ofA:
			t.Error("the other wrapper's key ended the wait")
		case <-time.After(time.Second):
		}
		d.set("a:k", "v")
		<-ofA
	})
}
