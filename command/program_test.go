package command_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/resp3"
)

func TestAProgramIsTaughtOnce(t *testing.T) {
	t.Parallel()
	const (
		one      = ":1\r\n"
		unknown  = "-ERR Function not found\r\n"
		noScript = "-NOSCRIPT No matching script.\r\n"
		taken    = "-ERR Library 'lib' already exists\r\n"
	)
	script := command.NewScriptRO("return 1")
	library := command.NewLibrary("#!lua name=lib\nredis.register_function('f', f)")
	f, ro := library.Function("f"), library.FunctionRO("f")
	load := "FUNCTION LOAD " + library.Code()
	for _, tt := range []struct {
		rule    string
		program command.Program
		frames  []string
		asked   []string
		fails   string
	}{
		{"a script that only reads is sent as such", script, []string{noScript, one}, []string{"EVALSHA_RO " + script.Digest() + " 1 k 7", "EVAL_RO return 1 1 k 7"}, ""},
		{"a known function is called", f, []string{one}, []string{"FCALL f 1 k 7"}, ""},
		{"an unknown one has its library loaded", f, []string{unknown, "+lib\r\n", one}, []string{"FCALL f 1 k 7", load, "FCALL f 1 k 7"}, ""},
		{"a read-only one too", ro, []string{unknown, "+lib\r\n", one}, []string{"FCALL_RO f 1 k 7", load, "FCALL_RO f 1 k 7"}, ""},
		{"somebody was faster", f, []string{unknown, taken, one}, []string{"FCALL f 1 k 7", load, "FCALL f 1 k 7"}, ""},
		{"another version is there: it is not replaced", f, []string{unknown, taken, unknown}, []string{"FCALL f 1 k 7", load, "FCALL f 1 k 7"}, "Function not found"},
		{"the library is wrong", f, []string{unknown, "-ERR Error compiling function\r\n"}, []string{"FCALL f 1 k 7", load}, "Error compiling"},
		{"a name is taken by another library", f, []string{unknown, "-ERR Function f already exists\r\n"}, []string{"FCALL f 1 k 7", load}, "Function f already exists"},
		{"an error of the function is its answer", f, []string{"-ERR Function not found here\r\n"}, []string{"FCALL f 1 k 7"}, "not found here"},
	} {
		p := &played{frames: tt.frames}
		n, err := command.Run(t.Context(), p, tt.program, command.AsInt, []string{"k"}, 7)
		if !slices.Equal(p.asked, tt.asked) {
			t.Errorf("%s: asked %q, want %q", tt.rule, p.asked, tt.asked)
		}
		if tt.fails == "" && (err != nil || n != 1) {
			t.Errorf("%s: %d, %v", tt.rule, n, err)
		}
		if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
			t.Errorf("%s: %v, want %q", tt.rule, err, tt.fails)
		}
	}
}

func TestProgramsThatOnlyReadMayBeRepeated(t *testing.T) {
	t.Parallel()
	library := command.NewLibrary("")
	for _, tt := range []struct {
		r    command.Request
		want command.Retry
	}{
		{command.NewScript("x").Call(nil), command.RetryUnsafe},
		{command.NewScript("x").Eval(nil), command.RetryUnsafe},
		{command.NewScriptRO("x").Call(nil), command.RetryRead},
		{command.NewScriptRO("x").Eval(nil), command.RetryRead},
		{library.Function("f").Call(nil), command.RetryUnsafe},
		{library.FunctionRO("f").Call(nil), command.RetryRead},
	} {
		if tt.r.Retry() != tt.want || !tt.r.Spec().Has(command.Scripting) {
			t.Errorf("%s: class %d, want %d", tt.r.Name(), tt.r.Retry(), tt.want)
		}
	}
}

