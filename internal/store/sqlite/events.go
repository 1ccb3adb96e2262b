package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tandem"
	"tandem/internal/store/sqlite/db"
)

// AddEvent stores an event; its ID is assigned, and its time when it has none.
func (s *Store) AddEvent(ctx context.Context, e tandem.Event) error {
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error { return addEvent(ctx, q, e) })
	return s.fail("store an event", err)
}

func addEvent(ctx context.Context, q *db.Queries, e tandem.Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	id, err := q.NextNumber(ctx, "events")
	if err != nil {
		return err
	}
	return q.AddEvent(ctx, db.AddEventParams{
		ID: id, TimeUs: e.Time.UnixMicro(), Task: e.Task, Kind: string(e.Kind), Version: e.Version, Why: e.Why,
	})
}

// Events lists the newest first; task "" means all, limit 0 no limit.
func (s *Store) Events(ctx context.Context, task string, limit int) ([]tandem.Event, error) {
	page := int64(limit)
	if limit <= 0 {
		page = math.MaxInt64
	}
	var rows []db.Event
	var err error
	if task == "" {
		rows, err = s.read.Events(ctx, page)
	} else {
		rows, err = s.read.EventsOfTask(ctx, db.EventsOfTaskParams{Task: task, Page: page})
	}
	if err != nil {
		return nil, s.fail("list events", err)
	}
	out := make([]tandem.Event, len(rows))
	for i, r := range rows {
		out[i] = tandem.Event{
			ID: r.ID, Time: fromMicros(r.TimeUs), Task: r.Task, Kind: tandem.EventKind(r.Kind), Version: r.Version, Why: r.Why,
		}
	}
	return out, nil
}

// Setting returns the stored value; when there is none it stores and returns
// initial.
func (s *Store) Setting(ctx context.Context, name string, initial []byte) ([]byte, error) {
	value, err := s.read.Setting(ctx, name)
	if err == nil {
		return value, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, s.fail("read a setting", err)
	}
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		if err := q.AddSetting(ctx, db.AddSettingParams{Name: name, Value: append([]byte{}, initial...)}); err != nil {
			return err
		}
		value, err = q.Setting(ctx, name) // another writer may have been first
		return err
	})
	if err != nil {
		return nil, s.fail("store a setting", err)
	}
	return value, nil
}

// servingTwice explains the one uniqueness that a caller can break.
func servingTwice(task string, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return &tandem.Error{
			Code: tandem.Conflict, Cause: err,
			Message: "another version of task " + shorten(task) + " serves already; retire it in the same change",
		}
	}
	return err
}
