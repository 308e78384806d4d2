// Package guard holds no code, only tests that keep the rules of the
// repository: import direction, doc comments, file and function size,
// goroutine owners, requirements, headers of Lua scripts, links in documents,
// forbidden words. The tables are in policy_test.go.
//
// The rules read the files themselves, not the output of a child process, so
// that the test cache sees every file they depend on.
//
// Each rule is a function from a tree to its problems, and is tested on small
// trees that break it: a check that cannot fail is a defect.
package guard
