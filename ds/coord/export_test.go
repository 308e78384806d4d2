package coord

// The scripts that the tests get in the way of.
var (
	BarrierArrive = barrierLua.arrive
	BarrierLeave  = barrierLua.leave
	BarrierRenew  = barrierLua.renew
	LatchCreate   = latchLua.create
	LatchDone     = latchLua.done
	LatchInspect  = latchLua.inspect
	MembersJoin   = membersLua.join
	MembersRenew  = membersLua.renew
)
