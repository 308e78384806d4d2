package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

// The model: callers that cancel, time out, batch and pipeline at random, and a
// server that echoes unique ids while the network splits, delays and cuts, and
// while it pushes, falls silent, leaves a reply out and then goes silent or
// away, or adds one in the same write as the last reply in flight. Whatever
// happens, each caller gets its own reply or an error that tells the truth.
//
// REDISX_SEED=n runs the bubble of that seed alone. What differs most is how a
// bubble is set up, so many short ones find more than a few long ones; with
// REDISX_LONG a million commands run.

func modelSize() (bubbles, commands int) {
	if os.Getenv("REDISX_LONG") != "" {
		return 100, 10_000
	}
	return 60, 2000
}

func TestModelNoReplyReachesTheWrongCaller(t *testing.T) {
	var total tally
	bubbles, commands := modelSize()
	if s := os.Getenv("REDISX_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		bubble(t, seed, commands, &total)
		t.Log(&total)
		return
	}
	base := uint64(time.Now().UnixNano()) % 1_000_000_000
	t.Run("bubbles", func(t *testing.T) {
		for lane := range 2 {
			t.Run(strconv.Itoa(lane), func(t *testing.T) {
				t.Parallel()
				for i := lane; i < bubbles && !t.Failed(); i += 2 {
					bubble(t, base+uint64(i), commands, &total)
				}
			})
		}
	})
	t.Log("seeds from", base, &total)
	if n := total.commands.Load(); !t.Failed() && n < int64(bubbles*commands) {
		t.Errorf("%d commands ran", n)
	}
	for o := range total.outcomes {
		if o != int(command.Refused) && total.outcomes[o].Load() == 0 {
			t.Errorf("no command ended as %q: the model does not reach it", command.Outcome(o))
		}
	}
}

// tally counts what happened.
type tally struct {
	commands, connections, extras atomic.Int64
	outcomes                      [command.Done + 1]atomic.Int64
}

func (t *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d commands on %d connections, %d extra replies:", t.commands.Load(), t.connections.Load(), t.extras.Load())
	for o := range t.outcomes {
		fmt.Fprintf(&b, " %s %d,", command.Outcome(o), t.outcomes[o].Load())
	}
	return b.String()
}

// model is one bubble.
type model struct {
	t     *testing.T
	seed  uint64
	size  int64 // commands
	tally *tally
	cfg   Config
	net   simnet.Options

	seen     []atomic.Int32 // how often the server ran each id
	fate     []command.Outcome
	next     atomic.Int64
	finale   atomic.Bool // the server does its worst no more
	gate     chan struct{}
	rand     *rand.Rand // guarded by gate, as conn is
	conn     *Conn
	large    int  // size of large arguments
	sound    bool // nothing happens to conn that could end it
	servers  sync.WaitGroup
	reported atomic.Bool
}

func bubble(t *testing.T, seed uint64, commands int, total *tally) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := &model{
			t: t, seed: seed, size: int64(commands), tally: total, rand: rand.New(rand.NewPCG(seed, 6)),
			cfg: Config{
				Node: "model", Timeout: time.Duration(600+r.IntN(900)) * time.Millisecond,
				MaxInFlight: []int{0, 0, 3, 17, 200}[r.IntN(5)], MaxBytes: []int{0, 0, 500, 20_000}[r.IntN(4)],
				Standing: r.IntN(4) == 0,
			},
			net: simnet.Options{
				Latency: []time.Duration{0, time.Microsecond, 300 * time.Microsecond, 2 * time.Millisecond}[r.IntN(4)],
				Split:   []int{0, 0, 7, 100, 3000}[r.IntN(5)],
				Window:  []int{0, 200, 5000, 50_000}[r.IntN(4)],
			},
			seen: make([]atomic.Int32, commands+20_000), // 400 callers may begin their last batches at once
			fate: make([]command.Outcome, commands+20_000),
			gate: make(chan struct{}, 1),
		}
		m.gate <- struct{}{}
		m.large = 100_000 // but not in thousands of pieces
		if m.net.Split > 0 {
			m.large = min(m.large, 100*m.net.Split)
		}
		if m.net.Window > 0 {
			m.large = min(m.large, 20*m.net.Window)
		}
		var callers sync.WaitGroup
		for range []int{1, 3, 20, 100, 400}[r.IntN(5)] {
			seed := r.Uint64()
			callers.Go(func() { m.caller(rand.New(rand.NewPCG(seed, 3))) })
		}
		callers.Wait()
		m.finish()
	})
}

func (m *model) fail(format string, args ...any) {
	if !m.reported.Swap(true) { // the first is enough, thousands may follow
		m.t.Errorf("seed %d: "+format, append([]any{m.seed}, args...)...)
	}
}

