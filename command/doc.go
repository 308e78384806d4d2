// Package command holds Redis commands as values: what is sent, the facts that
// decide how, and how the reply becomes a Go type. It does no networking and
// starts no goroutines.
package command

//go:generate go run ../internal/gen
