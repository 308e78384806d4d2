package command_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

// played answers requests with frames, in order, and notes what was asked.
type played struct {
	frames []string
	asked  []string
	ask    func(n int) // called before answer n, if set
}

func (p *played) Do(_ context.Context, r command.Request) (command.Reply, error) {
	if p.ask != nil {
		p.ask(len(p.asked))
	}
	line := r.Name()
	for i := range r.Len() {
		line += " " + r.Arg(i).Text()
	}
	p.asked = append(p.asked, line)
	if len(p.frames) == 0 {
		return command.Reply{}, errors.New("asked once too often")
	}
	v := view(p.frames[0])
	p.frames = p.frames[1:]
	if err := v.Err(); err != nil {
		return command.Reply{}, command.ReplyError(r.Spec(), "node", err.(resp3.ServerError))
	}
	return command.NewReply(&v, nil), nil
}

// step is the reply of one step of a scan.
func step(cursor string, found ...string) string {
	b := resp3.AppendHeader(nil, resp3.Array, 2)
	b = resp3.AppendBulk(b, cursor)
	b = resp3.AppendHeader(b, resp3.Array, len(found))
	for _, s := range found {
		b = resp3.AppendBulk(b, s)
	}
	return string(b)
}

// collect walks to the end and returns the pairs' first halves and the error.
func collect[T any](walk iter.Seq2[T, error]) (all []T, err error) {
	for x, e := range walk {
		if err != nil {
			return all, errors.New("a pair follows the error")
		}
		if e != nil {
			err = e
			continue
		}
		all = append(all, x)
	}
	return all, err
}

func TestAScanGoesOnUntilItsCursorIsZero(t *testing.T) {
	t.Parallel()
	p := &played{frames: []string{step("17", "a", "b"), step("18446744073709551615"), step("3", "b"), step("0", "c")}}
	walk := command.ScanAll(t.Context(), p, command.MATCH("*"), command.COUNT(2))
	got, err := collect(walk)
	if err != nil || !slices.Equal(got, []string{"a", "b", "b", "c"}) {
		t.Errorf("found %q, %v", got, err)
	}
	want := []string{"SCAN 0 MATCH * COUNT 2", "SCAN 17 MATCH * COUNT 2", "SCAN 18446744073709551615 MATCH * COUNT 2", "SCAN 3 MATCH * COUNT 2"}
	if !slices.Equal(p.asked, want) {
		t.Errorf("asked %q, want %q", p.asked, want)
	}
	p.frames = []string{step("0", "z")}
	if got, err := collect(walk); err != nil || !slices.Equal(got, []string{"z"}) {
		t.Errorf("the second time: %q, %v, want a new walk", got, err)
	}
}

func TestScansOfElementsKeepWhatBelongsTogether(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	fields, err := collect(command.HScanAll(ctx, &played{frames: []string{step("1", "a", "1"), step("0", "b", "2")}}, "h"))
	if err != nil || !slices.Equal(fields, []command.Pair{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}) {
		t.Errorf("fields: %v, %v", fields, err)
	}
	members, err := collect(command.ZScanAll(ctx, &played{frames: []string{step("0", "a", "1.5")}}, "z"))
	if err != nil || !slices.Equal(members, []command.Z{{Score: 1.5, Member: "a"}}) {
		t.Errorf("members: %v, %v", members, err)
	}
	p := &played{frames: []string{step("0", "a")}}
	if got, err := collect(command.HScanFieldsAll(ctx, p, "h")); err != nil || len(got) != 1 || p.asked[0] != "HSCAN h 0 NOVALUES" {
		t.Errorf("names: %v, %v after %q", got, err, p.asked)
	}
	p = &played{frames: []string{step("0", "a")}}
	if got, err := collect(command.SScanAll(ctx, p, "s", command.COUNT(5))); err != nil || len(got) != 1 || p.asked[0] != "SSCAN s 0 COUNT 5" {
		t.Errorf("set: %v, %v after %q", got, err, p.asked)
	}
}

