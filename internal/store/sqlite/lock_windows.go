package sqlite

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the lock of an open file, which the system frees when the
// process ends. held is true when another process has it. The byte locked
// lies beyond the text, which others may still read.
func tryLock(f *os.File) (held bool, err error) {
	at := &windows.Overlapped{Offset: 1 << 20}
	err = windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	return errors.Is(err, windows.ERROR_LOCK_VIOLATION), err
}
