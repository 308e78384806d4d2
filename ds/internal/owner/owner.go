package owner

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

// maxHost bounds the host's part of a name, in bytes.
const maxHost = 63

var counter atomic.Uint64

var process = sync.OnceValue(func() string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	var random [8]byte
	// Read never fails: the program ends where the system has no randomness.
	rand.Read(random[:])
	return clean(host) + "-" + strconv.Itoa(os.Getpid()) + "-" + hex.EncodeToString(random[:])
})

// Process returns the name of this process: host, process id and 64 random
// bits, joined by dashes. It stays the same until the process ends.
func Process() string { return process() }

// New returns an id that nobody else has: Process and a counter.
func New() string {
	b := make([]byte, 0, 128) // on the stack: only the string is allocated
	b = append(append(b, process()...), '-')
	return string(strconv.AppendUint(b, counter.Add(1), 10))
}

// clean makes a host name fit for keys, logs and tables.
func clean(host string) string {
	if host == "" {
		return "host"
	}
	b := []byte(host[:min(len(host), maxHost)])
	for i, c := range b {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '.' && c != '-' {
			b[i] = '_'
		}
	}
	return string(b)
}
