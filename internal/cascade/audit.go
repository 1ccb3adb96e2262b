package cascade

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tandem"
	"tandem/internal/provider"
	"tandem/internal/store"
)

// auditDeadline bounds one audit, which nobody waits for.
const auditDeadline = 2 * time.Minute

// jobKind tells why the teacher is asked in the background.
type jobKind int

const (
	auditJob  jobKind = iota // about an accepted answer
	repeatJob                // a second time, to measure the teacher against itself
)

// job is one background question.
type job struct {
	kind       jobKind
	t          *taskPlan
	id         string
	input      tandem.Input
	label      string // the student's answer, or the teacher's first
	propensity float64
}

// auditQueue is a bounded queue whose places are taken before the coin is
// thrown: whoever holds a place can always push.
type auditQueue struct {
	jobs  chan job
	taken atomic.Int64
	lost  atomic.Int64 // accepted answers that could not be audited for want of a place
}

func newAuditQueue(n int) *auditQueue { return &auditQueue{jobs: make(chan job, n)} }

func (q *auditQueue) reserve() bool {
	if q.taken.Add(1) > int64(cap(q.jobs)) {
		q.taken.Add(-1)
		q.lost.Add(1)
		return false
	}
	return true
}

func (q *auditQueue) release()   { q.taken.Add(-1) }
func (q *auditQueue) push(j job) { q.jobs <- j }

// AuditBacklog says how many audits wait or run, and how many accepted answers
// could not be considered for one because the queue was full.
func (c *Cascade) AuditBacklog() (waiting, lost int64) {
	return c.audits.taken.Load(), c.audits.lost.Load()
}

// Run asks audits until ctx ends, then drops what waits: an audit without an
// answer counts for nothing.
func (c *Cascade) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range c.opt.AuditAtOnce {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-c.audits.jobs:
					c.ask(ctx, j)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// AuditOne asks one waiting audit on the caller's goroutine and says whether
// there was one. Benchmarks use it in place of Run.
func (c *Cascade) AuditOne(ctx context.Context) bool {
	select {
	case j := <-c.audits.jobs:
		c.ask(ctx, j)
		return true
	default:
		return false
	}
}

// ask puts one background question and hands its answer on.
func (c *Cascade) ask(ctx context.Context, j job) {
	defer c.audits.release()
	ctx, cancel := context.WithTimeout(ctx, auditDeadline)
	defer cancel()
	teacher := j.t.spec.Teacher
	out, err := provider.Ask(ctx, teacher.Model, &j.t.spec.Task, j.input, teacher.Policy)
	task := j.t.spec.Task.Name
	cost := teacher.Price.Cost(out.Usage)
	if err != nil {
		// The trace stays an audit without a label and certifies nothing.
		if j.kind == auditJob {
			c.opt.Observer.Audited(task, tandem.AuditFailed, cost)
		}
		return
	}
	if j.kind == repeatJob {
		again := out.Label
		_ = c.opt.Recorder.Label(ctx, store.Label{TraceID: j.id, TeacherAgain: again, CostUSD: cost}) // counted by the log
		return
	}
	_ = c.opt.Recorder.Label(ctx, store.Label{ // counted by the log
		TraceID: j.id, Teacher: out.Label, TeacherModel: out.Model, OutsideSpace: out.OutsideSpace, CostUSD: cost,
	})
	wrong := out.OutsideSpace || out.Label != j.label
	result := tandem.Agreed
	if wrong {
		result = tandem.Disagreed
	}
	c.opt.Observer.Audited(task, result, cost)
	if !out.OutsideSpace {
		c.opt.OnLabel(task, out.Label)
	}
	c.watch(ctx, j.t, Outcome{Propensity: j.propensity, Wrong: wrong})
}

// Alarm says that the watchdog closed a gate, or warned of drift.
type Alarm struct {
	Task    string
	Version string
	Time    time.Time
	Why     string
}

// watch feeds the watchdog under which an audited answer was given and acts on
// its verdict.
func (c *Cascade) watch(ctx context.Context, t *taskPlan, o Outcome) {
	if t.watch == nil || t.state.watch.Load() != t.watch {
		return // an alarm has ended that watch
	}
	v, begins, ends := t.watch.observe(o)
	task, teacher, now := t.spec.Task.Name, t.spec.Teacher.Name, c.opt.Now()
	switch {
	case v.Alarm:
		why := fmt.Sprintf("%s; the gate is closed and %s answers everything until a new certificate", v.Why, teacher)
		if version, done := c.close(task, t.watch, why, now); done {
			c.opt.OnAlarm(ctx, Alarm{Task: task, Version: version, Time: now, Why: version + ": " + why})
		}
	case begins:
		next := c.refresh(task)
		if next == nil || next.live == nil {
			return
		}
		version := next.live.Version
		why := fmt.Sprintf("%s: %s; %s of its answers are audited for a while, and nothing is promoted", version, v.Why, percent(next.rate))
		c.opt.OnDrift(ctx, Alarm{Task: task, Version: version, Time: now, Why: why})
	case ends:
		c.refresh(task)
	}
}
