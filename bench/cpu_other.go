//go:build !linux && !darwin && !freebsd

package bench

import "time"

func processorTime() time.Duration { return 0 }
