// Package topology decides where a command goes and what is done about the
// answer: it is delivered, or the command is sent again. That decision is one
// function, judge; nothing else in the client sends a command twice.
//
// # What is sent again
//
//	outcome   which commands                              how often
//	NOT SENT  every one, by the pool: it looks for a connection that takes it,
//	          for OfflineWait. No server has seen a byte; it is no retry.
//	CUT       every one but administrative ones           NotRun
//	REFUSED   the same, where the refusal passes (LOADING, BUSY, TRYAGAIN,
//	          CLUSTERDOWN, MASTERDOWN)                    NotRun, within Patience
//	MAYBE     reads that do not block; commands of the class state that the
//	          caller marked with Repeatable               Reads
//	DONE      none
//
// A deadline or a cancelled context never causes another attempt; nor does the
// stall clock, a reply that breaks the protocol, or Close. Before each attempt
// there is a pause with full jitter, which ends with the caller's context.
//
// # The budget
//
// Attempts beyond the first take from a budget that every command adds a tenth
// to, and that holds at most Burst. When it is empty the first error is
// delivered: an outage multiplies the load by 1.1, not by 3.
//
// # Batches
//
// In a batch each command is judged by itself. Sent again is the failed tail:
// the commands from the first that was not answered to the end, if all of them
// failed and each of them may be sent again. So the order within a batch is
// kept, and no command of it runs after one whose fate is unknown. Where a
// command after the first failure was answered, or may not be sent again,
// nothing is.
//
// # Outcomes of several attempts
//
// An error tells of all attempts: Attempts counts them, and its Outcome is MAYBE
// if one of them may have run, whatever became of the last.
//
// # Not promised
//
// What is sent again on a connection has been overtaken by other callers'
// commands. MOVED, ASK and READONLY are delivered: a lone node has no other to
// follow them to.
package topology
