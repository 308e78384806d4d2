// Package coord lets processes agree: who leads, who is there, when to go on.
//
//	cron := coord.NewElection(client, "cron", coord.Again())
//	err := cron.Lead(ctx, func(ctx context.Context, t *coord.Term) error {
//		for tick := range ticks(ctx) { // ctx ends before anybody else leads
//			if _, err := t.Do(ctx, command.Set("cron:last", tick)); err != nil { // refused when this term is over
//				return err
//			}
//		}
//		return ctx.Err()
//	})
//
// # Elections
//
// An election has candidates, of which one at a time leads. A leadership is a
// term, and the term's number is a fencing token: Election.Lead runs a function
// while it leads, Campaign returns the Term instead, Leader and Observe tell
// anybody who leads.
//
// It stands on package lease: the election "cron" is the lease "leader:cron", a
// term is a grant of it, and all that is promised there is promised here.
//
// Guaranteed, while the server keeps its data:
//
//   - One leads at a time. The context of a term ends, with a *LostError as its
//     cause, before the server lets anybody else lead, also after a pause of the
//     process.
//   - Numbers of terms rise, also across FLUSHALL, eviction and restart without
//     data. Term.Do is checked by the server: no write of a term follows one of a
//     later term.
//   - A resignation is for one term. A late one, or one whose answer was lost,
//     cannot end the next term; nor can a late request to step down.
//   - The next leader comes at once when a leader resigns, as it is told by push
//     (250 ms later at most where the server cannot push), and a few milliseconds
//     after the TTL of a leader that has died; lighter candidates up to 200 ms
//     later, see below.
//   - Observers see the last term for certain, over lost connections too, and
//     terms only rise.
//
// Not guaranteed:
//
//   - That a server which loses data has one leader only. A primary that dies
//     before the election reached the replica that is promoted knows of no leader;
//     the first one learns of it with its next renewal, a third of the TTL later.
//     Term numbers tell the two apart: where that matters, fence. Replicas makes
//     it rarer.
//   - That fn stops: a context ends only code that looks at it. What the leader
//     writes outside of this server must be refused there when its token is
//     smaller than one seen before.
//   - That terms are numbered one by one, or that observers see each of them.
//   - Fairness: of candidates of the same weight any may win, the last leader too.
//
// A candidate's Weight counts when several wait: whoever sees that heavier ones
// stand leaves them a head start when nobody leads, of 100 ms, or 200 ms if there
// are two or more. That is a preference, no promise: a heavier candidate that is
// so slow is overtaken, and one that has died stands for another TTL. Nobody is
// replaced for being light. The first 256 candidates are known to each other.
//
// With Healthy, candidates that are not fit do not stand, and a leader that is
// not fit any more loses its term. Election.StepDown asks a leader to resign, for
// operators. In both cases the term's context ends first and the lease is no
// longer renewed; others lead when the function of Lead has returned, or Resign
// was called, or after the TTL.
//
//	           Campaign               nobody leads, no heavier one stands
//	candidate ──────────▶ standing ───────────────────────────────────────▶ leading
//	                       │    ▲                                            │
//	              unhealthy│    │healthy         Resign ────▶ resigned ◀─────┤
//	                       ▼    │                                            │
//	                      not standing           expired, gone, clock,       │
//	                                             unhealthy, asked, closed    │
//	 with Again: campaigns anew ◀──────────────────────── lost ◀─────────────┘
//
// On the server, beside the keys of the lease:
//
//	{redisx:lease:leader:NAME}:candidates  hash  kind v, and of each candidate its end, weight, begin and name   lives for the longest TTL
//	{redisx:lease:leader:NAME}:stepdown    hash  kind v term by why                                              lives for two TTLs after a request
//
// # Barriers
//
// A barrier is a point that all parties must reach before any goes on, again and
// again (Java's CyclicBarrier). Each round is a generation with a number.
//
//	b := coord.NewBarrier(client, "phase", 5, coord.Name("worker-3"))
//	for {
//		compute()
//		generation, err := b.Await(ctx) // until five have arrived in it
//		…
//	}
//
// Guaranteed, while the server keeps its data:
//
//   - Nobody passes a generation before that many parties, of different names,
//     have arrived in it. An arrival that is sent twice counts once, in one
//     generation only.
//   - A party that stops waiting breaks its generation: at once when its context
//     ends, and a TTL after its last renewal when it dies. All others that wait
//     get a *BrokenError that names it. The generation after is usable.
//   - A party whose arrival the server does not count any more, because it was
//     deleted, taken by another of its name, or not there after a failover, is
//     told so with its next renewal, by a *BrokenError that names itself.
//   - A party that passed generation n arrives next in n+1, however fast it is.
//   - They are told by push (250 ms later at most where the server cannot push).
//
// Not guaranteed: that all who passed learn of it. A party whose answer is lost,
// or whose context ends in that moment, gets an error; its next Await returns that
// generation's number at once. After the loss of the server's data, or seven days
// without a visitor, generations are numbered from what the first party knows.
//
//	 renew
//	  ┌─┐    all parties are there
//	  │ ▼ ┌───────────────────────────▶ passed    the number of it
//	waiting── one left, or has lapsed ─▶ broken   *BrokenError of that one, to all
//	      ├── gone, not owner, failover ▶ not counted   *BrokenError of our own
//	      └── expired, clock, closed ──▶ given up *LostError, and it breaks for the others
//
//	{redisx:barrier:NAME}:barrier       hash  kind v generation                  lives 7 days after a visitor
//	{redisx:barrier:NAME}:generation:N  hash  kind v parties since ended by why  lives 7 days, and 2 TTLs after its end
//	{redisx:barrier:NAME}:arrived:N     zset  party, until when                  lives 2 TTLs
//	{redisx:barrier:NAME}:ids:N         hash  party, which Await                 lives 2 TTLs
//
// # Latches
//
// A latch is a gate that opens once, when a number of members are done.
//
//	l := coord.NewLatch(client, "warm")
//	err := l.Create(ctx, 3)            // whoever knows how many
//	left, err := l.Done(ctx, "shard-1") // each member
//	err = l.Wait(ctx)                   // whoever must not begin earlier
//
// Guaranteed, while the server keeps its data: Wait returns nil only when that
// many different members are done; a member that is done twice counts once; an
// open latch stays open for its TTL, so late comers pass; a latch that is not
// there is not open. Waiters are told by push. Create, Done and Wait may be
// repeated without harm.
//
// Not guaranteed: anything once the TTL has passed since it was made, or since it
// opened. It does not renew itself: choose the TTL (24 h by default) longer than
// members take.
//
//	        Create            all members are done
//	none ───────────▶ closed ─────────────────────▶ open
//	  ▲                  │                           │
//	  └──── its TTL has passed, or it was deleted ───┘
//
//	{redisx:latch:NAME}:latch  hash  kind v count ttl since open  lives for the TTL, and again when it opens
//	{redisx:latch:NAME}:done   set   members that are done        lives for the TTL after the last
//
// # Members
//
// A group is who is there: processes Join and Leave, Members and WatchMembers
// tell who has not lapsed.
//
//	m, err := coord.Join(ctx, client, "workers", coord.Meta("10.0.0.7:8080"))
//	defer m.Leave(context.Background())
//	for now, err := range coord.WatchMembers(ctx, client, "workers") {
//		…
//	}
//
// Guaranteed, while the server keeps its data: a member that has died is seen by
// nobody a TTL after its last renewal, by the server's clock, without anybody
// having to sweep; the context of a membership ends, with a *LostError as its
// cause, before that; a name is one living member's; a late renewal or goodbye of
// a former member does not touch the next of its name. WatchMembers yields the
// last state for certain, over lost connections too, and none twice in a row.
//
// Not guaranteed: that two who look see the same at the same moment, or that each
// change is seen: what must be one member's alone needs a lease, or shards.
//
//	                 the name is free            expired, gone, not owner,
//	joining ─────────────────────────▶ member ───────────────────────────▶ lost
//	   ▲ │ another has the name         │ ▲ │     failover, clock, closed
//	   └─┘ until it leaves or lapses    └─┘ └─ Leave ─▶ left
//	                                   renew
//
//	{redisx:members:NAME}:members  hash  kind v shards changed                          lives up to 20 TTLs after the last renewal
//	{redisx:members:NAME}:beats    zset  member, until when                             lives 2 TTLs
//	{redisx:members:NAME}:about    hash  member, JSON with id, weight, meta and since   lives 2 TTLs
//
// # Shards
//
// RunShards shares n shards among its members and calls a function for each of
// ours.
//
//	err := coord.RunShards(ctx, client, "orders", 16, func(ctx context.Context, s *coord.Shard) error {
//		return consume(ctx, s.Index(), s.Token()) // until ctx ends: the shard moves on
//	})
//
// Who is to have which shard is computed by each member alone, from the same list
// of members: nobody leads. Who has it is said by a lease for each
// shard, so two that see different lists for a moment cannot run one shard both.
//
// Guaranteed: all that package lease guarantees of each shard's lease; each
// member is to have its share by weight, rounded down or up; a shard that moves
// begins there only after fn has returned here.
//
// Not guaranteed: that few shards move. Of n shards and m members, one that goes
// moves its n/m and up to about two thirds as many others, because shares stay
// even. A shard whose fn does not return stays where it is.
//
//	                            assigned to us               lease free
//	other's, or nobody's ────────────────────────▶ waiting ─────────────▶ running ──┐ lease lost:
//	   ▲                                             │  ▲                  │  ▲  │   │ waits for it
//	   │            assigned to another              │  └──────────────────│──│──│───┘
//	   ├─────────────────────────────────────────────┘                     │  └──┘ renew
//	   └───────── fn returned, lease released ◀──── ending ◀───────────────┘ assigned to another
//
// The members are in {redisx:shards:NAME}, with the keys of a group; shard i is
// the lease "shard:NAME/i".
//
// # Time
//
// The server's clock decides when a term, a membership or an arrival lapses. The
// local clock only makes its holder stop earlier: it trusts what it holds until
// the start of the last confirmed request + TTL − margin, by the monotonic clock,
// where margin is a tenth of the TTL, between 5 ms and 1 s. Head starts and
// intervals between health checks are measured by the local monotonic clock.
//
// Terms, memberships and arrivals are renewed every third of their TTL, those of
// one client together: up to 256 of a kind by one script. The answer names the
// server, so a server that has taken another's place and does not know what was
// held is told apart (failover) from one that has lost it (gone).
//
// # Concurrency
//
// All functions and methods may be called by many goroutines, save that a Barrier
// waits once at a time. RunShards has a goroutine for each shard that is ours, and
// waits for them. What else runs belongs to the client, whose Close ends it and
// waits for it: while a term runs, one goroutine that waits for a request to step
// down and asks for the health of the process. On a Doer that is no
// command.Attacher, Resign waits for it.
package coord
