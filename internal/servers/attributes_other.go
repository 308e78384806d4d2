//go:build !unix

package servers

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
