//go:build !unix

package demo

import "errors"

var errFreeze = errors.New("this system cannot freeze a process")

func (p *process) freeze() error { return errFreeze }
func (p *process) thaw() error   { return errFreeze }
