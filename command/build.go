package command

import (
	"time"
)

// ArgumentError reports an argument that no server would take, or that would
// not mean what it seems to. It holds no argument's value.
type ArgumentError struct {
	Argument string // its name or option word; "" for the command's name
	Reason   string // what is wrong, in words
}

// Error names the argument and says what is wrong.
func (e *ArgumentError) Error() string {
	if e.Argument == "" {
		return "command: " + e.Reason
	}
	return "command: " + e.Argument + ": " + e.Reason
}

// Explain says what to do.
func (e *ArgumentError) Explain() string {
	return "The command was not sent, because its arguments cannot be right: " + e.Reason + ". Correct the call; sending it again unchanged fails the same way."
}

func (r *Request) wrong(argument, reason string) {
	r.Fail(&ArgumentError{Argument: argument, Reason: reason})
}

// grow makes room for n more arguments.
func (r *Request) grow(n int) {
	if over := r.n + n - inline; over > cap(r.more) {
		more := make([]Arg, len(r.more), over)
		copy(more, r.more)
		r.more = more
	}
}

// need fails the request when a list that must have elements has none.
func (r *Request) need(n int, argument string) {
	if n == 0 {
		r.wrong(argument, "at least one is needed")
	}
}

func (r *Request) strs(list []string) {
	r.grow(len(list))
	for _, s := range list {
		r.Add(Str(s))
	}
}

func (r *Request) blobs(list [][]byte) {
	r.grow(len(list))
	for _, b := range list {
		r.Add(Bytes(b))
	}
}

func (r *Request) ints(list []int64) {
	r.grow(len(list))
	for _, n := range list {
		r.Add(Int(n))
	}
}

func (r *Request) list(list []Arg) {
	r.grow(len(list))
	for _, a := range list {
		r.Add(a)
	}
}

// each appends the elements of a list, the word before each of them.
func (r *Request) each(word string, list []string) {
	r.grow(2 * len(list))
	for _, s := range list {
		r.Add(Str(word))
		r.Add(Str(s))
	}
}

func (r *Request) pairs(list []Pair) {
	r.grow(2 * len(list))
	for _, p := range list {
		r.Add(Str(p.Key))
		r.Add(Str(p.Value))
	}
}

func (r *Request) scored(list []Z) {
	r.grow(2 * len(list))
	for _, z := range list {
		r.Add(Float(z.Score))
		r.Add(Str(z.Member))
	}
}

func (r *Request) streams(list []From) {
	r.grow(2 * len(list))
	for _, f := range list {
		r.Add(Str(f.Key))
	}
	for _, f := range list {
		r.Add(Str(f.ID))
	}
}

func (r *Request) bit(on bool) {
	if on {
		r.Add(Int(1))
	} else {
		r.Add(Int(0))
	}
}

// millis appends d in milliseconds, rounded up. Negative d is refused.
func (r *Request) millis(d time.Duration, argument string) {
	if d < 0 {
		r.wrong(argument, "a duration must not be negative")
	}
	r.Add(Int(ceil(d, time.Millisecond)))
}

// span appends d in seconds or, if it is finer than that, makes the request
// one of the command that takes milliseconds.
func (r *Request) span(d time.Duration, milli *Spec) {
	if d%time.Second == 0 {
		r.Add(Int(int64(d / time.Second)))
		return
	}
	r.spec = milli
	r.Add(Int(ceil(d, time.Millisecond)))
}

// ttl is span for commands that take no duration of zero or less.
func (r *Request) ttl(d time.Duration, milli *Spec) {
	if d <= 0 {
		r.wrong("ttl", "a time to live must be positive")
	}
	r.span(d, milli)
}

// at appends a point in time in Unix seconds or, if it is finer than that,
// makes the request one of the command that takes milliseconds.
func (r *Request) at(t time.Time, milli *Spec) {
	if t.IsZero() {
		r.wrong("at", "the zero time is no deadline")
	}
	if t.Nanosecond() == 0 {
		r.Add(Int(t.Unix()))
		return
	}
	r.spec = milli
	r.Add(Int(unixMillis(t)))
}

// timeout appends how long a command may block, in seconds, and notes it.
// 0 is without end.
func (r *Request) timeout(d time.Duration) {
	r.wait(d, "timeout")
	if d%time.Second == 0 {
		r.Add(Int(int64(d / time.Second)))
		return
	}
	// Less than a millisecond would reach the server as 0: without end.
	r.Add(Float(float64(ceil(d, time.Millisecond)) / 1000))
}

// timeoutMillis is timeout in milliseconds.
func (r *Request) timeoutMillis(d time.Duration) {
	r.wait(d, "timeout")
	r.Add(Int(ceil(d, time.Millisecond)))
}