func TestProgramsTakeTheArgumentsThatCommandsCarry(t *testing.T) {
	t.Parallel()
	s := command.NewScript("return 1")
	p := &played{frames: []string{"*1\r\n$1\r\nx\r\n"}}
	v, err := s.Run(t.Context(), p, []string{"a", "b"}, 1, "x", []byte("y"), true, 1.5, command.Str("z"))
	if err != nil || v.Elems()[0].Text() != "x" || p.asked[0] != "EVALSHA "+s.Digest()+" 2 a b 1 x y 1 1.5 z" {
		t.Errorf("%v, %v after %q", v, err, p.asked)
	}
	for _, wrong := range []any{nil, struct{}{}, []byte(nil), []string{"a"}} {
		_, err := command.Run(t.Context(), p, s, command.AsInt, nil, 1, wrong)
		var e *command.Error
		var a *command.ArgumentError
		if !errors.As(err, &e) || e.Phase != "build" || !errors.As(err, &a) || a.Argument != "argument 1" || len(p.asked) > 1 {
			t.Errorf("%T: %v after %q", wrong, err, p.asked)
		}
	}
	if v, err := s.Load().Decode(view("$1\r\nd\r\n")); err != nil || v != "d" {
		t.Errorf("Load: %q, %v", v, err)
	}
	if r := command.NewLibrary("code").Replace().Request(); string(r.Append(nil)) != encode([]string{"FUNCTION", "LOAD", "REPLACE", "code"}) {
		t.Errorf("Replace is sent as %q", r.Append(nil))
	}
}

// The key after STORE is where it is, not where an option's value says STORE.
func TestKeysAfterStore(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"SORT k":                                      "k",
		"SORT k STORE out":                            "k out",
		"sort k store out":                            "k out",
		"SORT STORE STORE STORE":                      "STORE STORE",
		"SORT k BY STORE":                             "k",
		"SORT k GET STORE GET x STORE out":            "k out",
		"SORT k BY STORE ALPHA":                       "k",
		"SORT k GET STORE DESC":                       "k",
		"SORT_RO k BY STORE ALPHA":                    "k",
		"SORT k LIMIT STORE 2 STORE out":              "k out",
		"SORT k STORE a STORE out":                    "k out",
		"SORT k STORE":                                "k",
		"GEORADIUS k 1 2 3 m STOREDIST out":           "k out",
		"GEORADIUSBYMEMBER k STORE 3 m STORE out ASC": "k out",
		"MSETEX 2 a 1 b 2 EX 5":                       "a b",
		"MSETEX 1 NX 1":                               "NX",
		"MSETEX 3 a 1 b 2":                            "",
		"MSETEX 2 a 1 b":                              "",
		"MSETEX -1 a 1":                               "",
	} {
		if got := strings.Join(keysOf(untyped(words(line)).Request()), " "); got != want {
			t.Errorf("%s: keys %q, want %q", line, got, want)
		}
	}
}

// What is read may be repeated at any time. Of the commands that the server
// itself does not call readonly these were looked at, one by one: a repeat
// changes nothing and answers truly.
func TestOnlyReadsMayBeRepeatedFreely(t *testing.T) {
	t.Parallel()
	reviewed := strings.Fields(strings.ReplaceAll(`ACL_CAT ACL_WHOAMI COMMAND_COUNT COMMAND_DOCS COMMAND_GETKEYS
		COMMAND_GETKEYSANDFLAGS COMMAND_INFO COMMAND_LIST ECHO FUNCTION_DUMP FUNCTION_LIST FUNCTION_STATS INFO LASTSAVE
		MEMORY_DOCTOR MEMORY_MALLOC-STATS MEMORY_STATS PING PUBSUB_CHANNELS PUBSUB_NUMPAT PUBSUB_NUMSUB PUBSUB_SHARDCHANNELS
		PUBSUB_SHARDNUMSUB ROLE SCRIPT_EXISTS SCRIPT_SHOW TIME`, "_", "\x00"))
	for s := range command.Table() {
		name := strings.ReplaceAll(s.Name, " ", "\x00")
		free := s.Retry == command.RetryRead && !s.Has(command.ReadOnly)
		if free != slices.Contains(reviewed, name) {
			t.Errorf("%s: may be repeated freely without being readonly: %t", s.Name, free)
		}
		if s.Has(command.Write) && s.Retry == command.RetryRead || s.Has(command.ReadOnly) && s.Retry == command.RetryState {
			t.Errorf("%s: its flags and its retry class contradict each other", s.Name)
		}
	}
	// Options that make a repeat answer falsely.
	for _, r := range []command.Request{
		command.Set("k", "v", command.IFEQ("a")).Request(), command.Set("k", "v", command.IFDNE("a")).Request(),
		command.MSetEx([]command.Pair{{Key: "a"}}, command.NX).Request(), command.HSetEx("h", []command.Pair{{Key: "a"}}, command.FXX).Request(),
		command.Untyped("HSETEX", "h", "FNX", "FIELDS", 1, "a", "b").Request(), command.Untyped("SET", "k", "v", "ifne", "x").Request(),
	} {
		if r.Retry() != command.RetryUnsafe {
			t.Errorf("%s with a condition may be repeated", r.Name())
		}
	}
}

