package aside

// For tests of what becomes of answers that get lost or come late.
var (
	StoreScript = storeScript
	TakeScript  = takeScript
)
