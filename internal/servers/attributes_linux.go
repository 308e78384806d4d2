package servers

import "syscall"

// attributes puts the server in a process group of its own, so that Ctrl-C in
// a terminal reaches only us, and ties its life to ours.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
