package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// Hello is what a connection says of itself before it is used.
type Hello struct {
	Username   string // default "default", if there is a Password
	Password   string
	ClientName string
	DB         int
	RESP2      bool // do not ask for RESP3
}

var (
	helloSpec   = spec("HELLO")
	authSpec    = spec("AUTH")
	selectSpec  = spec("SELECT")
	setnameSpec = spec("CLIENT SETNAME")
	setinfoSpec = spec("CLIENT SETINFO")
)

func spec(name string) *command.Spec {
	s, _ := command.Lookup(name)
	return s
}

// Open makes a Conn of nc and greets the server. The handshake is atomic: the
// Conn is returned only when every reply of it was read and matched; otherwise
// nc is closed. ctx bounds the handshake only.
func Open(ctx context.Context, nc net.Conn, cfg Config, h Hello) (*Conn, error) {
	c := New(nc, cfg)
	c.greets(true)
	err := c.hello(ctx, h)
	if err != nil {
		c.Close()
		return nil, err
	}
	c.greets(false)
	return c, nil
}

func (c *Conn) greets(now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeting = now
}

// lastFor is how long a failed write of the handshake waits for the reason.
const lastFor = 50 * time.Millisecond

// lastWords returns why the peer closed before it was greeted, if it said so:
// an error of a server that is full or protected, a TLS alert. It is there to be
// read, but a write that comes after the end of the connection fails first, with
// err, which says nothing. It is called with mu held, which it gives up.
func (c *Conn) lastWords(err error) error {
	c.leading = true
	c.mu.Unlock()
	c.nc.SetReadDeadline(time.Now().Add(lastFor))
	read := c.rd.Fill()
	v, ok, _ := c.rd.Poll()
	switch {
	case ok && v.Kind().IsError():
		err = resp3.ServerError(string(v.Bytes()))
	case read == nil, errors.Is(read, io.EOF), errors.Is(read, os.ErrDeadlineExceeded):
	case errors.As(read, new(*os.SyscallError)): // the end, once more
	default:
		err = read
	}
	c.mu.Lock()
	c.leading = false
	return err
}

func (c *Conn) hello(ctx context.Context, h Hello) error {
	if !h.RESP2 {
		r := command.NewRequest(helloSpec, command.Int(3))
		if h.authenticates() {
			r.Add(command.Str("AUTH"))
			r.Add(command.Str(cmp.Or(h.Username, "default")))
			r.Add(command.Str(h.Password))
		}
		err := c.greet(ctx, h, r)
		if err == nil || !noRESP3(err) {
			return err
		}
	}
	if !h.authenticates() {
		// Servers answer unknown commands without asking who calls. PING tells.
		return c.greet(ctx, h, pingRequest)
	}
	return c.greet(ctx, h, authRequest(h.Username, h.Password))
}

// authenticates reports whether the connection is to be somebody. A username
// without a password is a user whom the server lets in with any (nopass).
func (h Hello) authenticates() bool { return h.Username != "" || h.Password != "" }

func authRequest(username, password string) command.Request {
	r := command.NewRequest(authSpec)
	if username != "" {
		r.Add(command.Str(username))
	}
	r.Add(command.Str(password))
	return r
}

// Authenticate changes as whom the connection's commands run, from the next
// one on: AUTH goes in line with those of the callers. After an error that is
// no context's the connection is still who it was, or dead; after a context's
// nobody knows.
func (c *Conn) Authenticate(ctx context.Context, username, password string) error {
	r := authRequest(username, password)
	reply, err := c.Do(ctx, &r)
	if err != nil {
		return withoutSecret(err, password)
	}
	defer reply.Release()
	if reply.View().Text() != "OK" { // QUEUED, say: then it has not happened
		return unexpected(c.cfg.Node, &r, reply.View())
	}
	return nil
}

func unexpected(node string, r *command.Request, v resp3.View) error {
	return &command.Error{
		Command: r.Name(), Node: node, Phase: "reply", Outcome: command.Done,
		Err: fmt.Errorf("unexpected reply of kind %s", v.Kind()),
	}
}

