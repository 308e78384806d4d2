// Package owner names who holds something on a server.
//
//	owner.Process() // "web-3-8121-9f86d081884c7d65": this process, to show to people
//	owner.New()     // "web-3-8121-9f86d081884c7d65-17": one acquisition, to compare
//
// Guarantees: Process is constant for the life of the process; New never
// returns the same id twice, on no machine and in no process (64 random bits
// tell apart containers that all are process 1 of the same host name). Both are
// at most 128 bytes of letters, digits, dots, dashes and underscores.
//
// Not guaranteed: secrecy. An id is no password; who can read the server's
// keys can read it.
//
// All functions may be used by many goroutines.
package owner
