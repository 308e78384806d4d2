package resp3

import "unsafe"

// alias returns b as a string without copying. b must never change again.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// unalias returns the bytes of s without copying. They must not be changed.
func unalias(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
