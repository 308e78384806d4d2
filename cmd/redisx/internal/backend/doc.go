// Package backend finds or starts the server that a command plays on.
package backend