// wait notes how long the command may block: 0 means without end.
func (r *Request) wait(d time.Duration, argument string) {
	switch {
	case d < 0:
		r.wrong(argument, "a duration must not be negative; 0 waits without end")
	case d == 0:
		r.SetBlock(-1)
	default:
		r.SetBlock(d)
	}
}

// ceil returns d in units, rounded up, so that nothing positive becomes 0.
func ceil(d, unit time.Duration) int64 {
	n := int64(d / unit)
	if d%unit > 0 {
		n++
	}
	return n
}

// unixMillis returns t in Unix milliseconds, rounded up.
func unixMillis(t time.Time) int64 {
	n := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) > 0 {
		n++
	}
	return n
}

// option is one option word with its arguments, as one command takes it.
type option struct {
	args  [3]Arg
	more  []Arg
	n     int
	block time.Duration // BLOCK: how long, negative for without end
	err   error

	words []string // of the command's options, in the order of their bits
	at    int      // index of this one in words
	not   uint32   // bits of the options that exclude it
	risky bool     // makes a repeat unsafe
}

// word returns an option of the tokens and values args.
func word(args ...Arg) option {
	var o option
	o.n = copy(o.args[:], args)
	o.more = append(o.more, args[o.n:]...)
	return o
}

// as places an option among those of one command.
func (o option) as(words []string, at int, not uint32, risky bool) option {
	o.words, o.at, o.not, o.risky = words, at, not, risky
	return o
}

// option appends o, unless an option that seen holds excludes it.
func (r *Request) option(seen *uint32, o option) {
	if clash := *seen & o.not; clash != 0 {
		for i, w := range o.words {
			if clash&(1<<i) != 0 {
				r.clash(o.words[o.at], w)
				break
			}
		}
	}
	*seen |= 1 << o.at
	if o.err != nil {
		r.Fail(o.err)
	}
	for _, a := range o.args[:o.n] {
		r.Add(a)
	}
	for _, a := range o.more {
		r.Add(a)
	}
	r.risky = r.risky || o.risky
	if o.block != 0 {
		r.SetBlock(o.block)
	}
}

func (r *Request) clash(a, b string) {
	if a == b {
		r.wrong(a, "given twice")
		return
	}
	r.wrong(a, "it and "+b+" exclude each other")
}

// spanOption returns an option whose word tells seconds from milliseconds.
func spanOption(seconds, millis string, d time.Duration) option {
	o := word(Str(seconds), Int(int64(d/time.Second)))
	if d%time.Second != 0 {
		o = word(Str(millis), Int(ceil(d, time.Millisecond)))
	}
	if d <= 0 {
		o.err = &ArgumentError{Argument: seconds, Reason: "a time to live must be positive"}
	}
	return o
}

// timeOption is spanOption for points in time.
func timeOption(seconds, millis string, t time.Time) option {
	o := word(Str(seconds), Int(t.Unix()))
	if t.Nanosecond() != 0 {
		o = word(Str(millis), Int(unixMillis(t)))
	}
	if t.Unix() <= 0 {
		o.err = &ArgumentError{Argument: seconds, Reason: "the time is before 1970: the zero time is no deadline"}
	}
	return o
}

// millisOption returns an option with a duration in milliseconds.
func millisOption(token string, d time.Duration) option {
	o := word(Str(token), Int(ceil(d, time.Millisecond)))
	if d < 0 {
		o.err = &ArgumentError{Argument: token, Reason: "a duration must not be negative"}
	}
	return o
}

// blockOption is millisOption for how long the command may block.
func blockOption(token string, d time.Duration) option {
	o := millisOption(token, d)
	o.block = d
	if d == 0 {
		o.block = -1
	}
	return o
}

// floatsOption returns an option with any number of floats.
func floatsOption(token string, list []float64) option {
	o := word(Str(token))
	for _, f := range list {
		o.more = append(o.more, Float(f))
	}
	if len(list) == 0 {
		o.err = &ArgumentError{Argument: token, Reason: "at least one is needed"}
	}
	return o
}

// plain appends a name as servers take names of connections.
func (r *Request) plain(name, argument string) {
	if err := notPlain(name, argument); err != nil {
		r.Fail(err)
	}
	r.Add(Str(name))
}

// plainOption returns an option with such a name.
func plainOption(token, name string) option {
	o := word(Str(token), Str(name))
	o.err = notPlain(name, token)
	return o
}

func notPlain(name, argument string) error {
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] > '~' {
			return &ArgumentError{Argument: argument, Reason: "only printable ASCII without spaces is a name"}
		}
	}
	return nil
}

// given fails the request when an option is nil, and reports whether it is not.
func (r *Request) given(ok bool) bool {
	if !ok {
		r.wrong("option", "it must not be nil")
	}
	return ok
}
