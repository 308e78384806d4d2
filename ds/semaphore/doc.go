// Package semaphore lets at most so much happen at a time, in all processes
// together.
//
//	gpu := semaphore.New(client, "gpu", 8)
//	p, err := gpu.Acquire(ctx, 2) // two of eight, when its turn has come
//	if err != nil {
//		return err // ctx ended while others held them: *semaphore.FullError
//	}
//	defer p.Release(ctx)
//	return render(p.Context()) // stops when the permit is lost
//
// With does the same around a function. TryAcquire does not wait. Inspect tells
// who holds permits. SetLimit changes the limit for everybody; Adaptive has it
// find its own.
//
// # Guarantees
//
// While the server keeps its data, the permits that are out never weigh more than
// the limit by which the last of them came in.
//
// A permit is a lease, a share of one (see lease.Share). So it is renewed until it
// is released; its context ends, with a *lease.LostError as its cause, before the
// server gives its place away; a holder that dies is out after one TTL, and until
// then nobody has to clean up after it. Do is checked by the server.
//
// A release takes out that very permit, by its id: released twice, late, or after
// it has lapsed, it changes nothing for others. It works on a server that is out
// of memory.
//
// Who comes first is served first, by the server's clock, whatever the weights: a
// light permit that would fit does not overtake a heavy one that waits, so none
// starves. Who is told of a release is the next in line only. A waiter that dies
// is passed over after the TTL that it asked for, but from 1 s to 3 s; many that
// die together cost that once. After kills, then, all of the limit is in use
// again within a TTL, or 1 s if that is longer, and a moment for the hand-over.
//
// A limit that shrinks evicts nobody: none comes in until enough have gone. One
// that grows lets in who waits at once.
//
// A call that is refused, or whose context ends, leaves nothing behind; what a
// lost answer leaves open is settled as package lease does it.
//
// # Non-guarantees
//
// A server that loses data forgets permits, and their holders learn of it with
// their next renewal, a third of the TTL later. Until then more can be out than
// the limit says. Replicas narrows that.
//
// A context stops only code that looks at it. Tokens of permits that are held
// together differ and rise, but a greater one is no end of a smaller one: to
// whom a token is handed on, it names a permit and no more.
//
// What does not fit leaves a gap: with a heavy one waiting, less than the limit is
// in use.
//
// At most 10 000 permits are out, and 10 000 wait; beyond that the error is
// lease.ErrQueueFull.
//
// # Whose limit counts
//
// Where the server keeps a limit, by SetLimit or Adaptive, that counts for
// everybody, and New's does not. It is kept for 7 days after the last permit.
//
// Else each handle's own: its permits come in while all permits that are out, their
// own included, weigh no more than that. Handles of 8 and of 4 together then never
// have more than 8 out; those of 4 come in only while at most 4 are; and where one
// of 4 is first in line, those of 8 wait behind it. That is what a rollout of a
// new limit meets, and it ends with it.
//
// A permit that weighs more than the limit is refused with ErrNeverFits, also one
// that waits when SetLimit makes it so; that one hears of it when it looks next,
// in a second at most.
//
// # States
//
//	           TryAcquire: *FullError
//	              ▲
//	Acquire ──▶ asking ◀──▶ waiting        its turn, and room; or ctx ends: *FullError
//	              │            │
//	              ▼            └── limit shrinks below its weight ──▶ ErrNeverFits
//	             held ──── Release ──────▶ released
//	             │  ▲ │
//	             └──┘ └── as for a lease ─▶ lost
//	            renew
//
// # Adaptive
//
// Adaptive has the limit follow what its permits are for: a database, a service,
// a pool of workers whose capacity nobody knows or that changes. Each released
// permit reports how long it was held, or that it met an overload; each process
// gathers its reports and gives them to the server twice a window, and the report
// that ends the window moves the limit, in one script, for all:
//
//	more than 1 % overload   limit × 0.7
//	else                     limit × g + √limit,  g = 1.25 × baseline / mean time, from 0.5 to 1
//	60 windows without a     half the limit for two windows; the mean time of the
//	new least mean time      second is the new baseline, and the limit comes back
//
// The baseline is the least mean time of a window: how long work takes that waits
// for no other work. The limit grows only if at least half of it was in use, or
// somebody waited. The first row is the multiplicative decrease of TCP (RFC 5681;
// 0.7 is that of RFC 9438); the second the gradient of Netflix's
// concurrency-limits, with the headroom √limit and the allowance of a quarter of
// the baseline that Envoy's adaptive concurrency has; the third is what BBR does
// to find its least round trip again.
//
// Where calls take a time B while at most C run, and share when more do, the limit
// settles between C and 1.25 C + 2 √(1.25 C) + 2: the tests hold it to that, with
// a noise of 10 %. It halves within a window or two, and grows from l to C in about
// 2 (√C − √l) windows. With refusals alone it goes up and down between half of C
// and 1.5 C.
//
// It does not tell reasons apart. Work whose time varies by its nature, by ten
// times from call to call, belongs into semaphores of its own by kind, or should
// report by Overloaded only and Ignore the rest. A window has at least ten
// reports, so what happens less often is followed less quickly. Durations are
// measured by the local monotonic clock; windows are the server's.
//
// # On the server
//
// All but the last are those of the lease "semaphore:NAME"; see package lease.
//
//	{redisx:lease:semaphore:NAME}:lease     hash  with used, what all permits weigh, and limit, that of the last grant
//	{redisx:lease:semaphore:NAME}:readers   zset  permits by their ends
//	{redisx:lease:semaphore:NAME}:queue, order, fence
//	{redisx:lease:semaphore:NAME}:limit     hash  kind v limit, and for Adaptive baseline based phase back opened reports overloads sum busy
//
// # Time
//
// The server's clock decides when a permit lapses, who came first, and when a
// window is over. The local clock only makes a holder stop earlier.
//
// # Concurrency
//
// All functions and methods may be called by many goroutines. What runs for a
// semaphore belongs to the client, whose Close waits. An adaptive semaphore should
// be made once and used often: a handle gathers its own reports.
package semaphore
