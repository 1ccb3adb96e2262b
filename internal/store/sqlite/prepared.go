package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"tandem/internal/store/sqlite/db"
)

// prepared runs the generated queries on one connection and keeps their
// statements: SQLite takes longer to read a small statement than to run it.
// The queries are constants, so that there are never more than a few dozen.
// It must not be used concurrently.
type prepared struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

var _ db.DBTX = (*prepared)(nil)

func newPrepared(conn *sql.Conn) *prepared {
	return &prepared{conn, make(map[string]*sql.Stmt)}
}

// PrepareContext returns the statement of the query; the prepared owns it.
func (p *prepared) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := p.stmts[query]; st != nil {
		return st, nil
	}
	st, err := p.conn.PrepareContext(ctx, query)
	if err == nil {
		p.stmts[query] = st
	}
	return st, err
}

// ExecContext runs a statement.
func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	st, err := p.PrepareContext(ctx, query) //nolint:sqlclosecheck // p keeps it
	if err != nil {
		return nil, err
	}
	return st.ExecContext(ctx, args...)
}

// QueryContext runs a query.
func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := p.PrepareContext(ctx, query) //nolint:sqlclosecheck // p keeps it
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// QueryRowContext runs a query for one row.
func (p *prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	st, err := p.PrepareContext(ctx, query) //nolint:sqlclosecheck // p keeps it
	if err != nil {
		return p.conn.QueryRowContext(ctx, query, args...) // a Row carries its error
	}
	return st.QueryRowContext(ctx, args...)
}

func (p *prepared) close() error {
	var errs []error
	for _, st := range p.stmts {
		errs = append(errs, st.Close())
	}
	clear(p.stmts)
	return errors.Join(errs...)
}
