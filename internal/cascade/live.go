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

// closerLook multiplies the audit rate after a drift warning.
const closerLook = 4

// taskState is what outlives a plan: the running mean of the teacher's cost
// and the watchdog of the serving version.
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

// watchOf returns the watchdog of a version, nil when it no longer serves.
func (s *taskState) watchOf(version string) *watchdog {
	if w := s.watch.Load(); w != nil && w.version == version {
		return w
	}
	return nil
}

// watchdog guards the monitor of one deployed gate.
type watchdog struct {
	version string
	mu      sync.Mutex
	monitor *certify.Monitor
}

func (w *watchdog) observe(propensity float64, wrong bool) certify.Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.monitor.Observe(propensity, wrong)
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
			next.tasks[name] = newTaskPlan(s, live, was.state, s.Task.AuditRate)
			continue
		}
		next.tasks[name] = newTaskPlan(s, nil, &taskState{}, s.Task.AuditRate)
	}
	c.live.Store(next)
}

// keeps reports whether a certificate covers what a task promises now.
func keeps(c tandem.Certificate, g tandem.Guarantee) bool {
	return c.Status != tandem.Valid || (c.Alpha <= g.Alpha && c.Delta <= g.Delta)
}

// Install makes a version the live student of a task: serving when its
// certificate is valid, in shadow otherwise. past are the audits of this
// version so far, so that a restart forgets nothing; an alarm they raise
// closes the gate. It is an error when the task is not configured, and a
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
	cert := live.Certificate
	if cert.Status == tandem.Valid && cert.Time.Before(t.state.changed) {
		return tandem.Errorf(tandem.Conflict, "%s cannot serve: it was certified on traffic from before the alarm of %s; train a new version",
			live.Version, t.state.changed.UTC().Format(time.DateTime))
	}
	if cert.Status == tandem.Valid {
		w := &watchdog{version: live.Version, monitor: certify.NewMonitor(cert.Alpha, cert.Delta, driftDelta)}
		for _, o := range past {
			if w.monitor.Observe(o.Propensity, o.Wrong).Alarm {
				live.Certificate.Status = tandem.Withdrawn
			}
		}
		t.state.watch.Store(w)
	} else {
		t.state.watch.Store(nil)
	}
	c.live.Store(p.with(newTaskPlan(t.spec, &live, t.state, t.spec.Task.AuditRate)))
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
		c.live.Store(p.with(newTaskPlan(t.spec, nil, t.state, t.spec.Task.AuditRate)))
	}
}

// close withdraws the certificate of the serving version. It reports false
// when that version no longer serves, so that an alarm is acted on once.
func (c *Cascade) close(task, version, why string, at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.live.Load()
	t, ok := p.tasks[task]
	if !ok || t.live == nil || t.live.Version != version || !t.gate.Open {
		return false
	}
	shadow := *t.live
	shadow.Certificate.Status = tandem.Withdrawn
	shadow.Certificate.Why = why
	t.state.watch.Store(nil)
	t.state.changed = at
	c.live.Store(p.with(newTaskPlan(t.spec, &shadow, t.state, t.spec.Task.AuditRate)))
	return true
}

// lookCloser raises the audit rate of a task until its next promotion, and
// says to what.
func (c *Cascade) lookCloser(task, version string) (rate float64, raised bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.live.Load()
	t, ok := p.tasks[task]
	if !ok || t.live == nil || t.live.Version != version {
		return 0, false
	}
	rate = min(1, closerLook*t.spec.Task.AuditRate)
	if t.rate >= rate {
		return t.rate, false
	}
	c.live.Store(p.with(newTaskPlan(t.spec, t.live, t.state, rate)))
	return rate, true
}

// View is what the plan says of one task at this moment.
type View struct {
	Task        tandem.Task
	Version     string // "" when nothing is live
	Open        bool   // the gate accepts
	Certificate tandem.Certificate
	AuditRate   float64
	Audits      int     // of the serving version
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
	if w := t.state.watchOf(t.live.Version); w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
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
