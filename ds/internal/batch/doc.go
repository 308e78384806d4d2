// Package batch runs one script for many callers at once. A server spends more
// on being called than on what most scripts of primitives do, so callers who
// come while others are being answered share the next call.
//
// A script that takes part does its work for each of many rows. A row is one
// caller's keys and arguments, as many for each; the script returns an array
// with one answer for each row, in order.
//
//	var acquire = batch.New(script, 2, 4, asGrant)
//
//	g, sent, err := acquire.Run(ctx, client, []string{lease, fence}, []command.Arg{…})
//
// Nobody waits for others to come: who finds that less than inFlight calls are
// on their way sends its row at once, after one yield of the processor. Others
// wait for the next call. So a lone caller pays a yield, and the more there are,
// the more rows go together, up to maxRows.
//
// Guarantees:
//
//   - A row is sent at most once, but for a script that the server did not know
//     and so did not run.
//   - Every caller returns at the end of its context. A row that has not left is
//     taken back then; the error's outcome says which. A row that has may yet
//     run: who wants to undo it waits for Over. A call whose callers have all gone
//     is given up.
//   - An error that the script returns in the place of an answer concerns that
//     row alone. All other errors are those of every row of the call.
//   - No more rows wait than there are callers.
//
// Not guaranteed: any order among rows. Those of one call run one after the
// other, as the commands of any script do, and nothing runs between them.
//
// Goroutines: at most inFlight for each script and client, while more than one
// caller is there. The client owns them: its Close gives what is under way a
// second, ends it, and waits for it. With a Doer that owns nothing every caller sends its own row.
//
// All rows of a call go to one server in one script, so on a cluster their keys
// must share a slot. Doers that lead to more than one node give each node, or
// slot, a Doer of its own.
package batch
