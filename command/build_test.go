package command

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx/resp3"
)

// refuser fails the test when a request reaches it.
type refuser struct{ t *testing.T }

func (d refuser) Do(_ context.Context, r Request) (Reply, error) {
	d.t.Errorf("%s was handed on", r.Name())
	return Reply{}, errors.New("handed on")
}

func TestWrongArgumentsAreRefusedBeforeSending(t *testing.T) {
	t.Parallel()
	var noOption SetOption
	for _, tt := range []struct {
		rule string
		cmd  Cmd[Void]
		want string
	}{
		{"NX and XX", Set("k", "v", NX, XX), "XX: it and NX exclude each other"},
		{"EX and KEEPTTL", Set("k", "v", EX(time.Second), KEEPTTL), "KEEPTTL: it and EX exclude each other"},
		{"EX and EXAT, others between", Set("k", "v", EX(time.Second), NX, EXAT(time.Now())), "EXAT: it and EX exclude each other"},
		{"the same word twice", Set("k", "v", NX, NX), "NX: given twice"},
		{"EX of zero", Set("k", "v", EX(0)), "EX: a time to live must be positive"},
		{"EX of less than zero", Set("k", "v", EX(-time.Second)), "EX: a time to live must be positive"},
		{"EXAT of the zero time", Set("k", "v", EXAT(time.Time{})), "EXAT: the time is before 1970"},
		{"a nil option", Set("k", "v", noOption), "option: it must not be nil"},
		{"the first error stays", Set("k", "v", EX(0), NX, XX), "EX: a time to live"},
		{"no pairs", MSet(), "pairs: at least one is needed"},
		{"a negative pause", ClientPause(-1), "timeout: a duration must not be negative"},
		{"an empty list", voided(ZUnion(nil)), "keys: at least one is needed"},
		{"no keys", voided(Del()), "keys: at least one is needed"},
		{"no members", voided(ZAdd("k", nil)), "members: at least one is needed"},
		{"GT and NX", voided(ZAdd("k", []Z{{1, "a"}}, GT, NX)), "NX: it and GT exclude each other"},
		{"two ways to trim", voided(XAdd("k", "*", []Pair{{"a", "b"}}, MAXLEN(1), MINID("1"))), "MINID: it and MAXLEN exclude each other"},
		{"a required option", voided(XTrim("k", nil)), "option: it must not be nil"},
		{"a negative BLOCK", voided(XRead([]From{{"k", "0"}}, BLOCK(-1))), "BLOCK: a duration must not be negative"},
		{"a negative timeout", voided(BLPop(-1, "k")), "timeout: a duration must not be negative"},
		{"the zero time", voided(ExpireAt("k", time.Time{})), "at: the zero time is no deadline"},
		{"a name with a space", ClientSetName("a b"), "name: only printable ASCII without spaces"},
		{"a name with a line break", voided(Hello(3, SETNAME("a\nb"))), "SETNAME: only printable ASCII without spaces"},
		{"no weights", voided(ZUnion([]string{"k"}, WEIGHTS())), "WEIGHTS: at least one is needed"},
	} {
		_, err := Do(context.Background(), refuser{t}, tt.cmd)
		var e *Error
		if !errors.As(err, &e) || e.Phase != "build" || e.Outcome != NotSent || !SafeToRetry(err) {
			t.Errorf("%s: %v, want an *Error of the phase build", tt.rule, err)
			continue
		}
		var why *ArgumentError
		if !errors.As(err, &why) || !strings.Contains(why.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.rule, err, tt.want)
		}
		if why != nil && !strings.Contains(why.Explain(), "not sent") {
			t.Errorf("%s: it does not explain itself: %s", tt.rule, why.Explain())
		}
	}
}

// voided makes commands of all types one type, for tables.
func voided[T any](c Cmd[T]) Cmd[Void] { return As(c, AsAny) }

