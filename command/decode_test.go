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

func view(frame string) resp3.View { return resp3.NewView([]byte(frame)) }

func reply(frame string) command.Reply {
	v := view(frame)
	return command.NewReply(&v, nil)
}

func decoder[T any](d command.Decoder[T]) func(resp3.View) (any, error) {
	return func(v resp3.View) (any, error) { return d(v) }
}

// Each decoder takes what either protocol sends.
func TestDecoders(t *testing.T) {
	t.Parallel()
	pair := command.KV("a", "1")
	z := command.Z{Score: 1.5, Member: "a"}
	entry := command.Entry{ID: "1-1", Fields: []command.Pair{pair}}
	for _, tt := range []struct {
		rule, frame string
		decode      func(resp3.View) (any, error)
		want        any
	}{
		{"a bulk", "$1\r\na\r\n", decoder(command.AsString), "a"},
		{"a verbatim text without its format", "=5\r\ntxt:a\r\n", decoder(command.AsString), "a"},
		{"an empty bulk is no null", "$0\r\n\r\n", decoder(command.AsString), ""},
		{"bytes", "$1\r\na\r\n", decoder(command.AsBytes), []byte("a")},
		{"empty bytes", "$0\r\n\r\n", decoder(command.AsBytes), []byte{}},
		{"bytes behind others", "$1\r\na\r\n", decoder(command.Into([]byte("x"))), []byte("xa")},
		{"an integer in a bulk", "$2\r\n-7\r\n", decoder(command.AsInt), int64(-7)},
		{"a double", ",1.5\r\n", decoder(command.AsFloat), 1.5},
		{"a double in a bulk", "$3\r\n1.5\r\n", decoder(command.AsFloat), 1.5},
		{"infinity", ",inf\r\n", decoder(command.AsFloat), math.Inf(1)},
		{"a boolean", "#t\r\n", decoder(command.AsBool), true},
		{"an integer as boolean", ":0\r\n", decoder(command.AsBool), false},
		{"seconds left", ":3\r\n", decoder(command.AsTTL), command.Lifetime{Left: 3 * time.Second}},
		{"no expiry", ":-1\r\n", decoder(command.AsTTL), command.Lifetime{Forever: true}},
		{"milliseconds left", ":1500\r\n", decoder(command.AsPTTL), command.Lifetime{Left: 1500 * time.Millisecond}},
		{"a deadline", ":5\r\n", decoder(command.AsDeadline), command.Deadline{At: time.Unix(5, 0)}},
		{"a set", "~1\r\n$1\r\na\r\n", decoder(command.AsStrings), []string{"a"}},
		{"a null array", "*-1\r\n", decoder(command.AsStrings), []string(nil)},
		{"absent elements", "*2\r\n$1\r\na\r\n$-1\r\n", decoder(command.AsOptionalStrings), []command.Optional[string]{{Value: "a", OK: true}, {}}},
		{"a map", "%1\r\n$1\r\na\r\n$1\r\n1\r\n", decoder(command.AsStringMap), map[string]string{"a": "1"}},
		{"a flat map", "*2\r\n$1\r\na\r\n$1\r\n1\r\n", decoder(command.AsStringMap), map[string]string{"a": "1"}},
		{"nested scores", "*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n", decoder(command.AsZs), []command.Z{z}},
		{"flat scores", "*2\r\n$1\r\na\r\n$3\r\n1.5\r\n", decoder(command.AsZs), []command.Z{z}},
		{"one score", "*2\r\n$1\r\na\r\n,1.5\r\n", decoder(command.AsZ), z},
		{"popped: key, member, score", "*3\r\n$1\r\nk\r\n$1\r\na\r\n,1.5\r\n", decoder(command.AsPoppedZ), command.PoppedZ{Key: "k", Members: []command.Z{z}}},
		{"popped: key, members", "*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$1\r\na\r\n$3\r\n1.5\r\n", decoder(command.AsPoppedZ), command.PoppedZ{Key: "k", Members: []command.Z{z}}},
		{"streams as map", "%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n", decoder(command.AsStreams), []command.Stream{{Key: "s", Entries: []command.Entry{entry}}}},
		{"streams as pairs", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n", decoder(command.AsStreams), []command.Stream{{Key: "s", Entries: []command.Entry{entry}}}},
		{"no streams", "_\r\n", decoder(command.AsStreams), []command.Stream(nil)},
		{"a deleted entry", "*1\r\n*2\r\n$3\r\n1-1\r\n$-1\r\n", decoder(command.AsEntries), []command.Entry{{ID: "1-1"}}},
		{"a claimed entry that is gone, before 7.0", "*2\r\n$-1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n", decoder(command.AsEntries), []command.Entry{entry}},
		{"a claim before 7.0", "*2\r\n$3\r\n0-0\r\n*0\r\n", decoder(command.AsClaimed), command.Claimed{Next: "0-0", Entries: []command.Entry{}}},
		{"a group with a field from the future", "*1\r\n%2\r\n$4\r\nname\r\n$1\r\ng\r\n$3\r\nnew\r\n*1\r\n:1\r\n", decoder(command.AsGroups), []command.GroupInfo{{Name: "g"}}},
		{"a rank", "*2\r\n:3\r\n,1.5\r\n", decoder(command.AsRank), command.Rank{Rank: 3, Score: 1.5}},
		{"a replica", "*5\r\n$5\r\nslave\r\n$3\r\n::1\r\n:6379\r\n$7\r\nconnect\r\n:-1\r\n", decoder(command.AsRole), command.Role{Name: "slave", Primary: "[::1]:6379", State: "connect", Offset: -1}},
		{"a primary", "*3\r\n$6\r\nmaster\r\n:9\r\n*1\r\n*3\r\n$1\r\nh\r\n$1\r\n1\r\n$1\r\n7\r\n", decoder(command.AsRole), command.Role{Name: "master", Offset: 9, Replicas: []command.Replica{{Host: "h", Port: "1", Offset: 7}}}},
		{"a sentinel", "*2\r\n$8\r\nsentinel\r\n*1\r\n$1\r\nm\r\n", decoder(command.AsRole), command.Role{Name: "sentinel", Masters: []string{"m"}}},
		{"a slow command of an old server", "*1\r\n*4\r\n:1\r\n:5\r\n:7\r\n*1\r\n$3\r\nGET\r\n", decoder(command.AsSlowLog), []command.SlowEntry{{ID: 1, At: time.Unix(5, 0), Took: 7 * time.Microsecond, Args: []string{"GET"}}}},
		{"a claim of IDs before 7.0", "*2\r\n$3\r\n0-0\r\n*0\r\n", decoder(command.AsClaimedIDs), command.ClaimedIDs{Next: "0-0", IDs: []string{}}},
		{"a consumer never active", "*1\r\n%1\r\n$8\r\ninactive\r\n:-1\r\n", decoder(command.AsConsumers), []command.ConsumerInfo{{Inactive: command.Optional[time.Duration]{OK: true}}}},
	} {
		got, err := tt.decode(view(tt.frame))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %#v, %v, want %#v", tt.rule, got, err, tt.want)
		}
	}
}

