//go:build linux || darwin || freebsd

package bench

import (
	"syscall"
	"time"
)

// processorTime is what this process has used so far. On a machine shared
// with others it is steadier than any clock.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
