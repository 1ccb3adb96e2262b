// Package sqlite keeps tandem's memory in one embedded SQLite database.
//
// One connection writes, in immediate transactions; a pool of others only
// reads. The journal is a write-ahead log and every commit is synced to the
// disk before it is acknowledged. docs/formats/database.md describes the
// schema and its invariants.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver named "sqlite"

	"tandem"
	"tandem/internal/store/sqlite/db"
)

//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate

//go:embed migrations/*.sql
var migrations embed.FS

const (
	fileName      = "tandem.db"
	applicationID = 0x74616e64 // "tand", in the file header
	readers       = 4
	// The write-ahead log is folded into the database every so many pages of
	// 4 KiB; larger is faster for bursts and costs disk space.
	checkpointPages = 4000
)

// Store is a database in a folder. It implements store.Store and is safe for
// concurrent use.
type Store struct {
	path string
	lock *os.File

	writerDB *sql.DB
	readerDB *sql.DB
	read     *db.Queries

	// turn holds one token: whoever has it owns the fields below.
	turn    chan struct{}
	writer  *sql.Conn
	queries *prepared // on writer
	inserts inserts

	// artefacts orders what stores and what deletes student artefacts.
	artefacts sync.Mutex

	closing  sync.Once
	closed   chan struct{}
	closeErr error
}

// Open opens the database in dir, creates the folder (mode 0700) and the
// database when they are not there, and brings the schema up to date. A
// folder that another process uses, a file that is damaged, not tandem's or
// from a newer tandem, and a disk that cannot be written are refused with a
// *tandem.Error that says what to do.
func Open(ctx context.Context, dir string) (_ *Store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, openError(dir, err)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, openError(dir, err)
	}
	s := &Store{
		path:   filepath.Join(dir, fileName),
		turn:   make(chan struct{}, 1),
		closed: make(chan struct{}),
	}
	s.lock, err = lockFolder(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	// The file is made here and not by SQLite, which would let everybody read
	// it when the folder was there before with a wider mode. The write-ahead
	// log takes over its mode.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, openError(dir, err)
	}
	if err := f.Close(); err != nil {
		return nil, openError(dir, err)
	}
	if err := s.openWriter(ctx); err != nil {
		return nil, err
	}
	s.readerDB, err = sql.Open("sqlite", s.dsn("query_only(1)", "cache_size(-8000)"))
	if err != nil {
		return nil, s.fail("open the database for reading", err)
	}
	s.readerDB.SetMaxOpenConns(readers)
	s.readerDB.SetMaxIdleConns(readers)
	s.read = db.New(s.readerDB)
	s.turn <- struct{}{}
	if err := s.dropLooseChunks(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// dsn names the database file with the pragmas every connection needs.
func (s *Store) dsn(extra ...string) string {
	q := url.Values{"_txlock": {"immediate"}}
	for _, p := range append([]string{
		"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(1)", "trusted_schema(0)",
	}, extra...) {
		q.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(s.path), RawQuery: q.Encode()}).String()
}

// openWriter checks the file, migrates the schema and prepares the one
// connection that writes.
func (s *Store) openWriter(ctx context.Context) error {
	if err := checkHeader(s.path); err != nil {
		return err
	}
	var err error
	s.writerDB, err = sql.Open("sqlite", s.dsn(
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages), "journal_size_limit(67108864)", "cache_size(-32000)"))
	if err != nil {
		return s.fail("open the database", err)
	}
	if err := s.checkOwner(ctx); err != nil {
		return err
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	s.writerDB.SetMaxOpenConns(1)
	s.writer, err = s.writerDB.Conn(ctx)
	if err != nil {
		return s.fail("connect to the database", err)
	}
	s.queries = newPrepared(s.writer)
	return s.prepareInserts(ctx)
}

// checkOwner refuses a database of another program and marks a new one.
func (s *Store) checkOwner(ctx context.Context) error {
	var id, tables int64
	if err := s.writerDB.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return s.fail("read the database", err)
	}
	if err := s.writerDB.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return s.fail("read the database", err)
	}
	switch {
	case id == applicationID:
		return nil
	case id != 0 || tables > 0:
		return tandem.Errorf(tandem.Conflict, "%s is a database of another program; choose another data folder", s.path)
	}
	if _, err := s.writerDB.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return s.fail("mark the new database", err)
	}
	return nil
}

// migrate brings the schema up to date.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, s.writerDB, files)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, newest, err := p.GetVersions(ctx)
	if err != nil {
		return s.fail("read the version of the schema", err)
	}
	if have > newest {
		return tandem.Errorf(tandem.Conflict,
			"%s was written by a newer tandem (schema %d, this one knows up to %d); update tandem or choose another data folder",
			s.path, have, newest)
	}
	if have == newest {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return s.fail("update the schema", err)
	}
	return nil
}

// Check reads the whole database and reports damage.
func (s *Store) Check(ctx context.Context) error {
	rows, err := s.readerDB.QueryContext(ctx, "PRAGMA integrity_check(1)")
	if err != nil {
		return s.fail("check the database", err)
	}
	defer rows.Close()
	for rows.Next() {
		var verdict string
		if err := rows.Scan(&verdict); err != nil {
			return s.fail("check the database", err)
		}
		if verdict != "ok" {
			return s.damaged(errors.New(verdict))
		}
	}
	if err := rows.Err(); err != nil {
		return s.fail("check the database", err)
	}
	return nil
}

// Close waits for the write under way, folds the write-ahead log into the
// database and lets go of the folder. What was acknowledged is on the disk
// already. Later calls of other methods fail; a second Close does nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		<-s.turn
		s.closeErr = s.release()
	})
	return s.closeErr
}

func (s *Store) release() error {
	var errs []error
	if s.readerDB != nil {
		errs = append(errs, s.readerDB.Close())
	}
	if s.writer != nil {
		s.closeInserts()
		errs = append(errs, s.queries.close(), s.writer.Close())
	}
	if s.writerDB != nil {
		errs = append(errs, s.writerDB.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

// write runs do inside one immediate transaction and makes it durable. The
// context bounds the wait for the turn; a transaction once begun runs to its
// end, so that the caller always knows whether it is stored.
func (s *Store) write(ctx context.Context, do func(ctx context.Context, q *db.Queries) error) (err error) {
	select {
	case <-s.closed:
		return errClosed()
	default:
	}
	select {
	case <-s.turn:
	case <-s.closed:
		return errClosed()
	case <-ctx.Done():
		return fmt.Errorf("wait for the database: %w", ctx.Err())
	}
	defer func() { s.turn <- struct{}{} }()

	ctx = context.WithoutCancel(ctx)
	if _, err := s.queries.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	committed := false
	defer func() {
		if committed {
			return
		}
		// The statement's own failure may have rolled back already; then this
		// fails and there is nothing left to do.
		_, _ = s.queries.ExecContext(ctx, "ROLLBACK")
	}()
	if err := do(ctx, db.New(s.queries)); err != nil {
		return err
	}
	if _, err := s.queries.ExecContext(ctx, "COMMIT"); err != nil {
		return err
	}
	committed = true
	return nil
}

func errClosed() error {
	return tandem.Errorf(tandem.Internal, "the database is closed")
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
