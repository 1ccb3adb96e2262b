package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"tandem"
	"tandem/internal/store"
	"tandem/internal/store/sqlite/db"
)

const (
	firstPage = 32
	largePage = 512
	pageBytes = 4 << 20 // what a page should hold at most, by the size of the page before
)

// Trace returns one trace.
func (s *Store) Trace(ctx context.Context, id string) (tandem.Trace, error) {
	row, err := s.read.TraceByID(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		return tandem.Trace{}, tandem.Errorf(tandem.NotFound, "there is no trace %q; it may have expired", shorten(id))
	}
	if err != nil {
		return tandem.Trace{}, s.fail("read a trace", err)
	}
	return s.decodeTrace(&row)
}

// Stats counts the traces of a task.
func (s *Store) Stats(ctx context.Context, task string) (store.TaskStats, error) {
	c, err := s.read.Counts(ctx, task)
	if errors.Is(err, sql.ErrNoRows) {
		return store.TaskStats{}, nil
	}
	if err != nil {
		return store.TaskStats{}, s.fail("count traces", err)
	}
	return store.TaskStats{
		Traces: int(c.Traces), Labelled: int(c.Labelled), Served: int(c.Served), Certified: int(c.Certified),
		SavedUSD: c.SavedUsd, CostUSD: c.CostUsd,
	}, nil
}

// Expire deletes a task's traces older than the time, at most limit of them,
// oldest first.
func (s *Store) Expire(ctx context.Context, task string, before time.Time, limit int) (int, error) {
	n := 0
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		gone, err := q.ExpireTraces(ctx, db.ExpireTracesParams{Task: task, BeforeUs: before.UnixMicro(), Page: int64(max(limit, 0))})
		if err != nil {
			return err
		}
		n = len(gone)
		var sum counts
		for i := range gone {
			sum.add(&tandem.Trace{
				Task: task, Labelled: gone[i].Labelled, Step: tandem.StepKind(gone[i].Step),
				Certified: gone[i].Certified, SavedUSD: gone[i].SavedUsd, CostUSD: gone[i].CostUsd,
			}, -1)
		}
		return sum.store(ctx, q)
	})
	if err != nil {
		return 0, s.fail("delete old traces", err)
	}
	return n, nil
}

// Traces yields what matches q. It reads page after page, so that a slow
// reader keeps neither a connection nor the write-ahead log from shrinking.
func (s *Store) Traces(ctx context.Context, q store.Query) iter.Seq2[tandem.Trace, error] {
	return func(yield func(tandem.Trace, error) bool) {
		if err := s.traces(ctx, q, yield); err != nil {
			yield(tandem.Trace{}, err)
		}
	}
}

func (s *Store) traces(ctx context.Context, q store.Query, yield func(tandem.Trace, error) bool) error {
	from, err := s.start(ctx, q)
	if err != nil {
		return err
	}
	tasks := []string{q.Task}
	if q.Task == "" {
		if tasks, err = s.read.TasksWithTraces(ctx); err != nil {
			return s.fail("list tasks", err)
		}
	}
	// Each task is read in order by an index; the next trace of all is the
	// first of the heads.
	var heads []*pager
	for _, task := range tasks {
		p := &pager{s: s, q: q, task: task, at: from, size: firstPage}
		if q.Limit > 0 {
			p.size = min(p.size, q.Limit)
		}
		more, err := p.fill(ctx)
		if err != nil {
			return err
		}
		if more {
			heads = append(heads, p)
		}
	}
	for left := q.Limit; len(heads) > 0; {
		first := 0
		for i := 1; i < len(heads); i++ {
			if heads[i].head().before(heads[first].head(), q.Newest) {
				first = i
			}
		}
		p := heads[first]
		t, err := s.decodeTrace(&p.page[0])
		if err != nil {
			return err
		}
		if !yield(t, nil) {
			return nil
		}
		if left--; left == 0 {
			return nil
		}
		p.page = p.page[1:]
		more, err := p.fill(ctx)
		if err != nil {
			return err
		}
		if !more {
			heads = append(heads[:first], heads[first+1:]...)
		}
	}
	return nil
}

// position is a place in the time order; traces of one time are ordered by id.
type position struct {
	us int64
	id string
}

// before reports whether a comes first in the order asked for.
func (a position) before(b position, newest bool) bool {
	if newest {
		a, b = b, a
	}
	return a.us < b.us || a.us == b.us && a.id < b.id
}

