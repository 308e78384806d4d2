package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// line is what a worker process tells its parent, one JSON object a line.
type line struct {
	Event   string `json:"event"`
	Job     string `json:"job,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Token   int64  `json:"token,omitempty"`
	Value   string `json:"value,omitempty"`
	Err     string `json:"err,omitempty"`
}

// process is a worker as a process of its own.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan line
	wg     sync.WaitGroup
	killed bool
}

// start runs a worker. It ends with ctx, when its stdin closes (so it never
// outlives the demo), or by kill.
func (s *stage) start(ctx context.Context, role, name string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, lines: make(chan line, 1024)}
	p.cmd = exec.CommandContext(ctx, exe, "demo-worker", "--role", role, "--name", name, "--namespace", s.namespace)
	// The URL may hold a password, which must not show in the process list.
	p.cmd.Env = append(os.Environ(), envURL+"="+s.url)
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.wg.Go(func() {
		defer close(p.lines)
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			var l line
			if json.Unmarshal(sc.Bytes(), &l) != nil {
				continue
			}
			select {
			case p.lines <- l:
			default: // nobody listens to this worker any more
			}
		}
	})
	return p, nil
}

// tell sends a word to the worker.
func (p *process) tell(word string) error {
	_, err := fmt.Fprintln(p.stdin, word)
	return err
}

// expect waits for an event of the worker.
func (p *process) expect(ctx context.Context, event string, within time.Duration) (line, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				return line{}, fmt.Errorf("%s ended before it said %q", p.name, event)
			}
			if l.Event == "failed" {
				return l, fmt.Errorf("%s: %s", p.name, l.Err)
			}
			if l.Event == event {
				return l, nil
			}
		case <-timer.C:
			return line{}, fmt.Errorf("%s did not say %q within %v", p.name, event, within)
		case <-ctx.Done():
			return line{}, context.Cause(ctx)
		}
	}
}

// kill ends the worker at once, as kill -9 does.
func (p *process) kill() {
	p.killed = true
	p.cmd.Process.Kill()
	p.wait()
}

// stop ends the worker by closing its stdin, and waits for it.
func (p *process) stop() {
	p.stdin.Close()
	timer := time.AfterFunc(3*time.Second, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	p.wait()
}

// end stops the worker, unless it was killed.
func (p *process) end() {
	if !p.killed {
		p.stop()
	}
}

func (p *process) wait() {
	for range p.lines { // so that the reader is not held up
	}
	p.wg.Wait()
	p.cmd.Wait()
}
