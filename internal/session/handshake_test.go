package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/internal/simnet"
	"github.com/redisx/redisx/resp3"
)

const hello3 = "%1\r\n+proto\r\n:3\r\n"

// greeting runs Open against scripted replies, one string for each command.
// An empty string is no reply.
func greeting(t *testing.T, h Hello, replies ...string) (sent []string, c *Conn, err error) {
	t.Helper()
	client, server := simnet.Pipe(simnet.Options{})
	p := &peer{t, server, resp3.NewReader(server, resp3.Limits{})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for _, r := range replies {
			sent = append(sent, p.next())
			if r != "" {
				p.send(r)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(bg, time.Second)
	defer cancel()
	c, err = Open(ctx, client, Config{Node: "peer:1"}, h)
	synctest.Wait()
	server.Close()
	<-served
	return sent, c, err
}

func TestHandshake(t *testing.T) {
	const secret = "c4n4ry"
	ok := "+OK\r\n"
	for _, tt := range []struct {
		name    string
		hello   Hello
		replies []string
		sent    string // the first command
		resp3   bool
		want    string // in the error, "" for none
	}{
		{"RESP3 without anything else", Hello{}, []string{hello3, ok, ok}, "HELLO 3", true, ""},
		{"everything", Hello{Username: "u", Password: secret, ClientName: "n", DB: 2}, []string{hello3, ok, ok, ok, ok}, "HELLO 3 AUTH u " + secret, true, ""},
		{"a server that does not know SETINFO", Hello{}, []string{hello3, "-ERR unknown subcommand\r\n", "-ERR unknown subcommand\r\n"}, "HELLO 3", true, ""},
		{"a user who may not use SETINFO", Hello{}, []string{hello3, "-NOPERM no\r\n", "-NOPERM no\r\n"}, "HELLO 3", true, ""},
		{"a server that does not know HELLO", Hello{Password: secret}, []string{"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `" + secret + "`\r\n", "-ERR x\r\n", "-ERR x\r\n", ok, "-ERR x\r\n", "-ERR x\r\n", "-ERR x\r\n"}, "HELLO 3 AUTH default " + secret, false, ""},
		{"a server that refuses RESP3", Hello{}, []string{"-NOPROTO no\r\n", ok, ok, "+PONG\r\n", ok, ok, ":7\r\n"}, "HELLO 3", false, ""},
		{"a peer that takes HELLO and speaks RESP2 all the same", Hello{}, []string{"*2\r\n+proto\r\n:2\r\n", ok, ok}, "HELLO 3", false, ""},
		{"RESP2 asked for", Hello{RESP2: true, Password: secret, Username: "u"}, []string{ok, ok, ok, ":7\r\n"}, "AUTH u " + secret, false, ""},
		{"a user without a password", Hello{Username: "u"}, []string{hello3, ok, ok}, "HELLO 3 AUTH u ", true, ""},
		{"NOAUTH", Hello{}, []string{"-NOAUTH Authentication required.\r\n", "-NOAUTH a\r\n", "-NOAUTH a\r\n"}, "HELLO 3", false, "NOAUTH"},
		{"NOAUTH over RESP2", Hello{RESP2: true}, []string{"-NOAUTH a\r\n", "-ERR unknown subcommand\r\n", "-ERR unknown subcommand\r\n", "-NOAUTH a\r\n"}, "PING", false, "NOAUTH"},
		{"WRONGPASS", Hello{Password: secret}, []string{"-WRONGPASS invalid\r\n", "-NOAUTH a\r\n", "-NOAUTH a\r\n"}, "HELLO 3 AUTH default " + secret, false, "WRONGPASS"},
		{"a refusal that quotes the password", Hello{Password: secret}, []string{"-ERR what is '" + secret + "'?\r\n", "-ERR x\r\n", "-ERR x\r\n"}, "HELLO 3 AUTH default " + secret, false, "[redacted]"},
		{"LOADING", Hello{}, []string{"-LOADING wait\r\n", "-LOADING wait\r\n", "-LOADING wait\r\n"}, "HELLO 3", false, "LOADING"},
		{"SELECT refused", Hello{DB: 99}, []string{hello3, ok, ok, "-ERR DB index is out of range\r\n"}, "HELLO 3", true, "SELECT on peer:1"},
		{"SETINFO never answered (CVE-2025-29923)", Hello{}, []string{hello3, "", ""}, "HELLO 3", false, "deadline exceeded"},
		{"one SETINFO answered, one not", Hello{}, []string{hello3, ok, ""}, "HELLO 3", false, "deadline exceeded"},
		{"a HELLO reply that is none", Hello{}, []string{ok, ok, ok}, "HELLO 3", false, "unexpected reply"},
		{"replies that are one off", Hello{ClientName: "n"}, []string{hello3, hello3, ok, ok}, "HELLO 3", false, "unexpected reply"},
		{"the server leaves", Hello{}, []string{""}, "HELLO 3", false, "handshake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent, c, err := greeting(t, tt.hello, tt.replies...)
				if len(sent) == 0 || sent[0] != tt.sent {
					t.Errorf("sent %q, want %q first", sent, tt.sent)
				}
				if tt.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					if c.RESP3() != tt.resp3 || c.Pending() != 0 {
						t.Errorf("RESP3 %v, %d pending", c.RESP3(), c.Pending())
					}
					c.Close()
					return
				}
				var e *command.Error
				if !errors.As(err, &e) || e.Phase != "handshake" || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
					t.Errorf("error %v, want one of the handshake with %q and without secrets", err, tt.want)
				}
				if c != nil {
					t.Error("a connection came with the error")
				}
			})
		})
	}
}

