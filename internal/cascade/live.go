package cascade

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tandem"
	"tandem/internal/certify"
)

// driftDelta is one over the mean number of audits between false drift
// warnings. A warning only raises the audit rate, so it may come often.
const driftDelta = 1.0 / 2000

// closerLook multiplies the audit rate for closerFor audits after a warning.
const (
	closerLook = 4
	closerFor  = 300
)

// taskState is what outlives a plan: the running mean of the teacher's cost
// and the watchdog.
type taskState struct {
	cost    atomic.Uint64 // bits of the mean cost of a teacher's answer, US dollars
	changed time.Time     // when an alarm last said that the traffic is another; guarded by Cascade.mu
	watch   atomic.Pointer[watchdog]
}

// meanCost is what one more question to the teacher would have cost, by the
// recent ones; 0 before the first.
func (s *taskState) meanCost() float64 { return math.Float64frombits(s.cost.Load()) }

// addCost moves the mean by one answer.
func (s *taskState) addCost(usd float64) {
	const weight = 0.02
	for {
		old := s.cost.Load()
		mean := math.Float64frombits(old)
		if mean == 0 {
			mean = usd
		} else {
			mean += weight * (usd - mean)
		}
		if s.cost.CompareAndSwap(old, math.Float64bits(mean)) {
			return
		}
	}
}

// watchdog guards the promise of a task since its gate last opened after an
// alarm. Promotions do not restart it: the promise is about the answers given,
// whichever version gave them, and a change that a new version shares must not
// be forgotten with the old one.
type watchdog struct {
	mu      sync.Mutex
	monitor *certify.Monitor
	alpha   float64
	delta   float64
	closer  int // while Audits is below, answers are audited more often
}

func newWatchdog(g tandem.Guarantee) *watchdog {
	return &watchdog{monitor: certify.NewMonitor(g.Alpha, g.Delta, driftDelta), alpha: g.Alpha, delta: g.Delta}
}

// observe takes one audit and says whether the closer look begins or ends.
func (w *watchdog) observe(o Outcome) (v certify.Verdict, begins, ends bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	looking := w.looking()
	v = w.monitor.Observe(o.Propensity, o.Wrong)
	if v.Drift {
		w.closer = w.monitor.Audits() + closerFor
	}
	return v, w.looking() && !looking, looking && !w.looking()
}

func (w *watchdog) looking() bool { return w.monitor.Audits() < w.closer }

// rate is the audit rate a task has under this watchdog.
func (w *watchdog) rate(base float64) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looking() {
		return min(1, closerLook*base)
	}
	return base
}

// Outcome is one audited answer of the past, in time order.
type Outcome struct {
	Propensity float64
	Wrong      bool
}

// Configure replaces the tasks. Live students of tasks that stay keep serving
// as long as the promise is still the one they were certified for; requests
// under way finish with the plan they began with.
func (c *Cascade) Configure(specs []Spec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.live.Load()
	next := &plan{tasks: make(map[string]*taskPlan, len(specs))}
	for _, s := range specs {
		name := s.Task.Name
		if was, ok := old.tasks[name]; ok {
			live := was.live
			if live != nil && !keeps(live.Certificate, s.Task.Guarantee) {
				shadow := *live
				shadow.Certificate.Status = tandem.Replaced
				shadow.Certificate.Why = "the task's guarantee was made stricter; it must be certified anew"
				live = &shadow
			}
			next.tasks[name] = newTaskPlan(s, live, was.state)
			continue
		}
		next.tasks[name] = newTaskPlan(s, nil, &taskState{})
	}
	c.live.Store(next)
}

// keeps reports whether a certificate covers what a task promises now.
func keeps(c tandem.Certificate, g tandem.Guarantee) bool {
	return c.Status != tandem.Valid || (c.Alpha <= g.Alpha && c.Delta <= g.Delta)
}

// Install makes a version the live student of a task: serving when its
// certificate is valid, in shadow otherwise. past are the audits of the task
// since its last alarm, so that a restart forgets nothing; they count when no
// watchdog remembers them, and an alarm they raise closes the gate. It is an error when the task is not configured, and a
// tandem.Conflict when the certificate's rows are from before the last alarm:
// they say nothing about the traffic since.
func (c *Cascade) Install(task string, live Live, past []Outcome) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.live.Load()
	t, ok := p.tasks[task]
	if !ok {
		return p.unknownTask(task)
	}
	if !keeps(live.Certificate, t.spec.Task.Guarantee) {
		live.Certificate.Status = tandem.Replaced
		live.Certificate.Why = "it was certified for a weaker guarantee than the task asks for now"
	}
	if live.Certificate.Status == tandem.Valid && live.Certificate.Time.Before(t.state.changed) {
		return tandem.Errorf(tandem.Conflict, "%s cannot serve: it was certified on traffic from before the alarm of %s; train a new version",
			live.Version, t.state.changed.UTC().Format(time.DateTime))
	}
	w := t.state.watch.Load()
	switch g := (tandem.Guarantee{Alpha: live.Certificate.Alpha, Delta: live.Certificate.Delta}); {
	case live.Certificate.Status != tandem.Valid:
		w = nil
	case w == nil || w.alpha != g.Alpha || w.delta != g.Delta:
		w = newWatchdog(g)
		for _, o := range past {
			if v, _, _ := w.observe(o); v.Alarm {
				live.Certificate.Status = tandem.Withdrawn
			}
		}
	}
	t.state.watch.Store(w)
	c.live.Store(p.with(newTaskPlan(t.spec, &live, t.state)))
	return nil
}

