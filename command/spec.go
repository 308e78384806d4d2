package command

import (
	"strings"

	"github.com/redisx/redisx/resp3"
)

// Flags are facts on a command that decide how it is sent.
type Flags uint32

// The flags, in the server's own words where it has one.
const (
	ReadOnly  Flags = 1 << iota // does not change data
	Write                       // may change data
	Blocking                    // may hold its connection for as long as it was told to
	PubSub                      // changes or uses subscriptions
	Admin                       // for operators
	NoAuth                      // allowed before authentication
	Scripting                   // runs code: any error text may come after it wrote
	Cacheable                   // its reply depends on its keys alone
	Movable                     // key positions need the arguments (numkeys, STREAMS)
	Secret                      // its arguments hold credentials: never shown anywhere
)

// Retry is what may be done when nobody knows whether a command ran.
type Retry uint8

// The retry classes. Unsafe is the zero value: what is unknown is not repeated.
const (
	RetryUnsafe  Retry = iota // a repeat can change data or give a false reply
	RetryRead                 // may be repeated at any time
	RetryState                // a repeat leaves the same data, but may overwrite another writer
	RetrySession              // bound to its connection
	RetryAdmin                // never repeated
)

// KeySpec says where a command's keys are, counted as the server counts them:
// 0 is the name's first word. The zero KeySpec means no keys.
type KeySpec struct {
	// First is the position of the first key, Last that of the last, counted
	// from the end when negative (-1 is the last argument), and Step the
	// distance from one key to the next.
	First, Last, Step int
	// NumKeys is the position of the argument that counts the keys, which
	// then begin at First. 0: none.
	NumKeys int
	// Dest is the position of one further key before those of First: where a
	// counted command stores (ZUNIONSTORE). 0: none.
	Dest int
	// Keyword is the word after which the keys begin. After STREAMS they are
	// the first half of what follows, and the search begins at First. After
	// KEYS they are all that follows, if the key at First is empty. After STORE
	// (or STOREDIST) stands one further key, and the search begins at From.
	// "": none.
	Keyword string
	From    int
}

// Spec holds the facts on one command. It must not be changed.
type Spec struct {
	Name  string // upper case; subcommands with their container: "XGROUP CREATE"
	Arity int    // as the server counts: with the name, negative for at least
	Flags Flags
	Retry Retry
	Keys  KeySpec
	Since string // first version of Redis that has it; "" where Redis has it not
	// SinceValkey is the first version of Valkey that has it, "" where Valkey
	// has it not. Valkey began as Redis 7.2.4, with 7.2.5.
	SinceValkey string
	Group       string // the family: "string", "hash", "stream"…; "" for commands outside the table
	Summary     string // what it does, in one sentence
	Syntax      string // arguments in order, such as "key value [NX|XX]"
	Reply       string // the shape of its RESP3 reply, in the notation of commands.def

	wire   string // the name's words as bulk strings
	words  int
	unless []string  // arguments that make a repeat unsafe
	block  blockSpec // the argument that says how long it may block
}

// blockSpec says which argument holds a blocking command's timeout.
type blockSpec struct {
	at      int    // position as the server counts, from the end when negative
	keyword string // or the word before it
	millis  bool   // in milliseconds, not seconds
}

// NewSpec returns s, ready for requests. Commands that the table lacks (of
// modules, of newer servers) are described with it.
func NewSpec(s Spec) *Spec {
	words := strings.Fields(s.Name)
	var wire []byte
	for _, w := range words {
		wire = resp3.AppendBulk(wire, w)
	}
	s.wire, s.words = string(wire), len(words)
	return &s
}

// Has reports whether all of f are set.
func (s *Spec) Has(f Flags) bool { return s.Flags&f == f }
