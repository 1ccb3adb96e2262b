package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"strings"

	"tandem"
	"tandem/internal/store"
	"tandem/internal/store/sqlite/db"
)

const (
	insertColumns = `INSERT INTO traces (id, task, time_us, session, source, answer, step, model, score,
    certified, reason, cost_usd, saved_usd, took_ns, student, student_model, propensity, audit, labelled,
    teacher, teacher_model, outside_space, teacher_again, gold, feedback, input) VALUES `
	// Texts that are mostly empty are bound as NULL when they are, which saves
	// copying nothing into memory of SQLite's and freeing it again.
	insertRow = `(?, ?, ?, COALESCE(?, ''), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, COALESCE(?, ''), COALESCE(?, ''), ?, ?, ?,
    COALESCE(?, ''), COALESCE(?, ''), ?, COALESCE(?, ''), COALESCE(?, ''), COALESCE(?, ''), ?)`
	insertSuffix = ` ON CONFLICT (id) DO NOTHING`
	traceColumns = 26
	// Rows put into one statement: the larger, the fewer calls, with little to
	// gain beyond this.
	rowsAtOnce = 16
)

// errStored says that a row of a batch is stored already.
var errStored = errors.New("trace is stored already")

// rowBuffer holds the arguments of one insert; it is reused by every batch.
type rowBuffer struct {
	args   []driver.NamedValue
	inputs []byte
}

// prepareInserts prepares the two statements of the hot path on the writer's
// own connection. They bypass database/sql, which would spend as much on
// converting arguments as SQLite on storing them.
func (s *Store) prepareInserts(ctx context.Context) error {
	s.rows.args = make([]driver.NamedValue, rowsAtOnce*traceColumns)
	for i := range s.rows.args {
		s.rows.args[i].Ordinal = i + 1
	}
	err := s.writer.Raw(func(conn any) error {
		prepare := func(rows int) (driver.StmtExecContext, error) {
			p, ok := conn.(driver.ConnPrepareContext)
			if !ok {
				return nil, errors.New("the driver cannot prepare statements")
			}
			st, err := p.PrepareContext(ctx, insertColumns+strings.Repeat(insertRow+", ", rows-1)+insertRow+insertSuffix)
			if err != nil {
				return nil, err
			}
			exec, ok := st.(driver.StmtExecContext)
			if !ok {
				return nil, errors.Join(errors.New("the driver cannot run prepared statements"), st.Close())
			}
			return exec, nil
		}
		var err error
		if s.insertOne, err = prepare(1); err != nil {
			return err
		}
		s.insertMany, err = prepare(rowsAtOnce)
		return err
	})
	if err != nil {
		return s.fail("prepare the inserts", err)
	}
	return nil
}

// closeInserts frees the statements; the connection is about to go anyway.
func (s *Store) closeInserts() {
	_ = s.writer.Raw(func(any) error {
		for _, st := range []driver.StmtExecContext{s.insertOne, s.insertMany} {
			if c, ok := st.(driver.Stmt); ok {
				_ = c.Close()
			}
		}
		return nil
	})
}

// Write stores a batch in one durable transaction.
func (s *Store) Write(ctx context.Context, b store.Batch) error {
	if len(b.Traces) == 0 && len(b.Labels) == 0 {
		return nil
	}
	for i := range b.Traces {
		if b.Traces[i].ID == "" || b.Traces[i].Task == "" {
			return tandem.Errorf(tandem.InvalidRequest, "trace %d of the batch has no id or no task", i)
		}
	}
	err := s.writeBatch(ctx, b, s.insertFast)
	if errors.Is(err, errStored) {
		err = s.writeBatch(ctx, b, s.insertNew)
	}
	return s.fail("store traces", err)
}

// writeBatch inserts with the function given, then applies the labels.
func (s *Store) writeBatch(ctx context.Context, b store.Batch, insert func(context.Context, []tandem.Trace, *counts) error) error {
	return s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		var sum counts
		if len(b.Traces) > 0 {
			err := s.writer.Raw(func(any) error { return insert(ctx, b.Traces, &sum) })
			if err != nil {
				return err
			}
		}
		for i := range b.Labels {
			if err := applyLabel(ctx, q, &b.Labels[i], &sum); err != nil {
				return err
			}
		}
		return sum.store(ctx, q)
	})
}

// insertFast inserts many rows a statement. It gives up with errStored as
// soon as one is stored already, since the totals need to know which.
func (s *Store) insertFast(ctx context.Context, traces []tandem.Trace, sum *counts) error {
	for done := 0; done < len(traces); {
		st, n := s.insertMany, rowsAtOnce
		if len(traces)-done < rowsAtOnce {
			st, n = s.insertOne, 1
		}
		inserted, err := s.insert(ctx, st, traces[done:done+n])
		if err != nil {
			return err
		}
		if inserted != int64(n) {
			return errStored
		}
		for i := done; i < done+n; i++ {
			sum.add(&traces[i], 1)
		}
		done += n
	}
	return nil
}

// insertNew inserts row by row and skips what is stored already.
func (s *Store) insertNew(ctx context.Context, traces []tandem.Trace, sum *counts) error {
	for i := range traces {
		inserted, err := s.insert(ctx, s.insertOne, traces[i:i+1])
		if err != nil {
			return err
		}
		if inserted == 1 {
			sum.add(&traces[i], 1)
		}
	}
	return nil
}