func TestWhatAServerSaysBeforeItClosesIsTold(t *testing.T) {
	const full = "-ERR max number of clients reached\r\n"
	for name, serve := range map[string]func(p *peer){
		"before the greeting was written": func(p *peer) { p.send(full) },
		"after it": func(p *peer) {
			p.next()
			p.send(full)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := simnet.Pipe(simnet.Options{})
				p := &peer{t, server, resp3.NewReader(server, resp3.Limits{})}
				served := make(chan struct{})
				go func() {
					defer close(served)
					serve(p)
					server.Close()
				}()
				if name == "before the greeting was written" {
					<-served
				}
				_, err := Open(bg, client, Config{Node: "peer:1"}, Hello{})
				<-served
				var e *command.Error
				if !errors.As(err, &e) || e.Phase != "handshake" || !strings.Contains(err.Error(), "max number of clients") {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestAServerThatClosesWithoutAWordIsTooFarGoneToBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := simnet.Pipe(simnet.Options{})
		server.Close()
		start := time.Now()
		_, err := Open(bg, client, Config{Node: "peer:1"}, Hello{})
		if !command.SafeToRetry(err) || time.Since(start) > lastFor {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestAuthenticate(t *testing.T) {
	const secret = "c4n4ry"
	for _, tt := range []struct {
		name, username, password, reply, sent, want string
	}{
		{"a user", "u", secret, "+OK\r\n", "AUTH u " + secret, ""},
		{"the default user", "", secret, "+OK\r\n", "AUTH " + secret, ""},
		{"a user without a password", "u", "", "+OK\r\n", "AUTH u ", ""},
		{"refused", "u", secret, "-WRONGPASS no\r\n", "AUTH u " + secret, "WRONGPASS"},
		{"refused with the password in the answer", "u", secret, "-ERR what is " + secret + "?\r\n", "AUTH u " + secret, "ERR what is [redacted]?"},
		{"the password alone in the answer", "u", secret, "-" + secret + "\r\n", "AUTH u " + secret, "[redacted]"},
		{"a password that is a code", "u", "ERR", "-ERR no\r\n", "AUTH u ERR", "ERR no"},
		{"queued, as in MULTI", "u", secret, "+QUEUED\r\n", "AUTH u " + secret, "unexpected reply"},
		{"another reply", "u", secret, ":1\r\n", "AUTH u " + secret, "unexpected reply"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, Config{}, simnet.Options{}, func(c *Conn, p *peer) {
				failed := make(chan error, 1)
				go func() { failed <- c.Authenticate(bg, tt.username, tt.password) }()
				if got := p.next(); got != tt.sent {
					t.Errorf("sent %q, want %q", got, tt.sent)
				}
				p.send(tt.reply)
				err := <-failed
				switch {
				case tt.want == "" && err != nil:
					t.Error(err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret)):
					t.Errorf("error %v, want one with %q and without secrets", err, tt.want)
				}
			})
		})
	}
}
