package lease

import "sync"

// Fence guards a resource in this process: it remembers the greatest token that
// came by and refuses smaller ones. The zero Fence is ready, has seen no token,
// and may be used by many goroutines. Tokens of one lease go to one Fence.
//
// It forgets with the process. A resource that outlives it must keep the token
// itself, beside the data and changed in the same step; in SQL:
//
//	UPDATE report SET body = ?, fence = ? WHERE id = ? AND fence <= ?
//
// with the token for both fences. No row changed means that a greater token was
// there first.
type Fence struct {
	name string

	mu       sync.Mutex
	greatest int64
}

// NewFence returns a Fence that has seen that token, such as one that a resource
// has kept. name is the lease's, for errors.
func NewFence(name string, greatest int64) *Fence { return &Fence{name: name, greatest: greatest} }

// Do runs fn if the token is no smaller than the greatest seen, and returns what
// fn returns. Else fn does not run and the error is a *FencedError. While fn runs
// no other call of Do does, so no greater token can come between the look and
// the write: fn must not call the Fence.
func (f *Fence) Do(token int64, fn func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token < f.greatest {
		return &FencedError{Name: f.name, Token: token, HolderToken: f.greatest}
	}
	f.greatest = token
	return fn()
}

// Greatest returns the greatest token seen, 0 when there was none.
func (f *Fence) Greatest() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.greatest
}