func TestNullIsNil(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]func(resp3.View) (any, error){
		"AsOK": decoder(command.AsOK), "AsString": decoder(command.AsString), "AsBytes": decoder(command.AsBytes),
		"AsInt": decoder(command.AsInt), "AsFloat": decoder(command.AsFloat), "AsBool": decoder(command.AsBool),
		"AsPair": decoder(command.AsPair), "AsZ": decoder(command.AsZ), "AsRank": decoder(command.AsRank),
		"AsPopped": decoder(command.AsPopped), "AsPoppedZ": decoder(command.AsPoppedZ), "AsValues": decoder(command.AsValues),
	} {
		for _, null := range []string{"_\r\n", "$-1\r\n", "*-1\r\n"} {
			if _, err := d(view(null)); err != command.Nil {
				t.Errorf("%s of %q: %v, want Nil", name, null, err)
			}
		}
	}
	for name, d := range map[string]func(resp3.View) (any, error){
		"AsTTL": decoder(command.AsTTL), "AsDeadline": decoder(command.AsDeadline),
	} {
		if _, err := d(view(":-2\r\n")); err != command.Nil {
			t.Errorf("%s of no key: %v, want Nil", name, err)
		}
	}
}

func TestRepliesOfAnotherShapeFail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule, frame string
		decode      func(resp3.View) (any, error)
	}{
		{"a bulk is no OK", "$2\r\nOK\r\n", decoder(command.AsVoid)},
		{"QUEUED is no OK", "+QUEUED\r\n", decoder(command.AsVoid)},
		{"an integer is no OK", ":1\r\n", decoder(command.AsVoid)},
		{"null is no OK", "_\r\n", decoder(command.AsVoid)},
		{"another status is no OK or null", "+NO\r\n", decoder(command.AsOK)},
		{"an integer is no string", ":1\r\n", decoder(command.AsString)},
		{"a boolean is no string", "#t\r\n", decoder(command.AsBytes)},
		{"a word is no integer", "$1\r\na\r\n", decoder(command.AsInt)},
		{"2 is no boolean", ":2\r\n", decoder(command.AsBool)},
		{"-3 is no time left", ":-3\r\n", decoder(command.AsTTL)},
		{"a map is no array", "%0\r\n", decoder(command.AsStrings)},
		{"an odd array is no map", "*1\r\n$1\r\na\r\n", decoder(command.AsStringMap)},
		{"two members are not one", "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n", decoder(command.AsZ)},
		{"a cursor is a number", "*2\r\n$1\r\nx\r\n*0\r\n", decoder(command.AsScan)},
		{"a short tuple", "*1\r\n$1\r\nk\r\n", decoder(command.AsPopped)},
		{"an unknown role", "*2\r\n$1\r\nx\r\n:1\r\n", decoder(command.AsRole)},
	} {
		if v, err := tt.decode(view(tt.frame)); err == nil || err == command.Nil {
			t.Errorf("%s: %#v, %v", tt.rule, v, err)
		}
	}
}

