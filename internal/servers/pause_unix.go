//go:build unix

package servers

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// pauseProcess returns when the process stands still where that can be seen
// (Linux): the signal alone may leave it running for a moment.
func pauseProcess(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for range 1000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
		if err != nil {
			return nil
		}
		// pid (name) state …; the name may contain anything.
		if i := strings.LastIndexByte(string(stat), ')'); strings.HasPrefix(string(stat[i+1:]), " T") {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("process %d did not stop", p.Pid)
}

func resumeProcess(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