func TestDecodersOfNewerReplies(t *testing.T) {
	t.Parallel()
	fields, err := command.AsFieldPersists(view("*3\r\n:1\r\n:-1\r\n:-2\r\n"))
	if err != nil || !slices.Equal(fields, []command.Optional[bool]{{Value: true, OK: true}, {OK: true}, {}}) {
		t.Errorf("HPERSIST: %v, %v", fields, err)
	}
	if _, err := command.AsFieldPersists(view("*1\r\n:7\r\n")); err == nil {
		t.Error("HPERSIST: 7 is taken for an answer")
	}
	ttls, err := command.AsFieldPTTLs(view("*3\r\n:1500\r\n:-1\r\n:-2\r\n"))
	if err != nil || ttls[0].Value.Left.Milliseconds() != 1500 || !ttls[1].Value.Forever || ttls[2].OK {
		t.Errorf("HPTTL: %v, %v", ttls, err)
	}
	if _, err := command.AsFieldTTLs(view("*1\r\n_\r\n")); err == nil {
		t.Error("HTTL: a null is taken for an answer")
	}
	expiries, err := command.AsFieldExpiries(view("*2\r\n:2\r\n:-2\r\n"))
	if err != nil || expiries[0] != command.FieldDeleted || expiries[1] != command.FieldAbsent {
		t.Errorf("HEXPIRE: %v, %v", expiries, err)
	}
	removals, err := command.AsRemovals(view("*3\r\n:-1\r\n:1\r\n:2\r\n"))
	if err != nil || !slices.Equal(removals, []command.EntryRemoval{command.EntryAbsent, command.EntryRemoved, command.EntryReferred}) {
		t.Errorf("XACKDEL: %v, %v", removals, err)
	}
	// GETUSER before 7.0 sent lists.
	u, err := command.AsACLUser(view("*4\r\n$4\r\nkeys\r\n*2\r\n$2\r\na*\r\n$2\r\nb*\r\n$5\r\nflags\r\n*1\r\n$2\r\non\r\n"))
	if err != nil || u.Keys != "a* b*" || !slices.Equal(u.Flags, []string{"on"}) {
		t.Errorf("ACL GETUSER: %+v, %v", u, err)
	}
	s, err := command.AsFunctionStats(view("%2\r\n$14\r\nrunning_script\r\n%2\r\n$4\r\nname\r\n$1\r\nf\r\n$11\r\nduration_ms\r\n:9\r\n$7\r\nengines\r\n%0\r\n"))
	if err != nil || !s.Running.OK || s.Running.Value.Name != "f" || s.Running.Value.Took.Milliseconds() != 9 {
		t.Errorf("FUNCTION STATS: %+v, %v", s, err)
	}
	h, err := command.AsHistograms(view("*2\r\n$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:4\r\n$14\r\nhistogram_usec\r\n*4\r\n:1\r\n:3\r\n:4\r\n:4\r\n"))
	if err != nil || h["set"].Calls != 4 || len(h["set"].Buckets) != 2 || h["set"].Buckets[1].UpTo.Microseconds() != 4 {
		t.Errorf("LATENCY HISTOGRAM: %+v, %v", h, err)
	}
	e, err := command.AsLatencyEvents(view("*1\r\n*6\r\n$4\r\nfork\r\n:5\r\n:6\r\n:7\r\n:1\r\n:2\r\n"))
	if err != nil || e[0].Name != "fork" || e[0].Max.Milliseconds() != 7 {
		t.Errorf("LATENCY LATEST: %+v, %v", e, err)
	}
	var typ *resp3.TypeError
	if _, err := command.AsPositions(view("*1\r\n:1\r\n")); !errors.As(err, &typ) {
		t.Errorf("GEOPOS: %v, want a *TypeError", err)
	}
}
