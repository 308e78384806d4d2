// Package resp3 reads and writes frames of the Redis serialization protocol,
// versions 2 and 3. It does no networking and starts no goroutines.
package resp3
