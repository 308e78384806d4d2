package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

var errPortTaken = errors.New("port is taken")

// process is one run of the binary.
type process struct {
	cmd  *exec.Cmd
	dir  string
	wg   sync.WaitGroup
	done chan struct{} // closed when the process is gone
}

func startProcess(path string, args []string, dir string) (*process, error) {
	log, err := os.OpenFile(logFile(dir), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()

	p := &process{cmd: cmd, dir: dir, done: make(chan struct{})}
	started := make(chan error, 1)
	p.wg.Go(func() { p.run(started) })
	if err := <-started; err != nil {
		p.wg.Wait()
		return nil, fmt.Errorf("servers: %w", err)
	}
	return p, nil
}

// run keeps the thread that starts the process for as long as the process
// lives: the kernel sends the parent-death signal when that thread ends, not
// when the Go process does (golang/go#27505).
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // how it ended is told by its output
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when the process is already gone
	p.wg.Wait()
}

// waitReady polls the unix socket rather than the port: the socket lies in a
// folder of our own, so whoever answers there is this process, while a server
// of someone else might have taken the port in the meantime.
func (p *process) waitReady(ctx context.Context, socket, password string) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if ping(ctx, socket, password) {
			return nil
		}
		select {
		case <-p.done:
			return p.startError()
		case <-ctx.Done():
			return fmt.Errorf("servers: %s does not answer: %w\n%s", p.cmd.Path, context.Cause(ctx), readTail(p.dir))
		case <-tick.C:
		}
	}
}

func (p *process) startError() error {
	out := readTail(p.dir)
	cause := errors.New("ended at start")
	if strings.Contains(out, "Address already in use") {
		cause = errPortTaken
	}
	return fmt.Errorf("servers: %s: %w\n%s", p.cmd.Path, cause, out)
}

// ping reports whether the server answers PING, which it does once it has
// loaded its data.
func ping(ctx context.Context, socket, password string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)

	r := bufio.NewReader(conn)
	if password != "" {
		// The answer does not matter: PING is refused if AUTH was.
		if _, err := command(conn, r, "AUTH", password); err != nil {
			return false
		}
	}
	line, err := command(conn, r, "PING")
	// A server whose Args set a password refuses PING, and so is up.
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

func command(w io.Writer, r *bufio.Reader, args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return "", err
	}
	return r.ReadString('\n')
}

// freePort picks below 32768, where Linux takes no source ports from: a client
// that dials a dead server in the ephemeral range may connect to itself.
func freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(22768)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("servers: no free port on 127.0.0.1")
}

func logFile(dir string) string { return filepath.Join(dir, "server.log") }

// readTail returns the last 4 KiB that the server has written.
func readTail(dir string) string {
	f, err := os.Open(logFile(dir))
	if err != nil {
		return ""
	}
	defer f.Close()
	const limit = 4096
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		_, _ = f.Seek(-limit, io.SeekEnd)
	}
	out, _ := io.ReadAll(io.LimitReader(f, limit))
	return strings.TrimSpace(string(out))
}
