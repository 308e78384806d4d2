package telemetry

import "time"

// Outcome says what became of a command, or of one attempt at it. It is the
// command package's Outcome as a label.
type Outcome string

// The outcomes. SafeToRetry holds for NotSent, Cut and Refused.
const (
	OK      Outcome = "ok"       // answered, without an error
	Failed  Outcome = "failed"   // it ran, and its answer is an error
	NotSent Outcome = "not_sent" // no byte of it was sent
	Cut     Outcome = "cut"      // the connection ended before its last byte was written
	Refused Outcome = "refused"  // the server said that it did not run it
	Maybe   Outcome = "maybe"    // sent, and nobody knows whether it ran
)

// Command tells of one command, or of one batch of commands that were sent in
// one go. It is valid during the call only: copy what is kept.
type Command struct {
	Name  string    // such as "GET"; of a batch "PIPELINE", or "MULTI" if it is a transaction
	Node  string    // the address that the client was given
	Start time.Time // when the caller came
	// Block is how long the caller let the server hold the command back,
	// negative for ever, 0 for commands that do not block.
	Block        time.Duration
	RequestBytes int // about: what is sent for one attempt
	// Keys returns the keys among the arguments, in order. It looks for them
	// when it is called, which must be during the event.
	Keys  func() []string
	Batch []Item // of a batch, in order; nil for one command

	// Known when the command has ended.
	Duration   time.Duration // from Start until the answer is with its caller
	Outcome    Outcome       // of a batch the first that is not OK
	Err        error         // what the caller is given; nil with OK
	Attempts   int           // how often it was sent: 0 if never, above 1 if it was sent again
	ReplyBytes int
}

// Item is one command of a batch. Outcome, Err and Attempts are known when the
// batch has ended.
type Item struct {
	Name     string
	Outcome  Outcome
	Err      error
	Attempts int
}

// Retry tells that a command failed and is about to be sent again, or would be
// if the budget let it.
type Retry struct {
	Command  string        // the name; of a batch that of the first command that is sent again
	Commands int           // how many are sent again: 1, or the failed end of a batch
	Node     string        // the address that the client was given
	Attempt  int           // which attempt failed, from 1
	Outcome  Outcome       // of that attempt: Maybe, Cut or Refused
	Err      error         // its error
	Pause    time.Duration // until it is sent again
	Denied   bool          // the budget is empty: Err is delivered instead
}

// ConnState is the state that a connection has entered.
type ConnState string

// The states. A connection is dialled, and then either up or failed; what was
// up goes down, once.
const (
	Dialing    ConnState = "dialing"
	DialFailed ConnState = "dial_failed" // no stream, or no handshake
	Up         ConnState = "up"          // greeted: it takes commands
	Down       ConnState = "down"
)

// Conn tells of a change of one connection.
type Conn struct {
	ID    int64  // of the connection, unique in the client
	Role  string // "shared", "private", "tracking", "pubsub"
	Node  string
	State ConnState
	At    time.Time
	// Took is how long dial and handshake took, or how long the connection was
	// up. 0 while dialling.
	Took time.Duration
	// Err is why the dial failed or the connection went down; nil if the client
	// closed it.
	Err error
}

// Wire tells of bytes that were written to a connection or have come from it.
// Incoming bytes come by the frame, outgoing ones as they were written.
type Wire struct {
	ID   int64 // of the connection
	Node string
	Out  bool // written by the client
	Size int  // bytes
	// Data is the bytes, in place: they are valid during the call and must not
	// be changed. It is nil if they may hold a secret.
	Data []byte
}

// Push tells of a push message that has come.
type Push struct {
	ID   int64 // of the connection
	Node string
	Kind string // its first element, such as "message" or "invalidate"; at most 64 bytes
	Size int    // bytes of the frame
}

// Panic tells that an observer panicked. The client went on as if it had
// returned; a Gate's command was refused.
type Panic struct {
	Observer string // its type
	Event    string // the method that panicked
	Value    any    // what it panicked with
}
