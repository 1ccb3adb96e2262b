// Package distill is the learning loop: traces become a dataset, a candidate,
// a certificate and, when it keeps the promise, a promotion.
package distill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/student"
)

// Registry keeps versions and moves them between stages.
type Registry interface {
	// Put stores a version in shadow, with its name and the certificate's id.
	Put(ctx context.Context, v tandem.Version, artefact []byte, c tandem.Certificate) (tandem.Version, tandem.Certificate, error)
	// Promote lets a version serve what its certificate covers.
	Promote(ctx context.Context, task, version, why string) (tandem.Event, error)
}

// Serving is what answers a task now: the student is nil when nothing has been
// learnt, and the certificate is valid when its gate is open.
type Serving struct {
	Version     string
	Student     Predictor
	Certificate tandem.Certificate
	Doubted     bool // the watchdog looks into a warning
}

// Installed is a version that goes live.
type Installed struct {
	Task        string
	Version     string
	Student     *student.Student
	Certificate tandem.Certificate // valid: it serves; otherwise it runs in shadow
}

// Options of a Learner. Reader, Registry, Key, Families and Task are required.
type Options struct {
	Reader   Reader
	Registry Registry
	Key      certify.Key
	Families map[string]student.Family
	Task     func(name string) (*tandem.Task, bool) // the live configuration
	// Live is what answers a task now.
	Live    func(task string) Serving
	Install func(ctx context.Context, in Installed) error
	// Done hears how every training ended.
	Done func(r Report)

	Now      func() time.Time
	Log      *slog.Logger
	Threads  int     // processors a training may use, default 1
	FirstFit int     // labelled requests before the first training, default 150
	Growth   float64 // retrain when the labelled requests have grown by this factor, default 1.3
	MaxRows  int     // newest labelled requests a training reads, default 200,000
	Progress func(task string, done float64)
	// Paraphrase asks the teacher for more examples of rare labels.
	Paraphrase Paraphrase
}

// Learner decides when to train, trains, certifies and promotes.
type Learner struct {
	opt   Options
	mu    sync.Mutex
	tasks map[string]*progress
	wake  chan struct{}
	busy  sync.Mutex // one training at a time: it may use all of its processors

	rewritten map[paraphrased]string // guarded by busy
}

// New makes a learner that knows nothing yet; see Restore.
func New(opt Options) *Learner {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Threads <= 0 {
		opt.Threads = 1
	}
	if opt.FirstFit <= 0 {
		opt.FirstFit = 150
	}
	if opt.Growth <= 1 {
		opt.Growth = 1.3
	}
	if opt.MaxRows <= 0 {
		opt.MaxRows = 200_000
	}
	if opt.Install == nil {
		opt.Install = func(context.Context, Installed) error { return nil }
	}
	if opt.Done == nil {
		opt.Done = func(Report) {}
	}
	if opt.Paraphrase.Rare <= 0 {
		opt.Paraphrase.Rare = 6
	}
	if opt.Paraphrase.Calls <= 0 {
		opt.Paraphrase.Calls = 50
	}
	return &Learner{opt: opt, tasks: map[string]*progress{}, wake: make(chan struct{}, 1), rewritten: map[paraphrased]string{}}
}

// Labelled tells the learner of one more label from the teacher. It is cheap.
func (l *Learner) Labelled(task, label string) {
	l.mu.Lock()
	p := l.progress(task)
	p.labelled++
	if p.known != nil && !p.known[label] {
		p.strange[label]++
	}
	_, due := p.due(l.opt.FirstFit, l.opt.Growth)
	l.mu.Unlock()
	if due {
		l.poke()
	}
}

// Changed tells the learner that what a task's rows meant before the moment is
// no longer how it is: an alarm closed the gate. Certificates from now on use
// only rows after it, and a training under way is given up: it has none.
func (l *Learner) Changed(task string, at time.Time) {
	l.mu.Lock()
	p := l.progress(task)
	p.change, p.sinceChange, p.lastFit, p.serving = at, p.labelled, 0, false
	if p.overtaken != nil {
		p.overtaken()
	}
	l.mu.Unlock()
}

// Restore sets what a task's learning had reached before a restart or an
// import: how many labelled requests there are, how many the newest version
// had seen (0: none), its labels, and when its traffic last changed.
func (l *Learner) Restore(task string, labelled, seen int, labels []string, change time.Time, sinceChange int) {
	l.mu.Lock()
	p := l.progress(task)
	p.labelled, p.change, p.sinceChange = labelled, change, labelled-sinceChange
	p.lastFit = max(0, min(seen, labelled)-p.sinceChange)
	p.learnt(labels)
	l.mu.Unlock()
	l.poke()
}

func (l *Learner) progress(task string) *progress {
	p, ok := l.tasks[task]
	if !ok {
		p = &progress{strange: map[string]int{}}
		l.tasks[task] = p
	}
	return p
}

func (l *Learner) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Due names a task that should be trained now and why.
func (l *Learner) Due() (task string, trigger Trigger, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, p := range l.tasks {
		if _, configured := l.opt.Task(name); !configured {
			continue
		}
		if t, due := p.due(l.opt.FirstFit, l.opt.Growth); due {
			return name, t, true
		}
	}
	return "", "", false
}

