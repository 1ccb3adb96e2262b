package sqlite

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tandem"
)

const lockName = "lock"

// lockFolder makes sure that one process uses the data folder. The lock file
// holds the process id of its owner and is never deleted: deleting it would
// let two processes lock two files of the same name.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, openError(dir, err)
	}
	held, err := tryLock(f)
	if held {
		who := "another process"
		if text, readErr := io.ReadAll(io.LimitReader(f, 32)); readErr == nil && len(text) > 0 {
			who = "process " + strings.TrimSpace(string(text))
		}
		return nil, errors.Join(&tandem.Error{
			Code: tandem.Conflict, Cause: err,
			Message: "the data folder " + dir + " is in use by " + who + "; stop it, ask it over HTTP, or choose another data folder",
		}, f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(openError(dir, err), f.Close())
	}
	return f, nil
}
