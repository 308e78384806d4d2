package coord

// The scripts that the tests get in the way of.
var (
	BarrierArrive = barrierLua.arrive
	BarrierLeave  = barrierLua.leave
)