// Run trains whenever something is due, until ctx ends.
func (l *Learner) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		for {
			task, trigger, ok := l.Due()
			if !ok || ctx.Err() != nil {
				break
			}
			_, err := l.Refit(ctx, task, trigger)
			switch {
			case errors.Is(err, ErrOvertaken):
				l.opt.Log.Info("training given up", "task", task, "why", err)
			case err != nil && ctx.Err() == nil:
				l.opt.Log.Error("training failed; the next try comes with more labels", "task", task, "error", err)
			}
		}
	}
}

// ErrOvertaken ends a training whose rows an alarm has made worthless.
var ErrOvertaken = errors.New("an alarm said that the traffic has changed; the next training uses what came after it")

// Refit trains a task once, certifies the candidate and promotes it when it
// should be. A task that cannot be trained yet gives a report that says what
// is missing, not an error.
func (l *Learner) Refit(ctx context.Context, name string, trigger Trigger) (Report, error) {
	l.busy.Lock()
	defer l.busy.Unlock()
	task, ok := l.opt.Task(name)
	if !ok {
		return Report{}, tandem.Errorf(tandem.NotFound, "there is no task %q", name)
	}
	l.mu.Lock()
	p := l.progress(name)
	p.begin()
	change := p.change
	ctx, overtaken := context.WithCancelCause(ctx)
	p.overtaken = func() { overtaken(ErrOvertaken) }
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		p.asked, p.begun, p.overtaken = false, false, nil
		l.mu.Unlock()
		overtaken(nil)
	}()

	d, err := load(ctx, l.opt.Reader, l.opt.Key, task, l.opt.Now().UTC().Truncate(time.Microsecond), l.opt.MaxRows)
	if err != nil {
		return Report{}, err
	}
	rep := Report{Task: name, Trigger: trigger, Rows: len(d.train) + len(d.certify), Train: len(d.train), Certify: len(d.certify), Labels: len(d.labels)}
	families, absent := student.Fitting(l.opt.Families, *task)
	rep.Absent = absent
	if why := missing(&d, families); why != "" {
		rep.Why = why
		rep.Certificate = tandem.Certificate{Task: name, Status: tandem.Refused, Why: why, Alpha: task.Guarantee.Alpha, Delta: task.Guarantee.Delta}
		l.opt.Done(rep)
		return rep, nil
	}
	began := time.Now()
	fitted, err := l.fit(ctx, task, families, &d, change)
	if cause := context.Cause(ctx); cause != nil {
		return Report{}, fmt.Errorf("train %s: %w", name, cause)
	}
	if err != nil {
		return Report{}, fmt.Errorf("train %s: %w", name, err)
	}
	rep.TrainSec = time.Since(began).Seconds()
	rep, err = l.decide(ctx, task, &d, fitted, change, rep)
	if err == nil {
		l.opt.Done(rep)
	}
	return rep, err
}

// Learn asks for a training of the task without waiting for it;
// tandem.Conflict when one has been asked for already.
func (l *Learner) Learn(_ context.Context, name, _ string) error {
	if _, ok := l.opt.Task(name); !ok {
		return tandem.Errorf(tandem.NotFound, "there is no task %q", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.progress(name)
	if p.asked {
		return tandem.Errorf(tandem.Conflict, "a training of task %s is under way or about to start", name)
	}
	p.asked = true
	l.poke()
	return nil
}

// missing says what keeps a dataset from being learnt, "" when nothing does.
func missing(d *dataset, families []student.Family) string {
	switch {
	case len(families) == 0:
		return "no family of students can learn this task"
	case len(d.train) < leastRows:
		return fmt.Sprintf("needs about %d more labelled requests before a first training", (leastRows-len(d.train))*3/2+1)
	case len(d.labels) < 2:
		return "the teacher has given one label only so far; a student needs at least two"
	}
	return ""
}

// leastRows is the smallest training side worth a training.
const leastRows = 20

// fit is one training and what it says of its own rows.
type fit struct {
	student *student.Student
	report  student.Report
}

// fit trains on all rows, those from before a change with small weight. Of the
// ways to put members together it keeps the one that promises to serve most
// for its time, judged by the training rows alone.
func (l *Learner) fit(ctx context.Context, task *tandem.Task, families []student.Family, d *dataset, change time.Time) (fit, error) {
	d.forget(change)
	opt := student.Options{Seed: 1, Threads: l.opt.Threads}
	rows, g := len(since(d.certify, change)), task.Guarantee
	test := certify.Test{Alpha: g.Alpha, Delta: g.Delta, Spend: certify.SpendDelta(g.Delta, 1)}.Running(rows)
	opt.Served = func(r *student.Report) float64 {
		return certify.Expect(outOfFold(r, d, task, change), test, rows)
	}
	if l.opt.Progress != nil {
		opt.Progress = func(done float64) { l.opt.Progress(task.Name, done) }
	}
	data := d.examples(change)
	l.paraphrases(ctx, task, d, &data)
	s, rep, err := student.Fit(ctx, families, data, opt)
	return fit{s, rep}, err
}