// current returns the connection, a new one if the last is dead.
func (m *model) current() *Conn {
	<-m.gate
	defer func() { m.gate <- struct{}{} }()
	if m.conn != nil {
		err := m.conn.Err()
		if err == nil {
			return m.conn
		}
		if m.sound && !m.finale.Load() {
			m.fail("a sound connection ended: %v", err)
		}
		m.retire()
	}
	o := m.net
	o.Seed = m.rand.Uint64()
	client, server := simnet.Pipe(o)
	m.sound = m.net.Window == 0 || m.net.Latency == 0 // else it is too slow at times
	if m.rand.IntN(3) == 0 && !m.finale.Load() {
		client.CutAfter(m.rand.IntN(20_000)) // cuts commands in the middle
		m.sound = false
	}
	life := 1 << 30
	if m.rand.IntN(6) > 0 && !m.finale.Load() {
		life, m.sound = m.rand.IntN(1500), false
	}
	seed := m.rand.Uint64()
	m.servers.Go(func() { m.serve(server, life, rand.New(rand.NewPCG(seed, 4))) })
	m.conn = New(client, m.cfg)
	m.tally.connections.Add(1)
	return m.conn
}

// retire closes the connection and checks that nothing is left on it.
func (m *model) retire() {
	m.conn.Close()
	c := m.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nflight != 0 || c.nbytes != 0 || len(c.queued) != 0 || len(c.waiters) != 0 || c.leading || c.writing {
		m.fail("a closed connection holds %d commands, %d bytes, %d queued, %d waiters, leading %v, writing %v",
			c.nflight, c.nbytes, len(c.queued), len(c.waiters), c.leading, c.writing)
	}
}

var modelSpec = command.NewSpec(command.Spec{Name: "ECHO", Arity: 2})

func (m *model) request(r *rand.Rand) (id int, text string, req command.Request) {
	id = int(m.next.Add(1)) - 1
	size := r.IntN(30)
	if r.IntN(500) == 0 || m.net.Window > 0 && r.IntN(100) == 0 {
		size = r.IntN(m.large)
	}
	text = strconv.Itoa(id) + ":" + strings.Repeat("x", size)
	return id, text, command.NewRequest(modelSpec, command.Str(text))
}

func (m *model) caller(r *rand.Rand) {
	shared, cancel := context.WithCancel(context.Background())
	defer cancel()
	for m.next.Load() < m.size {
		ctx, ends, stop := m.context(r, shared)
		start := time.Now()
		if r.IntN(8) == 0 {
			m.batch(ctx, r)
		} else {
			m.single(ctx, r)
		}
		took := time.Since(start)
		limit := 30 * m.cfg.Timeout
		if ends >= 0 {
			limit = ends + 15*time.Millisecond // a blocked write is interrupted by the clock
		}
		if took > limit {
			m.fail("a call took %v, bound %v", took, limit)
		}
		stop()
		if r.IntN(50) == 0 {
			time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
		}
	}
}

// context returns a context, how long after now it ends (negative: not by
// itself), and what the caller does with it afterwards.
func (m *model) context(r *rand.Rand, shared context.Context) (ctx context.Context, ends time.Duration, stop func()) {
	switch r.IntN(6) {
	case 0:
		return context.Background(), -1, func() {}
	case 1, 2:
		return shared, -1, func() {}
	case 3, 4:
		ends = time.Duration(r.IntN(3000)) * time.Microsecond
		if r.IntN(2) == 0 {
			ends = m.cfg.Timeout/2 + time.Duration(r.IntN(200))*time.Millisecond
		}
		ctx, cancel := context.WithTimeout(shared, ends)
		return ctx, ends, cancel
	}
	ctx, cancel := context.WithCancel(shared)
	if r.IntN(8) == 0 {
		cancel()
		return ctx, 0, cancel
	}
	ends = time.Duration(r.IntN(2000)) * time.Microsecond
	timer := time.AfterFunc(ends, cancel)
	return ctx, ends, func() { timer.Stop(); cancel() }
}

func (m *model) single(ctx context.Context, r *rand.Rand) {
	id, text, req := m.request(r)
	reply, err := m.current().Do(ctx, &req)
	if err == nil {
		m.note(id, text, reply.View(), nil)
		reply.Release()
		return
	}
	m.note(id, text, resp3.View{}, err)
}

func (m *model) batch(ctx context.Context, r *rand.Rand) {
	n := 1 + r.IntN(30)
	ids, texts, rs := make([]int, n), make([]string, n), make([]command.Request, n)
	for i := range rs {
		ids[i], texts[i], rs[i] = m.request(r)
	}
	want := 0
	m.current().DoBatch(ctx, rs, func(i int, v resp3.View, err error) {
		if i != want {
			m.fail("batch of %d: got reply %d, want %d", n, i, want)
		}
		want++
		m.note(ids[i], texts[i], v, err)
	})
	if want != n {
		m.fail("batch of %d: got %d replies", n, want)
	}
}

