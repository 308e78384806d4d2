// Package limitlab is redisx limit lab: arrivals, made up or recorded, replayed
// through the algorithms of ds/limiter.
//
// What decides is ds/limiter itself with its scripts, each algorithm on an
// embedded server of its own whose clock is set to the time of each arrival. What
// was admitted is counted here, and compared with the bound that ds/limiter
// documents.
//
// It does not promise the speed or the memory of a real server: the embedded one
// is miniredis. It replays one key, and one caller who asks in order of time.
package limitlab
