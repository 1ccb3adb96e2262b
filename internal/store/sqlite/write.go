package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"slices"
	"strings"

	"tandem"
	"tandem/internal/store"
	"tandem/internal/store/sqlite/db"
)

const (
	insertColumns = `INSERT INTO traces (id, task, time_us, session, source, answer, step, model, score,
    certified, reason, cost_usd, saved_usd, took_ns, student, student_model, propensity, audit, labelled,
    teacher, teacher_model, outside_space, teacher_again, gold, feedback, input) VALUES `
	insertSuffix = ` ON CONFLICT (id) DO NOTHING`
	// Rows put into one statement: the larger, the fewer calls, with little to
	// gain beyond this.
	rowsAtOnce = 16
)

// rowForm is a form of row with its own statements.
type rowForm struct {
	values string
	args   int
	set    func(a []driver.NamedValue, t *tandem.Trace, input []byte)
}

// rowForms are tried in order. Most traces are of answers that a student gave
// and nobody checked; binding a parameter costs about as much as storing it,
// so that theirs are the columns that differ.
var rowForms = [...]rowForm{
	{
		values: `(?, ?, ?, '', 'live', ?, 'student', ?, ?, TRUE, 'accepted', 0.0, ?, ?, ?, ?, ?,
    FALSE, FALSE, '', '', FALSE, '', '', '', ?)`,
		args: 12,
		set: func(a []driver.NamedValue, t *tandem.Trace, input []byte) {
			a[0].Value = t.ID
			a[1].Value = t.Task
			a[2].Value = t.Time.UnixMicro()
			a[3].Value = t.Answer
			a[4].Value = t.Model
			a[5].Value = finite(t.Score)
			a[6].Value = finite(t.SavedUSD)
			a[7].Value = int64(t.Took)
			a[8].Value = t.Student
			a[9].Value = t.StudentModel
			a[10].Value = finite(t.Propensity)
			a[11].Value = input
		},
	},
	{
		// Texts that are mostly empty are bound as NULL when they are, which
		// saves copying nothing into memory of SQLite's and freeing it again.
		values: `(?, ?, ?, COALESCE(?, ''), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, COALESCE(?, ''),
    COALESCE(?, ''), ?, ?, ?, COALESCE(?, ''), COALESCE(?, ''), ?, COALESCE(?, ''),
    COALESCE(?, ''), COALESCE(?, ''), ?)`,
		args: 26,
		set:  setArgs,
	},
}

// formOf chooses the form of a trace.
func formOf(t *tandem.Trace) int {
	if t.Step == tandem.StudentStep && t.Reason == tandem.Accepted && t.Certified && t.Source == tandem.Live &&
		t.CostUSD == 0 && t.Session == "" && !t.Audit && !t.Labelled && !t.OutsideSpace &&
		t.Teacher == "" && t.TeacherModel == "" && t.TeacherAgain == "" && t.Gold == "" && t.Feedback == "" {
		return 0
	}
	return 1
}

// statement is the SQL that inserts so many rows of the form. Its parameters
// are nameless, ?1 would be a name too: the driver looks for names one by one.
func (f *rowForm) statement(rows int) string {
	return insertColumns + strings.Repeat(f.values+", ", rows-1) + f.values + insertSuffix
}

// errStored says that a row of a batch is stored already.
var errStored = errors.New("trace is stored already")

// inserts are the prepared statements of the hot path and what their
// arguments are kept in; they are reused by every batch.
type inserts struct {
	one, many [len(rowForms)]driver.StmtExecContext
	args      []driver.NamedValue
	inputs    []byte
}

// prepareInserts prepares the statements on the writer's own connection. They
// bypass database/sql, which would spend as much on converting arguments as
// SQLite on storing them.
func (s *Store) prepareInserts(ctx context.Context) error {
	err := s.writer.Raw(func(conn any) error {
		p, ok := conn.(driver.ConnPrepareContext)
		if !ok {
			return errors.New("the driver cannot prepare statements")
		}
		for i := range rowForms {
			f := &rowForms[i]
			for n := len(s.inserts.args); n < rowsAtOnce*f.args; n++ {
				s.inserts.args = append(s.inserts.args, driver.NamedValue{Ordinal: n + 1})
			}
			var err error
			if s.inserts.one[i], err = prepareExec(ctx, p, f.statement(1)); err != nil {
				return err
			}
			if s.inserts.many[i], err = prepareExec(ctx, p, f.statement(rowsAtOnce)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return s.fail("prepare the inserts", err)
	}
	return nil
}

func prepareExec(ctx context.Context, p driver.ConnPrepareContext, query string) (driver.StmtExecContext, error) {
	st, err := p.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	exec, ok := st.(driver.StmtExecContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver cannot run prepared statements"), st.Close())
	}
	return exec, nil
}

// closeInserts frees the statements; the connection is about to go anyway.
func (s *Store) closeInserts() {
	_ = s.writer.Raw(func(any) error {
		for _, st := range slices.Concat(s.inserts.one[:], s.inserts.many[:]) {
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

// insertFast inserts many rows of one form a statement. It gives up with
// errStored as soon as one is stored already, since the totals need to know
// which.
func (s *Store) insertFast(ctx context.Context, traces []tandem.Trace, sum *counts) error {
	for done := 0; done < len(traces); {
		form, n := formOf(&traces[done]), 1
		for n < rowsAtOnce && done+n < len(traces) && formOf(&traces[done+n]) == form {
			n++
		}
		st := s.inserts.many[form]
		if n < rowsAtOnce {
			st, n = s.inserts.one[form], 1
		}
		inserted, err := s.insert(ctx, st, form, traces[done:done+n])
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
		form := formOf(&traces[i])
		inserted, err := s.insert(ctx, s.inserts.one[form], form, traces[i:i+1])
		if err != nil {
			return err
		}
		if inserted == 1 {
			sum.add(&traces[i], 1)
		}
	}
	return nil
}

// insert runs a prepared statement of the form for as many rows as it has
// places.
func (s *Store) insert(ctx context.Context, st driver.StmtExecContext, form int, traces []tandem.Trace) (int64, error) {
	var ends [rowsAtOnce]int
	inputs := s.inserts.inputs[:0]
	for i := range traces {
		inputs = appendInput(inputs, &traces[i].Input)
		ends[i] = len(inputs)
	}
	if cap(inputs) <= 1<<20 { // one giant input must not occupy memory for ever
		s.inserts.inputs = inputs
	}
	f := &rowForms[form]
	args, start := s.inserts.args[:len(traces)*f.args], 0
	for i := range traces {
		f.set(args[i*f.args:(i+1)*f.args], &traces[i], inputs[start:ends[i]:ends[i]])
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