// withoutSecret returns err without the password, which some servers and
// proxies quote as what they do not understand.
func withoutSecret(err error, password string) error {
	var e *command.Error
	var s resp3.ServerError
	if password == "" || !errors.As(err, &e) || !errors.As(e.Err, &s) {
		return err
	}
	code := string(s)[:max(0, strings.IndexByte(string(s), ' '))]
	e.Err = resp3.ServerError(code + strings.ReplaceAll(string(s)[len(code):], password, "[redacted]"))
	return e
}

// noRESP3 reports whether the server refused HELLO because it, or what stands
// before it, does not know RESP3. Every other refusal is the user's to see.
func noRESP3(err error) bool {
	var e resp3.ServerError
	if !errors.As(err, &e) {
		return false
	}
	return e.Code() == "NOPROTO" || (e.Code() == "ERR" &&
		(strings.Contains(string(e), "unknown command") || strings.Contains(string(e), "Protocol version")))
}

// greet sends first, which must succeed, with what every connection says.
func (c *Conn) greet(ctx context.Context, h Hello, first ...command.Request) error {
	rs := first
	info := map[int]bool{}
	if h.ClientName != "" {
		rs = append(rs, command.NewRequest(setnameSpec, command.Str(h.ClientName)))
	}
	for _, kv := range [][2]string{{"LIB-NAME", "redisx"}, {"LIB-VER", Version}} {
		info[len(rs)] = true
		rs = append(rs, command.NewRequest(setinfoSpec, command.Str(kv[0]), command.Str(kv[1])))
	}
	if h.DB != 0 {
		rs = append(rs, command.NewRequest(selectSpec, command.Int(int64(h.DB))))
	}
	asks := -1
	if first[0].Spec() != helloSpec { // whose reply tells
		asks = len(rs)
		info[asks] = true
		rs = append(rs, command.ClientID().Request())
	}
	var failed error
	err := c.DoBatch(ctx, rs, func(i int, v resp3.View, err error) {
		if i == asks || rs[i].Spec() == helloSpec {
			c.id, c.resp3 = identity(v), v.Kind() == resp3.Map // an array is how RESP2 writes a map
		}
		if err == nil && !greeted(rs[i].Spec(), v) {
			err = unexpected(c.cfg.Node, &rs[i], v)
		}
		if err != nil && failed == nil && !(info[i] && unknown(err)) {
			failed = err
		}
	})
	if failed != nil {
		// The first failure is the cause: a server that has no room for a client
		// says so and closes, and the other replies are missing.
		err = failed
	}
	if err == nil {
		return nil
	}
	var e *command.Error
	if errors.As(err, &e) {
		e.Phase = "handshake"
		return withoutSecret(e, h.Password)
	}
	return fmt.Errorf("session: handshake: %w", err)
}

// identity returns the number of the connection from the reply to HELLO or
// CLIENT ID.
func identity(v resp3.View) int64 {
	if v.Kind() == resp3.Integer {
		n, _ := v.Int()
		return n
	}
	elems := v.Cursor()
	for {
		name, ok := elems.Next()
		value, _ := elems.Next()
		if !ok {
			return 0
		}
		if string(name.Bytes()) == "id" {
			n, _ := value.Int()
			return n
		}
	}
}

// unknown reports whether the server answered CLIENT SETINFO by not knowing it
// (before 7.2) or not allowing it, which is no harm. Every other failure means
// that the connection is of no use.
func unknown(err error) bool {
	var e resp3.ServerError
	return errors.As(err, &e) && (e.Code() == "ERR" || e.Code() == "NOPERM")
}

// greeted reports whether v is what a server answers in the handshake, so that
// replies that are one off are found before the first command.
func greeted(spec *command.Spec, v resp3.View) bool {
	if spec == helloSpec {
		return v.Kind() == resp3.Map || v.Kind() == resp3.Array
	}
	if spec.Name == "CLIENT ID" {
		return v.Kind() == resp3.Integer
	}
	return v.Kind() == resp3.SimpleString
}

// Version is the version that connections report to the server.
const Version = "0.1.0"
