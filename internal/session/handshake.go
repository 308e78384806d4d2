package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// Hello is what a connection says of itself before it is used.
type Hello struct {
	Username   string // with Password; default "default"
	Password   string
	ClientName string
	DB         int
	RESP2      bool // do not ask for RESP3
}

var (
	helloSpec   = command.NewSpec(command.Spec{Name: "HELLO", Arity: -1, Flags: command.Secret, Retry: command.RetrySession})
	authSpec    = command.NewSpec(command.Spec{Name: "AUTH", Arity: -2, Flags: command.Secret, Retry: command.RetrySession})
	selectSpec  = command.NewSpec(command.Spec{Name: "SELECT", Arity: 2, Retry: command.RetrySession})
	setnameSpec = command.NewSpec(command.Spec{Name: "CLIENT SETNAME", Arity: 3, Retry: command.RetrySession})
	setinfoSpec = command.NewSpec(command.Spec{Name: "CLIENT SETINFO", Arity: 4, Retry: command.RetrySession})
)

// Open makes a Conn of nc and greets the server. The handshake is atomic: the
// Conn is returned only when every reply of it was read and matched; otherwise
// nc is closed. ctx bounds the handshake only.
func Open(ctx context.Context, nc net.Conn, cfg Config, h Hello) (*Conn, error) {
	c := New(nc, cfg)
	err := c.hello(ctx, h)
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) hello(ctx context.Context, h Hello) error {
	if strings.ContainsAny(h.ClientName, " \n") {
		return errors.New("session: client name with a space or newline")
	}
	user := h.Username
	if user == "" {
		user = "default"
	}
	if !h.RESP2 {
		r := command.NewRequest(helloSpec, command.Int(3))
		if h.Password != "" {
			r.Add(command.Str("AUTH"))
			r.Add(command.Str(user))
			r.Add(command.Str(h.Password))
		}
		err := c.greet(ctx, h, r)
		if err == nil || !noRESP3(err) {
			c.resp3 = err == nil
			return err
		}
	}
	if h.Password == "" {
		// Servers answer unknown commands without asking who calls. PING tells.
		return c.greet(ctx, h, pingRequest)
	}
	r := command.NewRequest(authSpec)
	if h.Username != "" {
		r.Add(command.Str(h.Username))
	}
	r.Add(command.Str(h.Password))
	return c.greet(ctx, h, r)
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
	var failed error
	err := c.DoBatch(ctx, rs, func(i int, v resp3.View, err error) {
		if err == nil && !greeted(rs[i].Spec(), v) {
			err = &command.Error{
				Command: rs[i].Name(), Node: c.cfg.Node, Outcome: command.Done,
				Err: fmt.Errorf("unexpected reply of kind %s", v.Kind()),
			}
		}
		if err != nil && failed == nil && !(info[i] && unknown(err)) {
			failed = err
		}
	})
	if err == nil {
		err = failed
	}
	if err == nil {
		return nil
	}
	var e *command.Error
	if errors.As(err, &e) {
		e.Phase = "handshake"
		var s resp3.ServerError
		if h.Password != "" && errors.As(e.Err, &s) {
			// Some servers and proxies quote what they do not understand.
			e.Err = resp3.ServerError(strings.ReplaceAll(string(s), h.Password, "[redacted]"))
		}
		return e
	}
	return fmt.Errorf("session: handshake: %w", err)
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
	return v.Kind() == resp3.SimpleString
}

// Version is the version that connections report to the server.
const Version = "0.1.0"
