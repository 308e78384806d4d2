package command_test

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

type address struct {
	City string `redis:"city"`
}

type level uint8

type user struct {
	address
	Name   string        `redis:"name"`
	Age    int8          `redis:"age"`
	Level  level         `redis:"level"`
	Score  float64       `redis:"score"`
	Ratio  float32       `redis:"ratio"`
	Admin  bool          `redis:"admin"`
	Photo  []byte        `redis:"photo"`
	Born   time.Time     `redis:"born"`
	Limit  *int          `redis:"limit"`
	Note   *string       `redis:"note"`
	Wait   time.Duration `redis:"wait"`
	Motto  string        `redis:"motto,omitempty"`
	Memory string        // stays out
	Out    string        `redis:"-"`
}

// mapOf is the reply of HGETALL over RESP3.
func mapOf(pairs ...command.Pair) resp3.View {
	b := resp3.AppendHeader(nil, resp3.Map, len(pairs))
	for _, p := range pairs {
		b = resp3.AppendBulk(resp3.AppendBulk(b, p.Key), p.Value)
	}
	return view(string(b))
}

func TestAStructComesBackAsItWent(t *testing.T) {
	t.Parallel()
	limit := 0
	in := user{
		address: address{"Bonn"}, Name: "ann\r\n\x00", Age: -128, Level: 255, Score: 0.1, Ratio: 0.1, Admin: true, Photo: []byte{0, 255},
		Born: time.Date(1990, 1, 2, 3, 4, 5, 6, time.UTC), Limit: &limit, Wait: time.Second, Memory: "mine", Out: "mine",
	}
	fields, err := command.Fields(in)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(fields); n != 11 { // note is nil, motto empty
		t.Errorf("%d fields: %q", n, fields)
	}
	out, err := command.AsStruct[user](mapOf(append(fields, command.KV("new", "unknown"))...))
	in.Memory, in.Out = "", ""
	if err != nil || !reflect.DeepEqual(out, in) {
		t.Errorf("%+v, %v, want %+v", out, err, in)
	}
	byPointer, err := command.Fields(&in)
	if err != nil || !reflect.DeepEqual(byPointer, fields) {
		t.Errorf("by pointer %q, %v, want %q", byPointer, err, fields)
	}
}

func TestStructsTakeWhatEitherProtocolSends(t *testing.T) {
	t.Parallel()
	type row struct {
		N  int64   `redis:"n"`
		F  float64 `redis:"f"`
		B  bool    `redis:"b"`
		P  *int    `redis:"p"`
		In uint64  `redis:"in"`
	}
	for frame, want := range map[string]row{
		"%3\r\n$1\r\nn\r\n:7\r\n$1\r\nf\r\n,inf\r\n$1\r\nb\r\n#t\r\n":       {N: 7, F: math.Inf(1), B: true},
		"*4\r\n$1\r\nn\r\n$2\r\n-7\r\n$1\r\nb\r\n$4\r\ntrue\r\n":            {N: -7, B: true},
		"%2\r\n$1\r\np\r\n_\r\n$2\r\nin\r\n$20\r\n18446744073709551615\r\n": {In: math.MaxUint64},
		"%2\r\n$1\r\nn\r\n:1\r\n$4\r\nlist\r\n*1\r\n:1\r\n":                 {N: 1},
		"%2\r\n$1\r\nb\r\n:0\r\n$1\r\nf\r\n(12\r\n":                         {F: 12},
	} {
		if got, err := command.AsStruct[row](view(frame)); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", frame, got, err, want)
		}
	}
	for _, nothing := range []string{"%0\r\n", "*0\r\n", "_\r\n", "*-1\r\n"} {
		if _, err := command.AsStruct[row](view(nothing)); err != command.Nil {
			t.Errorf("%q: %v, want Nil", nothing, err)
		}
	}
	for _, bad := range []string{"*1\r\n$1\r\nn\r\n", ":1\r\n", "-ERR x\r\n", "%1\r\n$1\r\nn\r\n-ERR x\r\n"} {
		if got, err := command.AsStruct[row](view(bad)); err == nil || errors.Is(err, command.Nil) {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

func TestAValueThatDoesNotFitNamesItsField(t *testing.T) {
	t.Parallel()
	type row struct {
		Small int8       `redis:"small"`
		Flag  bool       `redis:"flag"`
		Plus  uint       `redis:"plus"`
		Time  *time.Time `redis:"time"`
	}
	for _, tt := range []struct {
		key, value, field string
		is                error
	}{
		{"small", "128", "Small", strconv.ErrRange},
		{"small", "secret", "Small", strconv.ErrSyntax},
		{"flag", "yes", "Flag", strconv.ErrSyntax},
		{"plus", "-1", "Plus", strconv.ErrSyntax},
		{"time", "noon", "Time", nil},
	} {
		_, err := command.AsStruct[row](mapOf(command.KV(tt.key, tt.value)))
		var f *command.FieldError
		if !errors.As(err, &f) || f.Name != tt.field || (tt.is != nil && !errors.Is(err, tt.is)) {
			t.Errorf("%s=%s: %v", tt.key, tt.value, err)
			continue
		}
		if tt.is != nil && strings.Contains(err.Error(), tt.value) {
			t.Errorf("the error shows the value: %v", err)
		}
	}
	_, err := command.AsStruct[row](view("%1\r\n$5\r\nsmall\r\n*0\r\n"))
	var typ *resp3.TypeError
	if !errors.As(err, &typ) {
		t.Errorf("an array in a field: %v, want a *TypeError", err)
	}
}

func TestAStructThatCannotBeMappedIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule string
		try  any
		want string
	}{
		{"no tag", struct{ A string }{}, "no field has a tag"},
		{"no struct", 1, "it is no struct"},
		{"nil", nil, "it is nil"},
		{"a nil pointer", (*user)(nil), "it is nil"},
		{"a list", struct {
			A []string `redis:"a"`
		}{}, "field A of struct"},
		{"a pointer to a pointer", struct {
			A **int `redis:"a"`
		}{}, "cannot be mapped"},
		{"a name twice", struct {
			A string `redis:"a"`
			B string `redis:"a"`
		}{}, "field B of struct"},
		{"unexported", struct {
			a string `redis:"a"`
		}{}, "not exported"},
		{"no name", struct {
			A string `redis:",omitempty"`
		}{}, "no name"},
		{"another option", struct {
			A string `redis:"a,omitemtpy"`
		}{}, "other than omitempty"},
	} {
		for range 2 { // found, then remembered
			_, err := command.Fields(tt.try)
			var f *command.FieldError
			if !errors.As(err, &f) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.rule, err, tt.want)
			}
		}
	}
	if _, err := command.AsStruct[string](mapOf(command.KV("a", "b"))); err == nil {
		t.Error("a string is taken for a struct")
	}
}

// What reads values must not panic, whatever they are.
func FuzzAsStruct(f *testing.F) {
	f.Add("name", "ann")
	f.Add("age", "12")
	f.Add("born", "1990-01-02T03:04:05Z")
	f.Fuzz(func(t *testing.T, key, value string) {
		u, err := command.AsStruct[user](mapOf(command.KV(key, value)))
		if err != nil {
			return
		}
		fields, err := command.Fields(u)
		if err != nil {
			return // a year that text cannot hold
		}
		again, err := command.AsStruct[user](mapOf(fields...))
		if err != nil || (!reflect.DeepEqual(again, u) && u.Score == u.Score && u.Ratio == u.Ratio && len(u.Photo) > 0) {
			t.Errorf("%+v comes back as %+v, %v", u, again, err)
		}
	})
}