// A null inside an aggregate must not read as an absent whole, and an error
// inside must not read as text.
func TestNullsAndErrorsInsideAggregatesFail(t *testing.T) {
	t.Parallel()
	for _, elem := range []string{"_\r\n", "-ERR inside\r\n"} {
		for name, try := range map[string]struct {
			frame  string
			decode func(resp3.View) (any, error)
		}{
			"AsStrings":   {"*1\r\n" + elem, decoder(command.AsStrings)},
			"AsInts":      {"*1\r\n" + elem, decoder(command.AsInts)},
			"AsBools":     {"*1\r\n" + elem, decoder(command.AsBools)},
			"AsStringMap": {"%1\r\n$1\r\na\r\n" + elem, decoder(command.AsStringMap)},
			"AsZs":        {"*2\r\n$1\r\na\r\n" + elem, decoder(command.AsZs)},
			"nested AsZs": {"*1\r\n*2\r\n$1\r\na\r\n" + elem, decoder(command.AsZs)},
			"AsPopped":    {"*2\r\n" + elem + "*0\r\n", decoder(command.AsPopped)},
			"AsScan":      {"*2\r\n" + elem + "*0\r\n", decoder(command.AsScan)},
			"AsTime":      {"*2\r\n" + elem + ":1\r\n", decoder(command.AsTime)},
			"AsStreams":   {"%1\r\n" + elem + "*0\r\n", decoder(command.AsStreams)},
		} {
			_, err := try.decode(view(try.frame))
			if err == nil || errors.Is(err, command.Nil) {
				t.Errorf("%s with %q inside: %v", name, elem, err)
			}
			var server resp3.ServerError
			if strings.HasPrefix(elem, "-") && !errors.As(err, &server) {
				t.Errorf("%s loses the server's error: %v", name, err)
			}
		}
	}
	if _, err := command.AsStreamInfo(view("%1\r\n$3\r\nnew\r\n-ERR inside\r\n")); err == nil {
		t.Error("an error in an unknown field is ignored")
	}
	got, err := command.AsValues(view("*2\r\n+OK\r\n-ERR second\r\n"))
	if err != nil || got[1].Err() == nil {
		t.Errorf("a transaction's replies: %v, %v, want the error in its place", got, err)
	}
}

// No decoder of the table panics, whatever complete frame comes.
func TestDecodersTakeAnyFrame(t *testing.T) {
	t.Parallel()
	frames := []string{"_\r\n", "+\r\n", "-E\r\n", ":-9223372036854775808\r\n", "$0\r\n\r\n", "#f\r\n", ",nan\r\n", "=4\r\ntxt:\r\n", "(1\r\n", "*0\r\n", "%0\r\n", "~0\r\n", ">0\r\n", "*-1\r\n"}
	level := frames
	for range 2 {
		var next []string
		for _, f := range level {
			for n := 1; n <= 4; n++ {
				next = append(next, "*"+strconv.Itoa(n)+"\r\n"+strings.Repeat(f, n))
			}
			next = append(next, "%1\r\n"+f+f, "~1\r\n"+f, "%1\r\n$4\r\nname\r\n"+f, "%1\r\n$11\r\nfirst-entry\r\n"+f)
		}
		level = next
		frames = append(frames, next...)
	}
	for _, s := range samples {
		for _, f := range frames {
			if v, err := s.cmd.decode(view(f)); err == nil && strings.HasPrefix(f, "-") {
				t.Errorf("%s takes the error %q for %v", s, f, v)
			}
		}
	}
}

func TestEntryGet(t *testing.T) {
	t.Parallel()
	e := command.Entry{Fields: []command.Pair{command.KV("a", "1"), command.KV("a", "2")}}
	if v, ok := e.Get("a"); v != "1" || !ok {
		t.Errorf("Get(a) = %q, %t", v, ok)
	}
	if v, ok := e.Get("b"); v != "" || ok {
		t.Errorf("Get(b) = %q, %t", v, ok)
	}
}

func FuzzUntyped(f *testing.F) {
	for _, s := range samples {
		f.Add(s.wire)
	}
	f.Fuzz(func(t *testing.T, line string) {
		list := strings.Split(line, " ")
		r := untyped(list).Request()
		for k := range r.Keys() {
			if !strings.Contains(line, k) {
				t.Errorf("the key %q is no argument of %q", k, line)
			}
		}
		if r.Err() == nil {
			b := r.Append(nil)
			if _, rest, err := resp3.Decode(b); err != nil || len(rest) > 0 {
				t.Errorf("%q is sent as %q: %v", line, b, err)
			}
		}
	})
}
