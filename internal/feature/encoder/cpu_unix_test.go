//go:build unix

package encoder

import (
	"syscall"
	"time"
)

// cpuTime is what the process has used of the processors: on a busy machine
// it tells more than the time on the wall.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
