package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestNoOrphanWhenTheParentDies(t *testing.T) {
	t.Parallel()
	launch(t, Options{}) // skips where there is no server
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envParent+"=1", "TMPDIR="+t.TempDir())
	out, _ := cmd.Output() // it kills itself
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("the parent said %q", out)
	}
	for range 500 {
		if gone(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("server %d outlived its parent", pid)
}

// gone counts a zombie as gone: whoever adopted it has yet to collect it.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
