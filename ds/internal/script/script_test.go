package script

import (
	"embed"
	"errors"
	"testing"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

func view(frame string) resp3.View { return resp3.NewView([]byte(frame)) }

func TestFieldsKeepTheirFirstFailure(t *testing.T) {
	f := Read(view("*3\r\n:7\r\n$1\r\nx\r\n:1700000000000001\r\n"))
	if n, s := f.Int(), f.Text(); n != 7 || s != "x" || !f.More() {
		t.Errorf("read %d %q, more %t", n, s, f.More())
	}
	if at := f.Micros(); at.UnixMicro() != 1700000000000001 || f.Err() != nil || f.More() {
		t.Errorf("read %v, more %t: %v", at, f.More(), f.Err())
	}
	if f.Int() != 0 || f.Err() == nil {
		t.Error("read past the end")
	}
	first := f.Err()
	if f.Refuse("word"); f.Err() != first {
		t.Errorf("a later failure took the place of %v", first)
	}

	f = Read(view("*2\r\n$1\r\nx\r\n:7\r\n"))
	if n := f.Int(); n != 0 || f.Err() == nil {
		t.Errorf("read x as %d: %v", n, f.Err())
	}
	if f.Int() != 0 || f.Text() != "" || f.Millis() != 0 || !f.Micros().IsZero() || f.More() {
		t.Error("read on after a failure")
	}

	var shape *resp3.TypeError
	if f := Read(view(":1\r\n")); !errors.As(f.Err(), &shape) || f.Int() != 0 {
		t.Errorf("an integer was read as an array: %v", f.Err())
	}
	f = Read(view("*1\r\n$5\r\nwhat?\r\n"))
	if f.Refuse(f.Text()); f.Err() == nil || f.Err().Error() != `the script answered "what?"` {
		t.Errorf("an unknown word: %v", f.Err())
	}
}

func TestPartsStandWhereTheyAreIncluded(t *testing.T) {
	s := New("return 1\n  -- include server.lua\n-- include nothing.lua\n", embed.FS{})
	part, err := common.ReadFile("server.lua")
	if err != nil {
		t.Fatal(err)
	}
	if want := "return 1\n" + string(part) + "-- include nothing.lua\n"; s.Source() != want {
		t.Errorf("source:\n%s\nwant:\n%s", s.Source(), want)
	}
}

func TestTheServersWordProvesThatNothingRan(t *testing.T) {
	r := command.NewScript("").Eval(nil)
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"not sent":    {command.BuildError(&r, errors.New("x")), false},
		"raised":      {&command.Error{Outcome: command.Done, Err: resp3.ServerError("OOM command not allowed")}, false},
		"lost answer": {&command.Error{Outcome: command.Maybe, Err: errors.New("cut")}, true},
		"not ours":    {errors.New("who knows"), true},
	} {
		if got := MayHaveRun(c.err); got != c.want {
			t.Errorf("%s: MayHaveRun = %t, want %t", name, got, c.want)
		}
	}
}
