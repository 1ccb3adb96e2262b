// Package cascade is the request path: it answers a task's request with the
// cheapest step whose gate accepts, the teacher last, and says why.
//
// The live plan is an immutable snapshot behind an atomic pointer. Requests
// read it once; Configure, Install, Close and the watchdog replace it under
// one lock.
package cascade

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/provider"
	"tandem/internal/store"
)

// Recorder is the learning log as the cascade uses it.
type Recorder interface {
	// Append never blocks.
	Append(t tandem.Trace) tandem.Recorded
	// Record waits for durability until ctx ends.
	Record(ctx context.Context, t tandem.Trace) tandem.Recorded
	// Label adds what became known after the reply; it waits for room until
	// ctx ends.
	Label(ctx context.Context, l store.Label) error
}

// Observer hears of every decision, on the request's goroutine.
type Observer interface {
	Decided(d *tandem.Decision)
	Audited(task string, result tandem.AuditResult, costUSD float64)
}

// Options of a Cascade. Recorder, Observer and Key are required.
type Options struct {
	Recorder Recorder
	Observer Observer
	Key      certify.Key // of the hashes that split, audit and repeat

	// OnLabel hears of every label the teacher gave to live traffic.
	OnLabel func(task, label string)
	// OnAlarm hears that the watchdog closed a task's gate. It may block.
	OnAlarm func(ctx context.Context, a Alarm)
	// OnDrift hears of a warning, after which more is audited. It may block.
	OnDrift func(ctx context.Context, a Alarm)

	Now func() time.Time // default time.Now
	// NewID makes the ids of traces; default UUIDs of version 7, which come in
	// order of time.
	NewID       func() (string, error)
	AuditQueue  int           // audits waiting or running at most, default 256
	AuditAtOnce int           // audits running at most, default 8
	StoreWait   time.Duration // how long a teacher's answer waits for its trace to be durable, default 250 ms
}

// Cascade answers requests. Run must be running for audits to be asked.
type Cascade struct {
	opt    Options
	live   atomic.Pointer[plan]
	mu     sync.Mutex // serialises replacing the plan
	audits *auditQueue
}

// New makes a cascade without tasks.
func New(opt Options) *Cascade {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.NewID == nil {
		opt.NewID = newID
	}
	if opt.AuditQueue <= 0 {
		opt.AuditQueue = 256
	}
	if opt.AuditAtOnce <= 0 {
		opt.AuditAtOnce = 8
	}
	if opt.StoreWait <= 0 {
		opt.StoreWait = 250 * time.Millisecond
	}
	if opt.OnLabel == nil {
		opt.OnLabel = func(string, string) {}
	}
	if opt.OnAlarm == nil {
		opt.OnAlarm = func(context.Context, Alarm) {}
	}
	if opt.OnDrift == nil {
		opt.OnDrift = func(context.Context, Alarm) {}
	}
	c := &Cascade{opt: opt, audits: newAuditQueue(opt.AuditQueue)}
	c.live.Store(&plan{tasks: map[string]*taskPlan{}})
	return c
}

// Answer answers one request. Its errors are *tandem.Error.
func (c *Cascade) Answer(ctx context.Context, req tandem.Request) (tandem.Decision, error) {
	start := c.opt.Now()
	p := c.live.Load()
	t, ok := p.tasks[req.Task]
	if !ok {
		return tandem.Decision{}, p.unknownTask(req.Task)
	}
	if err := req.Input.Check(t.spec.Task.Takes, t.spec.Task.InputBytes); err != nil {
		return tandem.Decision{}, err
	}
	id, err := c.opt.NewID()
	if err != nil {
		return tandem.Decision{}, &tandem.Error{Code: tandem.Internal, Message: "no randomness for a trace id", Cause: err}
	}
	r := request{t: t, req: req, id: id, start: start}
	r.try = try(t, &req)
	if r.try.reason == tandem.Accepted {
		return c.serve(&r), nil
	}
	return c.teach(ctx, &r)
}