// Remove takes the live student of a task away, so that the teacher answers
// everything.
func (c *Cascade) Remove(task string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.live.Load()
	if t, ok := p.tasks[task]; ok {
		t.state.watch.Store(nil)
		c.live.Store(p.with(newTaskPlan(t.spec, nil, t.state)))
	}
}

// close withdraws the certificate of the version that serves under a watchdog.
// It reports false when that watch is over, so that an alarm is acted on once.
func (c *Cascade) close(task string, w *watchdog, why string, at time.Time) (version string, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.live.Load()
	t, ok := p.tasks[task]
	if !ok || t.live == nil || t.state.watch.Load() != w || !t.gate.Open {
		return "", false
	}
	shadow := *t.live
	shadow.Certificate.Status = tandem.Withdrawn
	shadow.Certificate.Why = shadow.Version + ": " + why
	t.state.watch.Store(nil)
	t.state.changed = at
	c.live.Store(p.with(newTaskPlan(t.spec, &shadow, t.state)))
	return shadow.Version, true
}

// refresh computes a task's plan anew, after its audit rate has changed, and
// returns it.
func (c *Cascade) refresh(task string) *taskPlan {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.live.Load()
	t, ok := p.tasks[task]
	if !ok {
		return nil
	}
	t = newTaskPlan(t.spec, t.live, t.state)
	c.live.Store(p.with(t))
	return t
}

// View is what the plan says of one task at this moment.
type View struct {
	Task        tandem.Task
	Version     string // "" when nothing is live
	Open        bool   // the gate accepts
	Certificate tandem.Certificate
	AuditRate   float64
	Doubted     bool    // a drift warning is being looked into
	Audits      int     // since the last alarm
	Errors      int     // of those, different from the teacher
	Low, High   float64 // confidence sequence for the disagreement of served answers, in [0, 1]
	LogEvidence float64 // log of the watchdog's e-value; an alarm comes at log(1/δ)
	MeanCostUSD float64 // of a teacher's answer
}

// View returns the live state of a task; ok is false when it is not configured.
func (c *Cascade) View(task string) (v View, ok bool) {
	t, ok := c.live.Load().tasks[task]
	if !ok {
		return View{}, false
	}
	v = View{Task: t.spec.Task, AuditRate: t.rate, High: 1, MeanCostUSD: t.state.meanCost()}
	if t.live == nil {
		return v, true
	}
	v.Version, v.Open, v.Certificate = t.live.Version, t.gate.Open, t.live.Certificate
	if w := t.state.watch.Load(); w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		v.Doubted = w.looking()
		v.Audits, v.Errors = w.monitor.Audits(), w.monitor.Errors()
		v.Low, v.High = w.monitor.Interval()
		v.LogEvidence = w.monitor.Evidence()
	}
	return v, true
}

// SeedChange sets when the traffic of a task last changed, known from before a
// restart.
func (c *Cascade) SeedChange(task string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.live.Load().tasks[task]; ok {
		t.state.changed = at
	}
}

// SeedCost sets what a teacher's answer to the task costs on average, known
// from before a restart.
func (c *Cascade) SeedCost(task string, usd float64) {
	if t, ok := c.live.Load().tasks[task]; ok && t.state.meanCost() == 0 {
		t.state.cost.Store(math.Float64bits(usd))
	}
}

// Live returns the live student of a task; ok is false when nothing is live.
func (c *Cascade) Live(task string) (live Live, ok bool) {
	t, ok := c.live.Load().tasks[task]
	if !ok || t.live == nil {
		return Live{}, false
	}
	return *t.live, true
}

// Tasks lists the configured tasks in alphabetical order.
func (c *Cascade) Tasks() []string {
	p := c.live.Load()
	names := make([]string, 0, len(p.tasks))
	for n := range p.tasks {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Task returns a configured task.
func (c *Cascade) Task(name string) (*tandem.Task, bool) {
	t, ok := c.live.Load().tasks[name]
	if !ok {
		return nil, false
	}
	return &t.spec.Task, true
}