// note checks one result and keeps what it claims.
func (m *model) note(id int, text string, v resp3.View, err error) {
	m.tally.commands.Add(1)
	out := command.Done
	if err != nil {
		var e *command.Error
		if !errors.As(err, &e) {
			m.fail("an error without a class: %v", err)
			return
		}
		out = e.Outcome
	} else if v.Text() != text {
		m.fail("%.40q got the reply %.40q", text, v.Text())
	}
	m.tally.outcomes[out].Add(1)
	m.fate[id] = out
}

// finish lets orphans come in, spoils the last connection, and compares what
// callers were told with what the server did.
func (m *model) finish() {
	m.finale.Store(true)
	if err := m.conn.Err(); err != nil && m.sound {
		m.fail("a sound connection ended: %v", err)
	}
	if m.conn.Err() == nil {
		time.Sleep(3 * m.cfg.Timeout)
		if err := m.conn.Err(); err != nil && m.sound {
			m.fail("a sound connection ended: %v", err)
		}
		if n := m.conn.Pending(); n != 0 && m.conn.Err() == nil {
			m.fail("%d commands are still in flight", n)
		}
		m.conn.mu.Lock()
		if m.conn.nbytes != 0 || m.conn.ahead != 0 || m.conn.oldest != 0 {
			m.fail("%d bytes, %d calls ahead, oldest %d", m.conn.nbytes, m.conn.ahead, m.conn.oldest)
		}
		m.conn.mu.Unlock()
	}
	m.extra()
	m.retire()
	m.servers.Wait()
	for id, fate := range m.fate[:m.next.Load()] {
		n := m.seen[id].Load()
		switch {
		case fate == command.Done && n != 1, n > 1:
			m.fail("command %d was %v and ran %d times", id, fate, n)
		case (fate == command.NotSent || fate == command.Cut) && n != 0:
			m.fail("command %d was %v and ran %d times", id, fate, n)
		}
	}
}

// extra lets the server answer the only command in flight twice, in one piece:
// its caller gets the first reply, and nobody the second.
func (m *model) extra() {
	m.net.Split, m.net.Window = 0, 0
	if m.conn.Err() == nil {
		m.conn.Close()
	}
	c := m.current()
	id := int(m.next.Add(1)) - 1
	text := strconv.Itoa(id) + ":twice"
	req := command.NewRequest(modelSpec, command.Str(text))
	reply, err := c.Do(context.Background(), &req)
	if err != nil {
		m.fail("the command that is answered twice: %v", err)
		return
	}
	m.note(id, text, reply.View(), nil)
	reply.Release()
	synctest.Wait()
	var p *resp3.ProtocolError
	if !errors.As(c.Err(), &p) {
		m.fail("a reply too many left the connection with %v", c.Err())
	}
	m.tally.extras.Add(1)
}

// serve is the server of one connection.
func (m *model) serve(nc *simnet.Conn, life int, r *rand.Rand) {
	defer nc.Close()
	rd := resp3.NewReader(nc, resp3.Limits{})
	slow := r.IntN(3) == 0
	var out []byte
	for n := 0; ; {
		v, ok, err := rd.Poll()
		if err != nil {
			m.fail("the server met %v", err)
			return
		}
		if !ok || r.IntN(40) == 0 {
			if _, err := nc.Write(out); err != nil {
				return
			}
			out = out[:0]
			if ok && slow {
				time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
			}
			if r.IntN(400) == 0 {
				time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
			}
		}
		if !ok {
			if rd.Fill() != nil {
				return
			}
			continue
		}
		text := m.run(v)
		if n++; n > life {
			m.fault(nc, rd, r, out, text)
			return
		}
		if r.IntN(20) == 0 {
			out = append(out, ">2\r\n+note\r\n:1\r\n"...)
		}
		out = resp3.AppendBulk(out, text)
		if strings.HasSuffix(text, ":twice") {
			out = resp3.AppendBulk(out, text)
		}
	}
}

// run notes that the command in v was executed and returns its argument.
func (m *model) run(v resp3.View) string {
	c := v.Cursor()
	c.Next()
	arg, ok := c.Next()
	text := arg.Text()
	id, _, _ := strings.Cut(text, ":")
	i, err := strconv.Atoi(id)
	if !ok || err != nil {
		m.fail("the server was sent %.40q", text)
		return text
	}
	m.seen[i].Add(1)
	return text
}

// fault ends a connection: by a cut, with or without the replies so far, in the
// middle of a reply, or by silence from a reply that is left out on.
func (m *model) fault(nc *simnet.Conn, rd *resp3.Reader, r *rand.Rand, out []byte, text string) {
	switch r.IntN(5) {
	case 0:
		nc.Write(out)
	case 1:
		out = resp3.AppendBulk(out, text)
		nc.Write(out[:len(out)-1-r.IntN(len(text)+3)])
	case 2:
		nc.Cut()
	case 3:
		nc.Write(append(out, "!x\r\n"...)) // what follows is not RESP
	default:
		nc.Write(out)
		for {
			v, err := rd.Read()
			if err != nil {
				return
			}
			m.run(v) // executed, and never answered
		}
	}
}
