package evict

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/redisx/redisx/command"
)

// UnsafeServerError reports a server that may evict keys, or does not say.
type UnsafeServerError struct {
	// Policy is the server's maxmemory-policy, "" when it does not tell.
	Policy string
	// Err is why it does not tell: a resp3.ServerError, or nil.
	Err error
}

// Error names the policy.
func (e *UnsafeServerError) Error() string {
	switch {
	case e.Policy != "":
		return "evict: unsafe server: maxmemory-policy is " + e.Policy
	case e.Err != nil:
		return fmt.Sprintf("evict: unsafe server: it does not tell its maxmemory-policy: %v", e.Err)
	}
	return "evict: unsafe server: it does not tell its maxmemory-policy"
}

// Unwrap returns why the server does not tell.
func (e *UnsafeServerError) Unwrap() error { return e.Err }

// Explain says what to do.
func (e *UnsafeServerError) Explain() string {
	if e.Policy == "" {
		return "INFO memory did not show maxmemory_policy (an ACL without +info, or a proxy). Allow INFO, or waive the check with AllowEviction if you know that the server never evicts."
	}
	return "With maxmemory-policy " + e.Policy + " the server may drop the keys of a primitive whenever memory runs short, and nobody is told. " +
		"Run CONFIG SET maxmemory-policy noeviction, use another server for caches, or waive the check with AllowEviction."
}

const safe = "noeviction"

var info = command.NewSpec(command.Spec{Name: "INFO", Arity: -1, Flags: command.ReadOnly, Retry: command.RetryRead, Since: "1.0.0"})

// attachment is where a Doer keeps that its server was found safe.
type attachment struct{}

type verdict struct{ safe atomic.Bool }

// Close has nothing to give back.
func (*verdict) Close() error { return nil }

// Check returns nil if the server behind d never evicts, an *UnsafeServerError
// if it may, or the error of asking it.
func Check(ctx context.Context, d command.Doer) error {
	var known *verdict
	if a, ok := d.(command.Attacher); ok {
		c, err := a.Attach(attachment{}, func() io.Closer { return new(verdict) })
		if err != nil {
			return err
		}
		known = c.(*verdict)
		if known.safe.Load() {
			return nil
		}
	}
	text, err := command.Do(ctx, d, command.New(command.NewRequest(info, command.Str("memory")), command.AsString))
	if err != nil {
		return answer(err)
	}
	if policy := policyOf(text); policy != safe {
		return &UnsafeServerError{Policy: policy}
	}
	if known != nil {
		known.safe.Store(true)
	}
	return nil
}

// answer tells a server that refuses to say from one that cannot be reached: it
// may say "ERR max number of clients reached" while it is dialed.
func answer(err error) error {
	var e *command.Error
	if errors.As(err, &e) && e.Phase != "reply" {
		return err
	}
	for _, code := range []string{"ERR", "NOPERM"} {
		if command.IsCode(err, code) {
			return &UnsafeServerError{Err: err}
		}
	}
	return err
}

// policyOf finds the policy in the text of INFO, "" if it is not there.
func policyOf(text string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "maxmemory_policy:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