func TestWordsThatDoNotExcludeEachOtherGoTogether(t *testing.T) {
	t.Parallel()
	for _, c := range []Cmd[Void]{
		voided(ZAdd("k", []Z{{1, "a"}}, XX, GT, CH)),
		voided(Expire("k", time.Second, XX, LT)),
		voided(ClientTrackingOn(BCAST, PREFIX("a"), PREFIX("b"))),
		Set("k", "v", XX, KEEPTTL),
	} {
		r := c.Request()
		if err := r.Err(); err != nil {
			t.Errorf("%s: %v", r.Name(), err)
		}
	}
}

func TestPrecisionChoosesTheUnit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cmd  Cmd[Void]
		want string
	}{
		{Set("k", "v", EX(time.Hour)), "SET k v EX 3600"},
		{Set("k", "v", EX(2500*time.Millisecond)), "SET k v PX 2500"},
		{Set("k", "v", EX(time.Nanosecond)), "SET k v PX 1"},
		{Set("k", "v", EXAT(time.Unix(10, 1))), "SET k v PXAT 10001"},
		{voided(Expire("k", -1500*time.Millisecond)), "PEXPIRE k -1500"},
		{voided(Expire("k", time.Microsecond)), "PEXPIRE k 1"},
		{voided(BLPop(time.Microsecond, "k")), "BLPOP k 0.001"},
		{voided(BLPop(0, "k")), "BLPOP k 0"},
		{voided(WaitAOF(1, 0, time.Microsecond)), "WAITAOF 1 0 1"},
		{voided(ZAdd("k", []Z{{math.Inf(1), "a"}, {math.Inf(-1), "b"}, {1e21, "c"}, {0.1, "d"}})), "ZADD k inf a -inf b 1e+21 c 0.1 d"},
		{voided(Scan(math.MaxUint64)), "SCAN 18446744073709551615"},
	} {
		r := tt.cmd.Request()
		got := r.Name()
		for i := range r.Len() {
			got += " " + r.Arg(i).Text()
		}
		if got != tt.want || r.Err() != nil {
			t.Errorf("%s, %v, want %s", got, r.Err(), tt.want)
		}
	}
}

func TestBlockingCommandsSayForHowLong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		r    Request
		want time.Duration
	}{
		{BLPop(time.Second, "k").Request(), time.Second},
		{BLPop(0, "k").Request(), -1},
		{BLMove("a", "b", Left, Right, 2*time.Second).Request(), 2 * time.Second},
		{BZMPopMin(time.Minute, []string{"k"}).Request(), time.Minute},
		{Wait(1, time.Second).Request(), time.Second},
		{Wait(1, 0).Request(), -1},
		{XRead([]From{{"k", "$"}}).Request(), 0},
		{XRead([]From{{"k", "$"}}, BLOCK(0)).Request(), -1},
		{XReadGroup("g", "c", []From{{"k", ">"}}, BLOCK(3*time.Second)).Request(), 3 * time.Second},
		{Untyped("blpop", "k", 1.5).Request(), 1500 * time.Millisecond},
		{Untyped("BLPOP", "k", 0).Request(), -1},
		{Untyped("BLPOP", "k", "1e300").Request(), -1},
		{Untyped("BLPOP", "k", "x").Request(), 0},
		{Untyped("XREAD", "block", 0, "STREAMS", "k", "$").Request(), -1},
		{Untyped("XREAD", "BLOCK").Request(), 0},
		{Untyped("XREAD", "STREAMS", "BLOCK", "0").Request(), 0},
		{Untyped("XREADGROUP", "GROUP", "BLOCK", "5", "STREAMS", "k", ">").Request(), 0},
		{Untyped("XREADGROUP", "GROUP", "BLOCK", "c", "BLOCK", 7, "STREAMS", "k", ">").Request(), 7 * time.Millisecond},
		{Untyped("GET", "k").Request(), 0},
	} {
		if got := tt.r.Block(); got != tt.want {
			t.Errorf("%s blocks for %v, want %v", tt.r.Name(), got, tt.want)
		}
	}
}