func TestLeavingAScanAsksForNoMore(t *testing.T) {
	t.Parallel()
	p := &played{frames: []string{step("17", "a", "b"), step("0")}}
	for range command.ScanAll(t.Context(), p) {
		break
	}
	if len(p.asked) != 1 {
		t.Errorf("asked %q", p.asked)
	}
}

func TestTheFirstErrorEndsAScan(t *testing.T) {
	t.Parallel()
	p := &played{frames: []string{step("17", "a"), "-WRONGTYPE no\r\n", step("0")}}
	got, err := collect(command.SScanAll(t.Context(), p, "s"))
	if !slices.Equal(got, []string{"a"}) || !command.IsCode(err, "WRONGTYPE") || len(p.asked) != 2 {
		t.Errorf("found %q, %v after %q", got, err, p.asked)
	}
	_, err = collect(command.ScanAll(t.Context(), &played{frames: []string{step("x", "a")}}))
	var e *command.Error
	if !errors.As(err, &e) || e.Phase != "decode" || e.Outcome != command.Done {
		t.Errorf("a cursor that is no number: %v", err)
	}
	p = &played{}
	if _, err = collect(command.ScanAll(t.Context(), p, nil)); !errors.As(err, &e) || e.Phase != "build" || len(p.asked) > 0 {
		t.Errorf("an option that is nil: %v after %q", err, p.asked)
	}
}

// A server that answers each step with its own cursor would hold a caller
// without a deadline for ever.
func TestAScanThatStandsStillEnds(t *testing.T) {
	t.Parallel()
	p := &played{frames: []string{step("17", "a"), step("17", "a"), step("17", "a")}}
	got, err := collect(command.ScanAll(t.Context(), p))
	if !errors.Is(err, command.ErrScanStuck) || len(p.asked) != 2 || len(got) != 2 {
		t.Errorf("found %q, %v after %q", got, err, p.asked)
	}
}

func TestAScanEndsWithItsContext(t *testing.T) {
	t.Parallel()
	why := errors.New("enough")
	for at, found := range map[string]int{"before": 0, "between elements": 1, "between steps": 2} {
		ctx, cancel := context.WithCancelCause(t.Context())
		p := &played{frames: []string{step("1", "a", "b"), step("2", "c")}}
		want := 1
		if at == "before" {
			cancel(why)
			want = 0
		}
		n := 0
		var err error
		for _, e := range command.ScanAll(ctx, p) {
			if err = e; err != nil {
				continue
			}
			n++
			if n == found {
				cancel(why)
			}
		}
		if n != found || len(p.asked) != want || !errors.Is(err, context.Canceled) || !errors.Is(err, why) || !command.SafeToRetry(err) {
			t.Errorf("%s: %d found, %v after %q", at, n, err, p.asked)
		}
		cancel(nil)
	}
}

func TestDoIntoAppendsWithoutAllocating(t *testing.T) {
	d := &constant{reply("$5\r\nhello\r\n")}
	ctx := t.Context()
	buf := append(make([]byte, 0, 64), "> "...)
	if got, err := command.DoInto(ctx, d, command.Get("k"), buf); err != nil || string(got) != "> hello" {
		t.Errorf("%q, %v", got, err)
	}
	if n := testing.AllocsPerRun(100, func() {
		out, err := command.DoInto(ctx, d, command.Get("k"), buf)
		if err != nil || len(out) != 7 {
			t.Fatal(out, err)
		}
	}); n > 0 {
		t.Errorf("it allocates %v times", n)
	}
	for frame, want := range map[string]string{"_\r\n": "redisx: nil", ":1\r\n": "want a string"} {
		got, err := command.DoInto(ctx, &constant{reply(frame)}, command.HGet("h", "f"), buf)
		if err == nil || !strings.Contains(err.Error(), want) || string(got) != "> " {
			t.Errorf("%q: %q, %v", frame, got, err)
		}
	}
	if got, err := command.DoInto(ctx, d, command.GetEx("k", command.EX(-1)), buf); err == nil || string(got) != "> " {
		t.Errorf("a command that was built wrong: %q, %v", got, err)
	}
}

// constant answers everything alike.
type constant struct{ reply command.Reply }

func (c *constant) Do(context.Context, command.Request) (command.Reply, error) { return c.reply, nil }
