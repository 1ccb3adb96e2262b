//go:build unix

package weights

import (
	"errors"
	"syscall"
)

// isFull says whether an error means that no room is left.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
