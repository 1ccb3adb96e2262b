package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tandem"
)

// fail turns a failure of the database into one a person can act on. What it
// does not know stays as it is, wrapped.
func (s *Store) fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*tandem.Error](err); ok {
		return err
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch code := e.Code(); code & 0xff {
	case sqlite3.SQLITE_FULL:
		return s.full(err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return s.readOnly(err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return s.damaged(err)
	case sqlite3.SQLITE_IOERR:
		return s.ioError(code, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return &tandem.Error{
			Code: tandem.Overloaded, Cause: err,
			Message: "another program holds the database " + s.path + "; close it and try again",
		}
	case sqlite3.SQLITE_TOOBIG:
		return &tandem.Error{
			Code: tandem.InputTooLarge, Cause: err,
			Message: "a value is larger than the database can keep (about 1 GB)",
		}
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// ioError tells a disk that is full, which SQLite reports in several ways,
// from one that fails.
func (s *Store) ioError(code int, err error) error {
	switch code {
	case sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE:
		return s.full(err)
	case sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMMAP:
		return s.readOnly(err)
	}
	return &tandem.Error{
		Code: tandem.Internal, Cause: err,
		Message: "the disk failed while reading " + s.path + "; check the disk, then restore the last backup if the file is damaged",
	}
}

func (s *Store) full(cause error) error {
	return &tandem.Error{
		Code: tandem.StorageFull, Cause: cause,
		Message: "the disk of " + filepath.Dir(s.path) + " is full or cannot be written; free space or lower retention_days",
	}
}

func (s *Store) readOnly(cause error) error {
	return &tandem.Error{
		Code: tandem.StorageFull, Cause: cause,
		Message: filepath.Dir(s.path) + " cannot be written; make the folder and its files writable or choose another data folder",
	}
}

func (s *Store) damaged(cause error) error {
	return &tandem.Error{
		Code: tandem.Internal, Cause: cause,
		Message: "the database " + s.path + " is damaged; restore the last backup, or move the file away to start anew",
	}
}

// openError says why a data folder could not be used.
func openError(dir string, err error) error {
	e := &tandem.Error{Code: tandem.StorageFull, Cause: err}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		e.Message = "the disk of " + dir + " is full; free space or choose another data folder"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		e.Code = tandem.InvalidRequest
		e.Message = dir + " is not a folder; choose another data folder"
	default:
		e.Message = "the data folder " + dir + " cannot be created or written; make it writable or choose another"
	}
	return e
}

// checkHeader refuses a file that is no SQLite database before SQLite is
// asked, which would take a short or empty-looking file for a new database.
func checkHeader(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s := &Store{path: path}
	if err != nil {
		return s.readOnly(err)
	}
	defer f.Close()
	var head [100]byte
	n, err := io.ReadFull(f, head[:])
	if n == 0 && errors.Is(err, io.EOF) {
		return nil // created, never written: a start that was interrupted
	}
	if n < len(head) || !bytes.HasPrefix(head[:], []byte("SQLite format 3\x00")) {
		return s.damaged(errors.New("no SQLite header"))
	}
	return nil
}