// insert runs a prepared statement for as many rows as it has places.
func (s *Store) insert(ctx context.Context, st driver.StmtExecContext, traces []tandem.Trace) (int64, error) {
	var ends [rowsAtOnce]int
	inputs := s.rows.inputs[:0]
	for i := range traces {
		inputs = appendInput(inputs, &traces[i].Input)
		ends[i] = len(inputs)
	}
	if cap(inputs) <= 1<<20 { // one giant input must not occupy memory for ever
		s.rows.inputs = inputs
	}
	args, start := s.rows.args[:len(traces)*traceColumns], 0
	for i := range traces {
		setArgs(args[i*traceColumns:(i+1)*traceColumns], &traces[i], inputs[start:ends[i]:ends[i]])
		start = ends[i]
	}
	r, err := st.ExecContext(ctx, args)
	clearArgs(args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func setArgs(a []driver.NamedValue, t *tandem.Trace, input []byte) {
	a[0].Value = t.ID
	a[1].Value = t.Task
	a[2].Value = t.Time.UnixMicro()
	a[3].Value = orNull(t.Session)
	a[4].Value = string(t.Source)
	a[5].Value = t.Answer
	a[6].Value = string(t.Step)
	a[7].Value = t.Model
	a[8].Value = finite(t.Score)
	a[9].Value = t.Certified
	a[10].Value = string(t.Reason)
	a[11].Value = finite(t.CostUSD)
	a[12].Value = finite(t.SavedUSD)
	a[13].Value = int64(t.Took)
	a[14].Value = orNull(t.Student)
	a[15].Value = orNull(t.StudentModel)
	a[16].Value = finite(t.Propensity)
	a[17].Value = t.Audit
	a[18].Value = t.Labelled
	a[19].Value = orNull(t.Teacher)
	a[20].Value = orNull(t.TeacherModel)
	a[21].Value = t.OutsideSpace
	a[22].Value = orNull(t.TeacherAgain)
	a[23].Value = orNull(t.Gold)
	a[24].Value = orNull(t.Feedback)
	a[25].Value = input
}

func orNull(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}

// clearArgs lets go of the texts of the batch.
func clearArgs(a []driver.NamedValue) {
	for i := range a {
		a[i].Value = nil
	}
}

// finite makes a number storable: databases take NaN for NULL and totals
// would never recover from an infinity. Zero is the safe reading of each of
// the numbers kept here.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// applyLabel merges a label into its trace, if there is one.
func applyLabel(ctx context.Context, q *db.Queries, l *store.Label, sum *counts) error {
	have, err := q.TraceLabel(ctx, l.TraceID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	p := db.LabelTraceParams{
		ID: l.TraceID, Labelled: have.Labelled, Teacher: have.Teacher, TeacherModel: have.TeacherModel,
		OutsideSpace: have.OutsideSpace, TeacherAgain: have.TeacherAgain,
		Gold: have.Gold, Feedback: have.Feedback, CostUsd: have.CostUsd + finite(l.CostUSD),
	}
	if l.Teacher != "" || l.OutsideSpace {
		p.Labelled, p.Teacher, p.TeacherModel, p.OutsideSpace = true, l.Teacher, l.TeacherModel, l.OutsideSpace
	}
	if l.TeacherAgain != "" {
		p.TeacherAgain = l.TeacherAgain
	}
	if l.Gold != "" {
		p.Gold = l.Gold
	}
	if l.Feedback != "" {
		p.Feedback = l.Feedback
	}
	change := sum.of(have.Task)
	change.CostUsd += finite(l.CostUSD)
	if p.Labelled && !have.Labelled {
		change.Labelled++
	}
	return q.LabelTrace(ctx, p)
}

// counts collects the changes of a transaction to the totals, by task.
type counts []db.AddCountsParams

// of returns the change of a task; the pointer is good until the next call.
func (c *counts) of(task string) *db.AddCountsParams {
	for i := range *c {
		if (*c)[i].Task == task {
			return &(*c)[i]
		}
	}
	*c = append(*c, db.AddCountsParams{Task: task})
	return &(*c)[len(*c)-1]
}

// add counts a trace, or takes it off when sign is -1.
func (c *counts) add(t *tandem.Trace, sign int64) {
	p := c.of(t.Task)
	p.Traces += sign
	if t.Labelled {
		p.Labelled += sign
	}
	if t.Step == tandem.StudentStep {
		p.Served += sign
	}
	if t.Certified {
		p.Certified += sign
	}
	p.SavedUsd += float64(sign) * finite(t.SavedUSD)
	p.CostUsd += float64(sign) * finite(t.CostUSD)
}

// store writes the changes. Tasks without any trace left lose their row,
// which also ends the rounding left over from sums of fractions.
func (c *counts) store(ctx context.Context, q *db.Queries) error {
	for _, p := range *c {
		if err := q.AddCounts(ctx, p); err != nil {
			return err
		}
		if p.Traces < 0 {
			if err := q.DropEmptyCounts(ctx, p.Task); err != nil {
				return err
			}
		}
	}
	return nil
}
