package bench

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime returns the processor time this process has used, collector included.
// On a machine that others use as well it is steadier than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU starts measuring; the returned function reports the processor time
// of one operation.
func reportCPU(b *testing.B) func() {
	start := cpuTime()
	return func() {
		b.StopTimer()
		b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
	}
}
