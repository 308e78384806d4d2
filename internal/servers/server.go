package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Options says which server to start. The zero value starts the one that Find
// returns, without a password.
type Options struct {
	Binary   Binary   // default: the one of Flavor
	Flavor   Flavor   // default: whichever Find returns
	Port     int      // default: a free one
	Password string   // default: none
	TLS      *TLS     // default: no TLS port
	Args     []string // more arguments, such as "--maxmemory", "10mb"; they win over ours
}

// Server is a private server process.
type Server struct {
	Addr    string // host:port of the TCP listener
	TLSAddr string // host:port of the TLS listener, "" without Options.TLS
	Socket  string // path of the unix socket

	Certificates *Certificates // nil without Options.TLS

	opts    Options
	port    int
	tlsPort int
	dir     string

	mu     sync.Mutex
	proc   *process // nil when killed
	closed bool
}

var errClosed = errors.New("servers: server is closed")

// portTries bounds the search for a port that stays free until the server has it.
const portTries = 10

// Launch starts a server and returns when it answers. The context bounds the
// start, not the life of the server.
func Launch(ctx context.Context, opts Options) (*Server, error) {
	if opts.Binary == (Binary{}) {
		bin, err := opts.find(ctx)
		if err != nil {
			return nil, err
		}
		opts.Binary = bin
	}
	dir, err := os.MkdirTemp("", "redisx-")
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	s := &Server{opts: opts, dir: dir, Socket: filepath.Join(dir, "server.sock")}
	if opts.TLS != nil {
		s.Certificates, err = newCertificates(dir, *opts.TLS)
	}
	if err == nil {
		err = s.launch(ctx)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (o Options) find(ctx context.Context) (Binary, error) {
	if o.Flavor == "" {
		return Find()
	}
	return o.Flavor.Find(ctx)
}

func (s *Server) launch(ctx context.Context) error {
	if s.opts.Port != 0 {
		return s.startOn(ctx, s.opts.Port)
	}
	var err error
	for range portTries {
		var port int
		if port, err = freePort(); err != nil {
			return err
		}
		if err = s.startOn(ctx, port); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

func (s *Server) startOn(ctx context.Context, port int) error {
	s.port = port
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var err error
	if s.opts.TLS != nil {
		if s.tlsPort, err = freePort(); err != nil {
			return err
		}
		s.TLSAddr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.tlsPort))
	}
	s.proc, err = s.start(ctx)
	return err
}

func (s *Server) start(ctx context.Context) (*process, error) {
	p, err := startProcess(s.opts.Binary.Path, s.args(), s.dir)
	if err != nil {
		return nil, err
	}
	if err := p.waitReady(ctx, s.Socket, s.opts.Password); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

func (s *Server) args() []string {
	args := []string{
		"--bind", "127.0.0.1",
		"--port", strconv.Itoa(s.port),
		"--unixsocket", s.Socket,
		"--unixsocketperm", "700",
		"--dir", s.dir,
		"--save", "",
		"--appendonly", "no",
		"--daemonize", "no",
	}
	if s.opts.Password != "" {
		args = append(args, "--requirepass", s.opts.Password)
	}
	if s.opts.TLS != nil {
		args = append(args, s.Certificates.args(s.tlsPort, *s.opts.TLS)...)
	}
	return append(args, s.opts.Args...)
}

// URL returns the address as a redis:// URL, with the password if there is one.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr, User: s.userinfo()}
	return u.String()
}

// TLSURL returns the address of the TLS listener as a rediss:// URL, with the
// password if there is one.
func (s *Server) TLSURL() string {
	u := url.URL{Scheme: "rediss", Host: s.TLSAddr, User: s.userinfo()}
	return u.String()
}

// SocketURL returns the unix socket as a unix:// URL, with the password if
// there is one.
func (s *Server) SocketURL() string {
	u := url.URL{Scheme: "unix", Path: s.Socket, User: s.userinfo()}
	return u.String()
}

func (s *Server) userinfo() *url.Userinfo {
	if s.opts.Password == "" {
		return nil
	}
	return url.UserPassword("", s.opts.Password)
}

// Pid returns the process id, or 0 when the server is not running.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.pid()
}

// Output returns the end of what the server has logged.
func (s *Server) Output() string { return readTail(s.dir) }

// Pause freezes the process (SIGSTOP): its sockets stay open and silent.
func (s *Server) Pause() error { return s.signal("pause", pauseProcess) }

// Resume continues a paused process (SIGCONT).
func (s *Server) Resume() error { return s.signal("resume", resumeProcess) }

func (s *Server) signal(verb string, send func(*os.Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return fmt.Errorf("servers: %s: server is not running", verb)
	}
	if err := send(s.proc.cmd.Process); err != nil {
		return fmt.Errorf("servers: %s: %w", verb, err)
	}
	return nil
}

// Kill ends the process with SIGKILL, also a paused one, and waits for it.
// Killing a server that is not running does nothing.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
}

func (s *Server) kill() {
	if s.proc != nil {
		s.proc.kill()
		s.proc = nil
	}
}

// Restart kills the process and starts a new one at the same address. Data
// survives only if Options.Args make the server persist it.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.kill()
	var err error
	s.proc, err = s.start(ctx)
	return err
}

// Close kills the server and removes its folder. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return nil
}
