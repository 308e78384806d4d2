package command

import (
	"context"
	"errors"
	"testing"

	"github.com/redisx/redisx/resp3"
)

// answers answers requests in order and notes their names.
type answers struct {
	frames []string
	sent   []string
}

func (a *answers) Do(_ context.Context, r Request) (Reply, error) {
	a.sent = append(a.sent, r.Name())
	v := resp3.NewView([]byte(a.frames[0]))
	a.frames = a.frames[1:]
	if err := v.Err(); err != nil {
		return Reply{}, ReplyError(r.Spec(), "node", err.(resp3.ServerError))
	}
	return NewReply(&v, nil), nil
}

func TestRunScript(t *testing.T) {
	t.Parallel()
	s := NewScript("return 1")
	if s.Digest() != "e0e1f9fabfc9d4800c877a703b823ac0578ff8db" || s.Source() != "return 1" {
		t.Errorf("the digest of %q is %s", s.Source(), s.Digest())
	}
	for _, tt := range []struct {
		rule   string
		frames []string
		sent   int
		ok     bool
	}{
		{"the digest is enough", []string{":1\r\n"}, 1, true},
		{"an unknown digest is followed by the source", []string{"-NOSCRIPT No matching script.\r\n", ":1\r\n"}, 2, true},
		{"another error is not tried again", []string{"-ERR user_script:1\r\n"}, 1, false},
		{"a second NOSCRIPT is the answer", []string{"-NOSCRIPT a\r\n", "-NOSCRIPT b\r\n"}, 2, false},
	} {
		d := &answers{frames: tt.frames}
		n, err := RunScript(context.Background(), d, s, AsInt, []string{"k"}, Int(1))
		if (err == nil) != tt.ok || (tt.ok && n != 1) || len(d.sent) != tt.sent {
			t.Errorf("%s: %d, %v after %v", tt.rule, n, err, d.sent)
		}
	}
	r := s.EvalSHA([]string{"a", "b"}, Str("x"))
	if got := string(r.Append(nil)); got != "*6\r\n$7\r\nEVALSHA\r\n$40\r\n"+s.Digest()+"\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nx\r\n" {
		t.Errorf("it is sent as %q", got)
	}
	if eval := s.Eval(nil); eval.Spec().Retry != RetryUnsafe || !eval.Spec().Has(Scripting) {
		t.Error("EVAL may be repeated")
	}
}

// one always gives the same answer.
type one struct{ v resp3.View }

func (o *one) Do(context.Context, Request) (Reply, error) { return NewReply(&o.v, nil), nil }

// Every step of every primitive is a RunScript: what it allocates, all do.
func TestACallOfAKnownScriptAllocatesOnlyForManyWords(t *testing.T) {
	d, s, ctx := &one{resp3.NewView([]byte(":1\r\n"))}, NewScript("return 1"), context.Background()
	key, id := t.Name(), t.Name()
	for _, tt := range []struct {
		rule string
		run  func() (int64, error)
		want float64
	}{
		{"digest, count, key and argument fit in the request", func() (int64, error) {
			return RunScript(ctx, d, s, AsInt, []string{key}, Str(id))
		}, 0},
		{"more of them take one slice", func() (int64, error) {
			return RunScript(ctx, d, s, AsInt, []string{key, id}, Str(id), Int(1), Int(2), Int(3))
		}, 1},
	} {
		n := testing.AllocsPerRun(100, func() {
			if v, err := tt.run(); v != 1 || err != nil {
				t.Fatalf("%s: %d, %v", tt.rule, v, err)
			}
		})
		if n != tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.rule, n, tt.want)
		}
	}
}

// What a script says proves nothing about what it did before it said so.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		r    Request
		text string
		want Outcome
	}{
		{Get("k").Request(), "LOADING Redis is loading", Refused},
		{Get("k").Request(), "WRONGTYPE Operation", Done},
		{Eval("x", nil).Request(), "OOM from a script", Done},
		{EvalSHA("x", nil).Request(), "NOSCRIPT No matching script", Refused},
		{FCall("f", nil).Request(), "READONLY said by the function", Done},
		{FCall("f", nil).Request(), "MOVED 1 host:1", Refused},
	} {
		err := ReplyError(tt.r.Spec(), "node", resp3.ServerError(tt.text))
		if err.Outcome != tt.want {
			t.Errorf("%s, %q: %v, want %v", tt.r.Name(), tt.text, err.Outcome, tt.want)
		}
		if SafeToRetry(err) != (tt.want == Refused) {
			t.Errorf("%s, %q: SafeToRetry is %t", tt.r.Name(), tt.text, SafeToRetry(err))
		}
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	if _, err := Do(ctx, &answers{frames: []string{"_\r\n"}}, Get("k")); err != Nil {
		t.Errorf("an absent value: %v, want Nil", err)
	}
	_, err := Do(ctx, &answers{frames: []string{":1\r\n"}}, Get("k"))
	var e *Error
	if !errors.As(err, &e) || e.Phase != "decode" || e.Outcome != Done || SafeToRetry(err) {
		t.Errorf("a reply of another shape: %v, want an *Error of the phase decode, done", err)
	}
	b, err := Do(ctx, &answers{frames: []string{"$1\r\nx\r\n"}}, As(Get("k"), AsBytes))
	if err != nil || string(b) != "x" {
		t.Errorf("another decoder: %q, %v", b, err)
	}
	if _, err := Do(ctx, &answers{}, New(Request{}, AsInt)); !errors.As(err, &e) || e.Phase != "build" {
		t.Errorf("the zero request: %v", err)
	}
}
