// Package explain writes what explanations share: moments, durations, and lists
// that do not grow beyond a sentence.
package explain
