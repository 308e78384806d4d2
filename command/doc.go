// Package command holds Redis commands as values: what is sent, the facts that
// decide how, and how the reply becomes a Go type. It does no networking and
// starts no goroutines.
//
//	get := command.Get("user:1")                        // Cmd[string], nothing is sent yet
//	name, err := command.Do(ctx, client, get)           // runs it; command.Nil when absent
//	set := command.Set("user:1", "ann", command.EX(time.Hour), command.NX)
//	_, err = command.Do(ctx, client, set)               // command.Nil: NX kept it from storing
//	raw, err := command.Do(ctx, client, command.As(get, command.AsBytes))
//	value, err := command.Do(ctx, client, command.Untyped("MY.CMD", "key", 7))
//	for key := range get.Request().Keys() { … }         // for any command of the table
//	spec, ok := command.Lookup("xgroup create")         // the facts: flags, keys, retry class
//	n, err := command.Run(ctx, client, script, command.AsInt, keys, args...)
//	for key, err := range command.ScanAll(ctx, client, command.MATCH("user:*")) { … }
//	user, err := command.Do(ctx, client, command.HGetAllAs[User]("user:1"))
//	buf, err = command.DoInto(ctx, client, get, buf[:0]) // no allocation
//
// # The table
//
// commands.def has one block for each command: arity, retry class, flags, key
// positions, the Go functions that make it, the shape of its reply, and samples
// of what is sent. go generate writes the constructors, the option words and
// the methods of clients and pipelines from it. To add a command, add a block;
// the tests then demand the rest.
//
// # Types of replies
//
// OK is an error or none; a string, number or structure that may be absent is
// Nil when it is; 0 and 1 are bool; a list that may be absent is empty; values
// that may be absent in a list are Optional. Where an option changes the shape
// of the reply, the command is another function (SetGet, LPopCount,
// ZRangeWithScores). As replaces the decoder, not the command.
//
// # Versions
//
// Since and SinceValkey say which servers have a command, and the sentences on
// options and functions say where those came later. A test asks live servers
// of several versions; nothing is checked when a command is sent: a server that
// lacks it says so, and has then not run it. What came with Redis 8.2 and 8.4
// only (DELEX, DIGEST, XACKDEL, XDELEX, SET with IFNE, IFDEQ or IFDNE, KEEPREF,
// DELREF, ACKED, the newer operations of BITOP) follows the published syntax
// and was not run against a server yet.
//
// # Scripts and functions
//
// A Script is sent by its digest, a Function by its name. A server that does
// not know it is told within the same call, once. In a pipeline or transaction
// there is no second try: put Load, or Eval, into it. The variants that only
// read (NewScriptRO, FunctionRO) may be repeated when nobody knows whether they
// ran; the server holds them to it.
//
// # Options
//
// An option is a word in the server's own capitals: NX, EX(d), COUNT(10). What
// a command does not take does not compile. Words that exclude each other,
// durations that cannot be meant and lists that must not be empty make a
// command that is refused before it is sent, with an *Error of the phase
// "build" that wraps an *ArgumentError.
//
// # Guarantees
//
//   - An argument is one argument: nothing a caller passes can become a second
//     one, or another command. Names are never split.
//   - Decoders check what came: another shape, a null or an error inside an
//     aggregate is an error, never a zero value. Unknown fields are ignored.
//   - Every decoder takes what RESP2 sends and what RESP3 sends; a test compares
//     both, the facts and the key positions with a live server.
//   - Request.Retry is the careful class: an option that makes a repeat change
//     data or reply falsely makes the request RetryUnsafe.
//   - GET, SET and their like are built and encoded without allocating.
//
// # Not guaranteed
//
//   - That the server knows a command or an option: Since is not checked.
//   - That a value fits: lengths, numbers out of range and wrong types are the
//     server's to refuse.
//   - RetryState says that a repeat leaves the same data, not that no other
//     writer came between; nothing repeats it unless asked to.
//   - The keys of unknown commands: Keys yields none.
//
// # A request's way
//
//	constructor ──▶ Request ──Err? ──▶ *Error{Phase: "build", Outcome: NotSent}
//	                   │
//	                   ▼  Doer.Do: Append, send, receive
//	                 Reply ──error reply? ──▶ *Error{Phase: "reply"}
//	                   │
//	                   ▼  Decoder, then Release
//	                   T  ──wrong shape? ──▶ *Error{Phase: "decode", Outcome: Done}
//
// # Time
//
// Durations are sent in seconds where they are whole seconds and else in
// milliseconds, rounded up: nothing positive becomes zero. Points in time are
// sent as they are given; the local clock is never read. A timeout of 0 waits
// without end, and Request.Block says so with a negative duration.
//
// # Concurrency
//
// A Cmd and a Request do not change once built: any number of goroutines may
// use one at once, any number of times. Request.Add, Fail and SetBlock belong
// to the building. Byte slices given to Bytes, or to functions that end in
// Bytes, must not change until the reply is there. A Spec must not be changed.
package command

//go:generate go run ../internal/gen
