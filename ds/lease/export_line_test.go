package lease

import "github.com/redisx/redisx/command"

// Line returns how many callers of d line up for the lease, and the owner that
// the first has seen.
func Line(d command.Doer, name string) (callers int, owner string) {
	c, err := d.(command.Attacher).Attach(linesKey{}, newLines)
	if err != nil {
		return 0, ""
	}
	all := c.(*lines)
	all.mu.Lock()
	defer all.mu.Unlock()
	l := all.of[lineKey{d, namesOf("", name).lease}]
	if l == nil {
		return 0, ""
	}
	if l.held != nil {
		owner = l.held.owner
	}
	return l.turns.Len(), owner
}
