package queue

// For tests of answers that get lost, and of what else takes minutes to happen.
var (
	AckScript     = ackScript
	ClaimScript   = claimScript
	EnqueueScript = enqueueScript
	TidyScript    = tidyScript
)