func TestOptionsCanMakeARepeatUnsafe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule string
		r    Request
		want Retry
	}{
		{"GET", Get("k").Request(), RetryRead},
		{"SET", Set("k", "v").Request(), RetryState},
		{"SET EX", Set("k", "v", EX(time.Second)).Request(), RetryState},
		{"SET NX", Set("k", "v", NX).Request(), RetryUnsafe},
		{"SET XX", Set("k", "v", EX(time.Second), XX).Request(), RetryUnsafe},
		{"SET GET", SetGet("k", "v").Request(), RetryUnsafe},
		{"SET nx, untyped", Untyped("set", "k", "v", "nx").Request(), RetryUnsafe},
		{"SET, untyped", Untyped("SET", "k", "v").Request(), RetryState},
		{"ZADD NX", ZAdd("k", []Z{{1, "a"}}, NX).Request(), RetryState},
		{"ZADD INCR", ZAddIncr("k", 1, "a").Request(), RetryUnsafe},
		{"EXPIRE: it counts from now", Expire("k", time.Second).Request(), RetryUnsafe},
		{"EXPIREAT", ExpireAt("k", time.Unix(9, 0)).Request(), RetryState},
		{"EXPIREAT GT", ExpireAt("k", time.Unix(9, 0), GT).Request(), RetryUnsafe},
		{"INCR", Incr("k").Request(), RetryUnsafe},
		{"SELECT", Select(1).Request(), RetrySession},
		{"CONFIG GET", ConfigGet("*").Request(), RetryAdmin},
		{"unknown", Untyped("MYMODULE.GET", "k").Request(), RetryUnsafe},
		{"none", Request{}, RetryUnsafe},
	} {
		if got := tt.r.Retry(); got != tt.want {
			t.Errorf("%s: class %d, want %d", tt.rule, got, tt.want)
		}
	}
}

func TestCredentialsAreMarked(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"AUTH", "HELLO", "ACL SETUSER", "CONFIG SET", "MIGRATE"} {
		if s, ok := Lookup(name); !ok || !s.Has(Secret) {
			t.Errorf("%s is not marked as secret", name)
		}
	}
}

func TestCommonCommandsDoNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 512)
	for name, run := range map[string]func(){
		"GET": func() { r := Get("key").Request(); buf = r.Append(buf[:0]) },
		"SET": func() { r := Set("key", "value").Request(); buf = r.Append(buf[:0]) },
		"SET NX": func() {
			r := Set("key", "value", NX).Request()
			buf = r.Append(buf[:0])
		},
		"HSET":     func() { r := HSet("key", KV("field", "value")).Request(); buf = r.Append(buf[:0]) },
		"INCRBY":   func() { r := IncrBy("key", 12345).Request(); buf = r.Append(buf[:0]) },
		"DEL":      func() { r := Del("a", "b").Request(); buf = r.Append(buf[:0]) },
		"EXPIRE":   func() { r := Expire("key", time.Minute).Request(); buf = r.Append(buf[:0]) },
		"ZRANGE":   func() { r := ZRange("key", 0, -1).Request(); buf = r.Append(buf[:0]) },
		"FirstKey": func() { r := Set("key", "value").Request(); _, _ = r.FirstKey() },
		"Lookup":   func() { _, _ = Lookup("GET") },
	} {
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		r := Set("key:000000000042", "value").Request()
		buf = r.Append(buf[:0])
	}
}

func TestUntypedNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "GET key", "AUTH secret\r\nSET", "a\tb", "GET\x00", strings.Repeat("x", 200)} {
		c := Untyped(name, "x")
		err := BuildError(&c.req, c.req.Err())
		if c.req.Err() == nil {
			t.Errorf("the name %q is accepted", name)
			continue
		}
		if name != "" && strings.Contains(err.Error(), name) {
			t.Errorf("the error shows the name: %v", err)
		}
	}
	for _, tt := range []struct {
		c    Cmd[resp3.Value]
		spec string
		n    int
	}{
		{Untyped("xgroup", "create", "k", "g", "$"), "XGROUP CREATE", 3},
		{Untyped("CONFIG", "GET", "a", "b"), "CONFIG GET", 2},
		{Untyped("CLUSTER", "SLOTS"), "CLUSTER", 1},
		{Untyped("CONFIG", []byte("set"), "k", "v"), "CONFIG SET", 2},
		{Untyped("XGROUP"), "XGROUP", 0},
		{Untyped("my.cmd", 1, -2, int8(3), uint64(math.MaxUint64), 1.5, float32(0.1), true, false, []byte("b")), "MY.CMD", 9},
	} {
		if err := tt.c.req.Err(); err != nil {
			t.Errorf("%s: %v", tt.spec, err)
		}
		if tt.c.req.Name() != tt.spec || tt.c.req.Len() != tt.n {
			t.Errorf("%s with %d arguments, want %s with %d", tt.c.req.Name(), tt.c.req.Len(), tt.spec, tt.n)
		}
	}
	r := Untyped("X", 1, -2, int8(3), uint64(math.MaxUint64), 1.5, float32(0.1), true, false, []byte("b")).Request()
	var got []string
	for i := range r.Len() {
		got = append(got, r.Arg(i).Text())
	}
	if want := []string{"1", "-2", "3", "18446744073709551615", "1.5", "0.1", "1", "0", "b"}; !slices.Equal(got, want) {
		t.Errorf("arguments %q, want %q", got, want)
	}
}

func TestUntypedArgumentsOfOtherTypesFail(t *testing.T) {
	t.Parallel()
	for _, bad := range []any{nil, []byte(nil), []string{"a"}, struct{}{}, &struct{}{}, errors.New("x"), time.Second, map[string]int{}} {
		c := Untyped("SET", "k", bad)
		var e *ArgumentError
		if !errors.As(c.req.Err(), &e) || e.Argument != "argument 2" {
			t.Errorf("%T: %v, want an *ArgumentError of argument 2", bad, c.req.Err())
		}
	}
}

func TestKeysOfOddRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		r    Request
		want string
	}{
		{Request{}, ""},
		{Untyped("GET").Request(), ""},
		{Untyped("PING").Request(), ""},
		{Untyped("EVAL", "s", "x").Request(), ""},
		{Untyped("EVAL", "s", -1, "a").Request(), ""},
		{Untyped("EVAL", "s", 2, "a").Request(), ""},
		{Untyped("EVAL", "s", 1, "a", "b").Request(), "a"},
		{Untyped("EVAL", "s").Request(), ""},
		{Untyped("ZUNIONSTORE", "d", "9223372036854775807", "a").Request(), "d"},
		{Untyped("XREAD", "COUNT", 1, "a", "0").Request(), ""},
		{Untyped("XREAD", "streams", "a", "b", "0", "0").Request(), "a b"},
		{Untyped("XREAD", "STREAMS").Request(), ""},
		{Untyped("MSET", "a", "1", "b").Request(), "a b"},
		{Untyped("BLPOP", "1").Request(), ""},
		{Untyped("MIGRATE", "h", 1, "", 0, 9, "KEYS", "a", "b").Request(), "a b"},
		{Untyped("MIGRATE", "h", 1, "", 0, 9).Request(), ""},
		{Untyped("MIGRATE", "h", 1, "keys", 0, 9).Request(), "keys"},
		{Untyped("GET", 7).Request(), "7"},
		{Untyped("OBJECT", "ENCODING", "k").Request(), "k"},
	} {
		got := strings.Join(slices.Collect(tt.r.Keys()), " ")
		if got != tt.want {
			t.Errorf("%s of %d: keys %q, want %q", tt.r.Name(), tt.r.Len(), got, tt.want)
		}
		first, ok := tt.r.FirstKey()
		if want, _, _ := strings.Cut(tt.want, " "); first != want || ok != (want != "") {
			t.Errorf("%s: first key %q, %t", tt.r.Name(), first, ok)
		}
	}
}
