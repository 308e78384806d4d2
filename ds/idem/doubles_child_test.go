package idem_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redisx/redisx"
	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
)

// childOrder is the doubles that a child is to send, in the environment.
const childOrder = "REDISX_IDEM_ORDER"

// order is what one child of the doubles test does in one batch of keys.
type order struct {
	Batch, Child int
	Keys         int // of the batch
	Callers      int // of each key
	// Die is the step at which this process kills itself with SIGKILL, when it
	// comes to it for the After-th time; "" for never.
	Die    string
	After  int64
	Plants [][3]string // bugs: script, what is in it, what takes its place
}

// policyOf deals the keys out to the policies.
func policyOf(key int) string { return []string{"fail", "rerun", "resume"}[key%3] }

func (o order) key(i int) string { return fmt.Sprintf("%s:%d:%d", policyOf(i), o.Batch, i) }

// deaths are the steps at which a runner dies. "sent" is while the server works
// on the request, or its answer is under way.
var deaths = []string{
	"begin before", "begin sent", "begin after", "in fn", "effect after",
	"checkpoint before", "checkpoint sent", "checkpoint after",
	"finish before", "finish sent", "finish after", "commit before", "commit sent", "commit after",
	"abandon before", "abandon sent", "abandon after",
}

// mortal is a client of a process that dies at one step.
type mortal struct {
	*redisx.Client
	die     string
	after   atomic.Int64
	scripts map[string]string // names by digests
}

// at dies if this is the step.
func (m *mortal) at(step string) {
	if step == m.die && m.after.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // SIGKILL comes at once, but not to this very line
	}
}

func (m *mortal) Do(ctx context.Context, r command.Request) (command.Reply, error) {
	if r.Len() == 0 {
		return m.Client.Do(ctx, r)
	}
	name, ours := m.scripts[r.Arg(0).Text()]
	if !ours {
		return m.Client.Do(ctx, r)
	}
	m.at(name + " before")
	if m.die == name+" sent" && m.after.Add(-1) == 0 {
		time.AfterFunc(rand.N(300*time.Microsecond), func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	}
	reply, err := m.Client.Do(ctx, r)
	if err == nil {
		m.at(name + " after")
	}
	return reply, err
}

// childDoubles does one order after the other, as they come on stdin. For each
// call it prints one line: its key, and the answer or what kind of error came.
func childDoubles(_ context.Context, c *redisx.Client, ttl time.Duration) error {
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return err
		}
		for _, p := range o.Plants {
			if err := idem.Plant(p[0], p[1], p[2]); err != nil {
				return err
			}
		}
		m := &mortal{Client: c, die: o.Die, scripts: map[string]string{}}
		m.after.Store(o.After)
		for name, s := range idem.Scripts() {
			m.scripts[s.Digest()] = name
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		m.calls(ctx, o, ttl)
		cancel()
		fmt.Println("batch", o.Batch)
	}
	return in.Err()
}

func (m *mortal) calls(ctx context.Context, o order, ttl time.Duration) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range o.Callers {
		for i := range o.Keys {
			wg.Go(func() {
				v, err := m.call(ctx, o.key(i), policyOf(i), ttl)
				line := "answer " + v
				switch {
				case errors.Is(err, errTransient):
					line = "transient"
				case errors.Is(err, idem.ErrIndeterminate):
					line = "indeterminate"
				case errors.Is(err, idem.ErrFenced):
					line = "fenced"
				case err != nil:
					line = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
				}
				mu.Lock()
				defer mu.Unlock()
				fmt.Printf("call %s %s\n", o.key(i), line)
			})
		}
	}
	wg.Wait()
}

var errTransient = errors.New("transient")

// call is one of the doubles. Its fn counts its runs, and what it charges, on
// the server; a run of some keys fails first.
func (m *mortal) call(ctx context.Context, key, policy string, ttl time.Duration) (string, error) {
	opts := map[string][]idem.Option{"fail": nil, "rerun": {idem.RerunOnCrash()}, "resume": {idem.ResumeOnCrash()}}[policy]
	return idem.Run(ctx, m, key, func(ctx context.Context) (string, error) {
		m.at("in fn")
		runs, err := text(ctx, m, "INCR", "runs:"+key)
		if err != nil {
			return "", err
		}
		m.at("effect after")
		if policy == "resume" {
			return m.steps(ctx, key, runs)
		}
		if policy == "fail" {
			return key + " by run " + runs, nil
		}
		if runs == "1" && strings.HasSuffix(key, "1") {
			return "", errTransient
		}
		return key + " by run " + runs, idem.Effect(ctx, command.Incr("effect:"+key))
	}, append(opts, idem.TTL(ttl))...)
}

// steps charges in a checkpoint and logs when it knows that the charge is kept.
func (m *mortal) steps(ctx context.Context, key, runs string) (string, error) {
	id, err := idem.Checkpoint(ctx, "charge", func(ctx context.Context) (string, error) {
		if _, err := text(ctx, m, "RPUSH", "log:"+key, "charged"); err != nil {
			return "", err
		}
		return "charge " + runs, nil
	})
	if err != nil {
		return "", err
	}
	if _, err := text(ctx, m, "RPUSH", "log:"+key, "kept "+id); err != nil {
		return "", err
	}
	if runs == "1" && strings.HasSuffix(key, "2") {
		return "", errTransient
	}
	return id, idem.Effect(ctx, command.Incr("effect:"+key))
}
