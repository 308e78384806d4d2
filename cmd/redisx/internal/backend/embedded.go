package backend

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// openEmbedded starts miniredis in this process, with its clock running.
func openEmbedded(why string) (*Backend, error) {
	m := miniredis.NewMiniRedis()
	if err := start(m); err != nil {
		return nil, err
	}
	return &Backend{
		URL:  "redis://" + m.Addr(),
		Name: fmt.Sprintf("miniredis, embedded in this process, at %s (%s)", m.Addr(), why),
		Off: []string{
			"client tracking: waits poll every 10 to 250 ms instead of being woken",
			"a second implementation of Redis: for a look, not for judging Redis itself",
		},
		close: func() error { m.Close(); return nil },
	}, nil
}

// start starts miniredis with the few things filled in that the primitives ask a
// server for.
func start(m *miniredis.Miniredis) error {
	m.ClockTTL(true) // or nothing would ever expire
	if err := m.Start(); err != nil {
		return fmt.Errorf("embedded server: %w", err)
	}
	g := &gaps{server: m.Server(), plain: map[string]string{}}
	m.Server().SetPreHook(g.hook)
	return nil
}

// gaps answers what miniredis lacks.
type gaps struct {
	server *server.Server

	mu    sync.Mutex
	plain map[string]string // digest of a script with a shebang line -> of the one without
}

// hook sees every command first and reports whether it has answered it. args is
// the command's own slice: what is changed in it is what miniredis runs.
func (g *gaps) hook(c *server.Peer, cmd string, args ...string) bool {
	switch cmd {
	case "INFO":
		if len(args) == 1 && strings.EqualFold(args[0], "memory") {
			c.WriteBulk("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n")
			return true
		}
	case "EVAL_RO", "EVALSHA_RO":
		// miniredis takes TIME for a command that writes.
		g.server.Dispatch(c, append([]string{strings.TrimSuffix(cmd, "_RO")}, args...))
		return true
	case "EVAL":
		// Script flags are for servers that run out of memory. miniredis reads
		// "#!lua" as a syntax error; as a comment it leaves the lines as they are.
		if len(args) > 0 && strings.HasPrefix(args[0], "#!") {
			plain := "--" + args[0][2:]
			g.mu.Lock()
			g.plain[digest(args[0])] = digest(plain)
			g.mu.Unlock()
			args[0] = plain
		}
	case "EVALSHA":
		if len(args) > 0 {
			g.mu.Lock()
			if d, ok := g.plain[args[0]]; ok {
				args[0] = d
			}
			g.mu.Unlock()
		}
	}
	return false
}

func digest(script string) string {
	sum := sha1.Sum([]byte(script))
	return hex.EncodeToString(sum[:])
}