func newID() (string, error) {
	id, err := uuid.NewV7()
	return id.String(), err
}

// request is one request on its way through the steps.
type request struct {
	t     *taskPlan
	req   tandem.Request
	id    string
	start time.Time
	try   attempt
}

// attempt is what the student step did.
type attempt struct {
	ran    bool
	label  string
	score  float64
	reason tandem.Reason
}

// try runs the student step and its gate. It allocates nothing.
func try(t *taskPlan, req *tandem.Request) attempt {
	if t.live == nil {
		return attempt{reason: tandem.NoStudent}
	}
	pred := t.live.Student.Predict(&req.Input)
	a := attempt{ran: true, label: t.live.Student.Labels()[pred.Label], score: pred.Score}
	accept, reason := t.gate.Decide(pred.Score)
	switch {
	case req.Teacher:
		a.reason = tandem.Forced
	case !t.gate.Open && t.live.Certificate.Status == tandem.Withdrawn:
		a.reason = tandem.GateClosed
	case !t.gate.Open:
		a.reason = tandem.NotCertified
	case accept && t.never[pred.Label]:
		a.reason = tandem.NeverServed
	default:
		a.reason = reason
	}
	return a
}

// serve answers with the student's label and throws the audit's coin.
func (c *Cascade) serve(r *request) tandem.Decision {
	t := r.t
	d := tandem.Decision{
		TraceID: r.id, Task: r.req.Task,
		Answer: r.try.label, Step: tandem.StudentStep, Model: t.live.Version,
		Score: r.try.score, Certified: true,
		Reason: tandem.Accepted, Why: t.words[tandem.Accepted],
		SavedUSD: t.state.meanCost(),
	}
	// The place is taken before the coin is thrown, so that a full queue makes
	// the propensity 0 instead of making the recorded one a lie.
	if c.audits.reserve() {
		d.Propensity = t.rate
	}
	audit := c.opt.Key.Audit(r.id, d.Propensity)
	d.Took = c.opt.Now().Sub(r.start)
	tr := c.trace(r, &d)
	tr.Audit = audit
	d.Recorded = c.opt.Recorder.Append(tr)
	switch {
	case audit:
		c.audits.push(job{kind: auditJob, t: t, id: r.id, input: r.req.Input, label: d.Answer, propensity: d.Propensity})
	case d.Propensity > 0:
		c.audits.release()
	}
	c.opt.Observer.Decided(&d)
	return d
}

// teach asks the teacher.
func (c *Cascade) teach(ctx context.Context, r *request) (tandem.Decision, error) {
	t := r.t
	if t.spec.Task.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.spec.Task.Deadline)
		defer cancel()
	}
	asked := c.opt.Now()
	out, err := provider.Ask(ctx, t.spec.Teacher.Model, &t.spec.Task, r.req.Input, t.spec.Teacher.Policy)
	took := c.opt.Now().Sub(asked)
	d := tandem.Decision{
		TraceID: r.id, Task: r.req.Task, Step: tandem.ProviderStep, Model: t.spec.Teacher.Name,
		Usage: out.Usage, CostUSD: t.spec.Teacher.Price.Cost(out.Usage), Recording: out.Recording,
		Reason: r.try.reason, Why: t.words[r.try.reason],
	}
	if r.try.ran {
		d.Attempts = append(d.Attempts, tandem.Attempt{
			Step: tandem.StudentStep, Model: t.live.Version, Label: r.try.label, Score: r.try.score, Reason: r.try.reason,
		})
	}
	last := tandem.Attempt{
		Step: tandem.ProviderStep, Model: t.spec.Teacher.Name, Label: out.Label, Reason: tandem.LastStep,
		Error: tandem.CodeOf(failure(err)), Usage: out.Usage, CostUSD: d.CostUSD, Took: took,
	}
	if err != nil {
		last.Reason = tandem.TeacherFailed
	}
	d.Attempts = append(d.Attempts, last)
	if err != nil {
		return c.fallBack(ctx, r, d, err)
	}

	d.Answer, d.Score, d.Certified = out.Label, 1, true
	// A caller who picks which requests go to the teacher makes a biased
	// sample: such rows teach, but certify nothing.
	if !r.req.Teacher {
		d.Propensity = 1
	}
	if out.OutsideSpace {
		d.Reason, d.Why = tandem.OutsideSpace, t.words[tandem.OutsideSpace]
	} else {
		t.state.addCost(d.CostUSD)
	}
	d.Took = c.opt.Now().Sub(r.start)
	tr := c.trace(r, &d)
	tr.Labelled, tr.Teacher, tr.TeacherModel, tr.OutsideSpace = true, out.Label, out.Model, out.OutsideSpace
	d.Recorded = c.record(ctx, tr)
	if !out.OutsideSpace {
		c.opt.OnLabel(r.req.Task, out.Label)
		if c.opt.Key.Repeat(r.id, t.spec.Task.RepeatRate) && c.audits.reserve() {
			c.audits.push(job{kind: repeatJob, t: t, id: r.id, input: r.req.Input, label: out.Label})
		}
	}
	c.opt.Observer.Decided(&d)
	return d, nil
}

