// Package queue is a queue of typed jobs on a stream: every job is done at
// least once, whichever worker dies, and what a worker that was too slow says
// of a job is refused.
//
//	q := queue.New[Email](client, "email:queue", queue.Visibility(30*time.Second))
//	id, err := q.Enqueue(ctx, Email{To: "ann@example.com"})
//
//	err = q.Work(ctx, func(ctx context.Context, job *queue.Job[Email]) error {
//		return send(ctx, job.Data) // nil: done; an error: again later
//	}, queue.Concurrency(20))
//
//	for job, err := range q.Consume(ctx) { // or by hand
//		if err != nil { … }
//		err = job.Ack(ctx) // or Retry, or Dead
//	}
//
// # Guarantees
//
// A job whose Enqueue returned nil is delivered until a delivery of it is
// acknowledged or it is a dead letter. It is never dropped: nothing is trimmed,
// a payload that cannot be decoded is kept, a job that takes its workers down
// is put aside unread after MaxAttempts deliveries.
//
// A job has one delivery at a time. Ack, Retry and Dead are fenced by consumer
// and attempt: once another delivery has begun, they change nothing and return
// a *StaleError. Before another can begin, the job's Context has ended with a
// *StaleError as its cause.
//
// A handler may take as long as it likes: heartbeats keep its delivery and do
// not count as attempts. When the worker dies, others get its jobs not later
// than a visibility after its last heartbeat, and a few milliseconds.
//
// A retry is due by the server's clock. Idle consumers are woken by push, and
// look by themselves every five seconds (or visibility, if shorter). On a server
// that is out of memory everything but Enqueue goes on.
//
// Work and Consume leave no goroutine behind, and hand back what they fetched
// and did not begin, without charging an attempt.
//
// # Non-guarantees
//
// A job may be done more than once: by a worker that died between its effect
// and its ack, or that was paused past its visibility. Make handlers idempotent
// (package idem helps), or fence their writes.
//
// Order is that of enqueueing only for first deliveries, and only among those
// of one consumer with one handler.
//
// Enqueue that fails may have enqueued (see there). It is not repeated.
//
// There is no bound on the queue's length but the server's memory. Dead letters
// stay until Forget or Delete removes them.
//
// A server that loses what it had acknowledged (a restart without persistence,
// a failover to a replica that lagged) loses jobs with it, or undoes acks.
//
// A wake-up that was given to a process that died in that moment is lost; the
// others look within five seconds. Consumers with different visibilities notice
// each other's deaths up to that much later.
//
// The group is the package's own. XCLAIM, XACK or XREADGROUP by hand are
// noticed (stale deliveries, jobs counted as Lost, deliveries without a deadline
// found within visibility or ten seconds, a hundred a round), but make
// deliveries overlap or disappear. After XGROUP DESTROY every job that is still
// in the stream is delivered anew, and its attempts count from 1.
//
// # Keys
//
// All begin with {namespace:queue:name}: and so share a slot.
//
//	jobs       stream   every job that is neither done nor dead, and the group
//	deadlines  zset     job id → server time, ms, from when on anyone may take it
//	wake       list     one element while an idle consumer should look
//	dead       stream   dead letters
//	meta       hash     kind, schema, group; lost, regrouped: counters; sweep
//	tidied     string   with a TTL: somebody tidied up lately
//
// jobs and meta stay when the queue is empty; Delete removes everything.
//
// Why not what is usual:
//
//   - XREADGROUP BLOCK hands jobs out while it blocks, and registering a
//     deadline is a second step: a crash in between leaves a job that only a scan
//     of all pending entries finds, and a frozen idle consumer sits on a job for
//     a visibility. Here idle consumers block on the list wake (BLPOP, on a
//     private connection), and one script takes jobs and notes their deadlines.
//     There is no in between.
//   - The group's idle time as the visibility would save the deadlines. But then
//     visibility is the taker's and not the delivery's, and finding what has
//     lapsed is a scan in order of ids, behind whatever is long and busy. The
//     deadlines also tell an idle consumer for how long it may sleep.
//   - A retry stays in the stream and pending, of the pseudo-consumer
//     "(delayed)", with its due time as its deadline. So its id, its payload and
//     its delivery count stay what they are, no payload is copied, and retries
//     and lapsed deliveries come back by the same path (at most 100 a claim).
//   - There is one group: an acknowledged job is deleted, also for others.
//
// # States
//
// Of a job, on the server. Each arrow is one script, so a crash leaves a job in
// one of the boxes and never on an arrow:
//
//	           claim             ack
//	enqueue ─▶ waiting ─▶ running ─────────────────▶ (deleted)
//	                      │ ▲  │ dead, undecodable,
//	       retry, release │ │  │ retry of the last attempt
//	                      ▼ │  └──────────────────▶ dead ─ Forget ─▶ (deleted)
//	                    delayed                      ▲
//	                        │                        │
//	      claim: deadline or due time has passed ────┤ deliveries = MaxAttempts
//	      (running by a new consumer, attempt + 1) ◀─┘ else
//
// A worker that dies leaves its jobs running; their deadlines pass, and the
// next claim takes them as it takes what is delayed. A claim whose answer is
// lost leaves jobs running of which the consumer does not know: their deadlines
// pass too, or the consumer hands them back when it ends.
//
// Of a delivery, in this process:
//
//	  ┌─ no answer ───────────────┐
//	  ▼                           │
//	held ── Ack, Retry, Dead ─▶ settling ── taken ──────▶ settled
//	│  │                        ▲   │
//	│  └── trust window ends    │   └──── refused ──────▶ stale
//	│         ▼                 │                         ▲
//	│       lapsed ─────────────┘ (and back, no answer)   │
//	└── heartbeat is refused ─────────────────────────────┘
//
// A heartbeat that finds the job gone after a settling without an answer takes
// it for settled: nobody else could have done it.
//
// # Time
//
// Deadlines and due times are computed from the server's TIME inside the
// scripts. The local monotonic clock is only used to stop earlier: the trust
// window of a consumer's deliveries ends visibility − margin (a tenth, at most
// 1 s) after its last heartbeat was about to leave. Heartbeats leave every third
// of the visibility, one script call for all deliveries of a consumer (up to
// 500). A window is that of its oldest delivery, so it is right for all. If the
// process was paused or the machine slept, the first look at a job's Context
// finds it ended.
//
// # Concurrency
//
// A Queue and a Job may be used by many goroutines; of two calls at once that
// settle a job, one is refused. A loop over Consume belongs to one goroutine.
// Work runs one goroutine for each handler and one for acknowledgements, and
// waits for them. Heartbeats run on timers; none runs after the consumer has
// ended and its deliveries are settled.
package queue
