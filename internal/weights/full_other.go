//go:build !unix

package weights

import (
	"errors"
	"syscall"
)

// isFull says whether an error means that no room is left.
func isFull(err error) bool {
	const handleDiskFull, diskFull = syscall.Errno(39), syscall.Errno(112) // of Windows
	return errors.Is(err, handleDiskFull) || errors.Is(err, diskFull)
}