// record stores a teacher's answer and waits a little for it to be durable: it
// cost money and the caller may rely on it.
func (c *Cascade) record(ctx context.Context, tr tandem.Trace) tandem.Recorded {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opt.StoreWait)
	defer cancel()
	return c.opt.Recorder.Record(ctx, tr)
}

// fallBack answers, or not, after the teacher failed.
func (c *Cascade) fallBack(ctx context.Context, r *request, d tandem.Decision, err error) (tandem.Decision, error) {
	t := r.t
	d.Reason, d.Why = tandem.TeacherFailed, t.words[tandem.TeacherFailed]
	// A deadline is what the fallback is for; a caller who hung up gets nothing.
	answer := t.spec.Task.Fallback == tandem.FallbackBest && r.try.ran && !errors.Is(ctx.Err(), context.Canceled)
	if answer {
		d.Answer, d.Step, d.Model, d.Score = r.try.label, tandem.StudentStep, t.live.Version, r.try.score
	}
	d.Took = c.opt.Now().Sub(r.start)
	d.Recorded = c.opt.Recorder.Append(c.trace(r, &d))
	c.opt.Observer.Decided(&d)
	if answer {
		return d, nil
	}
	return d, failure(err)
}

// failure turns a provider's error into the one callers see.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*provider.Error](err); ok {
		return &tandem.Error{Code: e.Code, Message: e.Message, Cause: e.Cause}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &tandem.Error{Code: tandem.TeacherTimeout, Message: "the large model did not answer within the task's deadline; raise it or try again", Cause: err}
	}
	return &tandem.Error{Code: tandem.TeacherUnavailable, Message: "the large model could not be asked; try again", Cause: err}
}

// trace is the learning record of a decision.
func (c *Cascade) trace(r *request, d *tandem.Decision) tandem.Trace {
	tr := tandem.Trace{
		ID: r.id, Task: r.req.Task, Time: r.start.UTC().Truncate(time.Microsecond),
		Input: r.req.Input, Source: tandem.Live,
		Answer: d.Answer, Step: d.Step, Model: d.Model, Score: d.Score,
		Certified: d.Certified, Reason: d.Reason,
		CostUSD: d.CostUSD, SavedUSD: d.SavedUSD, Took: d.Took, Propensity: d.Propensity,
	}
	if r.req.Session != "" {
		tr.Session = c.opt.Key.Unit(r.req.Session)
	}
	if r.try.ran {
		tr.Student, tr.StudentModel = r.try.label, r.t.live.Version
	}
	return tr
}
