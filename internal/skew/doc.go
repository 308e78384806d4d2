// Package skew moves the wall clock that one running process sees, for tests.
//
//	c, err := skew.Attach(pid)
//	if err != nil {
//		return err
//	}
//	err = c.Set(-time.Hour) // for that process it is an hour earlier now
//
// A library that is loaded before others (faketime) does not reach programs in
// Go: they take the time from the kernel's vDSO without the C library. So the
// vDSO itself is changed, in the memory of that process alone: its functions for
// the wall clock ask the kernel and add what Set has said. That reaches programs
// in any language.
//
// Guarantees: the monotonic clock stays as it is. Other processes see nothing of
// it. The change ends with the process, and what it forks shares it, but not what
// it executes.
//
// Non-guarantees: a program that makes the system call itself, or asks for the
// coarse clock, sees the true time. Attach stops the process for a moment, and
// assumes that nothing else stops or continues it meanwhile.
//
// It needs Linux on amd64, and the right to trace the process: a parent has that
// of its children. Elsewhere Attach returns an error that wraps
// errors.ErrUnsupported.
package skew