// start is the position after which q begins. No id is empty, so a time with
// the empty id lies just before the first trace of that time.
func (s *Store) start(ctx context.Context, q store.Query) (position, error) {
	from := position{us: math.MinInt64}
	switch {
	case q.Newest && !q.Until.IsZero():
		from.us = q.Until.UnixMicro()
	case q.Newest:
		from.us = math.MaxInt64
	case !q.Since.IsZero():
		from.us = q.Since.UnixMicro()
	}
	if q.After == "" {
		return from, nil
	}
	at, err := s.read.TracePosition(ctx, q.After)
	if errors.Is(err, sql.ErrNoRows) {
		return position{}, tandem.Errorf(tandem.NotFound,
			"there is no trace %q to continue after; it may have expired, start again without it", shorten(q.After))
	}
	if err != nil {
		return position{}, s.fail("find a trace", err)
	}
	if p := (position{at.TimeUs, q.After}); from.before(p, q.Newest) {
		from = p
	}
	return from, nil
}

// pager reads one task's traces in order.
type pager struct {
	s    *Store
	q    store.Query
	task string
	at   position // the last trace read
	size int
	last bool // no more pages
	page []db.Trace
}

func (p *pager) head() position { return position{p.page[0].TimeUs, p.page[0].ID} }

// fill reads the next page when the present one is used up and reports
// whether there is a head.
func (p *pager) fill(ctx context.Context) (bool, error) {
	if len(p.page) > 0 {
		return true, nil
	}
	if p.last {
		return false, nil
	}
	rows, err := p.next(ctx)
	if err != nil {
		return false, p.s.fail("read traces", err)
	}
	p.page, p.last = rows, len(rows) < p.size
	if len(rows) == 0 {
		return false, nil
	}
	end := &rows[len(rows)-1]
	p.at = position{end.TimeUs, end.ID}
	total := 1
	for i := range rows {
		total += len(rows[i].Input) + len(rows[i].Teacher) + len(rows[i].Answer) + len(rows[i].Feedback)
	}
	p.size = max(1, min(largePage, pageBytes/max(1, total/len(rows)), 4*p.size))
	return true, nil
}

func (p *pager) next(ctx context.Context) ([]db.Trace, error) {
	since, until := int64(math.MinInt64), int64(math.MaxInt64)
	if !p.q.Since.IsZero() {
		since = p.q.Since.UnixMicro()
	}
	if !p.q.Until.IsZero() {
		until = p.q.Until.UnixMicro()
	}
	page := int64(p.size)
	switch {
	case p.q.Audited != "" && p.q.Newest:
		return p.s.read.AuditedNewest(ctx, db.AuditedNewestParams{
			Task: p.task, Model: p.q.Audited, BeforeUs: p.at.us, BeforeID: p.at.id, SinceUs: since, Page: page,
		})
	case p.q.Audited != "":
		return p.s.read.AuditedOldest(ctx, db.AuditedOldestParams{
			Task: p.task, Model: p.q.Audited, AfterUs: p.at.us, AfterID: p.at.id, UntilUs: until, Page: page,
		})
	case p.q.Newest:
		return p.s.read.TracesNewest(ctx, db.TracesNewestParams{
			Task: p.task, BeforeUs: p.at.us, BeforeID: p.at.id, SinceUs: since, Unlabelled: !p.q.Labelled, Page: page,
		})
	default:
		return p.s.read.TracesOldest(ctx, db.TracesOldestParams{
			Task: p.task, AfterUs: p.at.us, AfterID: p.at.id, UntilUs: until, Unlabelled: !p.q.Labelled, Page: page,
		})
	}
}

func (s *Store) decodeTrace(r *db.Trace) (tandem.Trace, error) {
	in, err := decodeInput(r.Input)
	if err != nil {
		return tandem.Trace{}, s.damaged(fmt.Errorf("trace %s: %w", r.ID, err))
	}
	return tandem.Trace{
		ID: r.ID, Task: r.Task, Time: fromMicros(r.TimeUs), Session: r.Session, Input: in, Source: tandem.Source(r.Source),
		Answer: r.Answer, Step: tandem.StepKind(r.Step), Model: r.Model, Score: r.Score, Certified: r.Certified,
		Reason: tandem.Reason(r.Reason), CostUSD: r.CostUsd, SavedUSD: r.SavedUsd, Took: time.Duration(r.TookNs),
		Student: r.Student, StudentModel: r.StudentModel, Propensity: r.Propensity, Audit: r.Audit,
		Labelled: r.Labelled, Teacher: r.Teacher, TeacherModel: r.TeacherModel, OutsideSpace: r.OutsideSpace,
		TeacherAgain: r.TeacherAgain, Gold: r.Gold, Feedback: r.Feedback,
	}, nil
}

// shorten keeps a name given by a caller fit for a message.
func shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
