package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"tandem"
	"tandem/internal/cascade"
	"tandem/internal/config"
	"tandem/internal/console"
	"tandem/internal/distill"
	"tandem/internal/gateway"
	"tandem/internal/lifecycle"
	"tandem/internal/provider"
	"tandem/internal/store"
	"tandem/internal/student"
	"tandem/internal/telemetry"
	"tandem/internal/trace"
)

// deps is what an app needs from the process.
type deps struct {
	log      *slog.Logger
	families map[string]student.Family
}

// app is tandem: every part, joined.
type app struct {
	*folder
	cfg      *config.Config
	log      *slog.Logger
	metrics  *telemetry.Metrics
	traces   *trace.Log
	cascade  *cascade.Cascade
	learner  *distill.Learner
	gateway  *gateway.Server
	models   atomic.Pointer[models]
	families map[string]student.Family

	ready  chan struct{}
	addr   atomic.Pointer[string]
	reload chan struct{} // a token: one reload at a time
	fresh  chan struct{} // a token: there are tasks that may lack a first student
}

// retention is how often old traces are deleted.
const retention = time.Hour

// build opens the data folder and joins the parts without starting anything.
func build(ctx context.Context, cfg *config.Config, d deps) (_ *app, err error) {
	f, err := openFolder(ctx, cfg.Data, nil)
	if err != nil {
		return nil, err
	}
	a := &app{
		folder: f, cfg: cfg, log: d.log, metrics: telemetry.New(version), families: d.families,
		ready: make(chan struct{}), reload: make(chan struct{}, 1), fresh: make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.store.Close())
		}
	}()
	a.traces = trace.New(f.store, trace.Options{
		Queue: cfg.Learning.TraceQueue, SampleServed: float64(cfg.Learning.SampleServed), StoreInputs: a.storesInputs,
	})
	a.cascade = cascade.New(cascade.Options{
		Recorder: a.traces, Observer: a.metrics, Key: f.key, AuditQueue: cfg.Learning.AuditQueue,
		OnLabel: func(task, label string) { a.learner.Labelled(task, label) },
		OnAlarm: a.alarm, OnDrift: a.drift,
	})
	a.learner = distill.New(distill.Options{
		Reader: f.store, Registry: f.registry, Key: f.key, Families: a.families, Log: d.log,
		Task: a.cascade.Task, Live: a.live, Install: a.install, Done: a.trained,
		Threads:  max(1, int(float64(cfg.Learning.Threads)*float64(runtime.GOMAXPROCS(0)))),
		FirstFit: cfg.Learning.FirstFitRows, Growth: cfg.Learning.Growth, Paraphrase: a.paraphrase(cfg.Learning),
	})
	if err := a.configure(cfg); err != nil {
		return nil, err
	}
	for _, task := range cfg.TandemTasks() {
		if err := a.restore(ctx, task.Name); err != nil {
			return nil, fmt.Errorf("take up task %s where it was: %w", task.Name, err)
		}
	}
	a.watchQueues()
	a.gateway, err = gateway.New(gateway.Options{
		Answerer: answerer{a}, Directory: directory{a}, Traces: f.store, Readiness: readiness{a},
		Metrics: a.metrics.Handler(), Observer: a.metrics, Log: d.log, Tokens: tokens(cfg), Console: a.console(),
		Limits: gateway.Limits{
			BodyBytes: int64(cfg.Limits.BodyBytes), HeaderBytes: int(cfg.Limits.HeaderBytes),
			Concurrent: cfg.Limits.Concurrent, Batch: cfg.Limits.Batch, ReadTime: cfg.Limits.ReadTimeout, Drain: cfg.Limits.Drain,
		},
	})
	return a, err
}

func tokens(cfg *config.Config) []string {
	var out []string
	for _, t := range cfg.APITokens {
		out = append(out, string(t))
	}
	return out
}

// console is the API that people and the command line use.
func (a *app) console() http.Handler {
	c := console.Console{
		Tasks: a.tasks, Families: func() map[string]student.Family { return a.families }, Reader: a.store, Registry: switcher{a}, Learner: trainer{a},
		Export:   trace.Export,
		Importer: importer{traces: a.store, key: a.key, labelled: a.learner.Labelled},
		Tokens:   tokens(a.cfg), Log: a.log, Patience: a.cfg.Limits.ReadTimeout,
	}
	return c.Handler()
}

// trainer trains when people ask for it, and logs why they did.
type trainer struct{ a *app }

// Learn implements console.Learner.
func (t trainer) Learn(ctx context.Context, task, why string) error {
	err := t.a.learner.Learn(ctx, task, why)
	if err == nil {
		t.a.log.Info("a training is asked for", "task", task, "why", why)
	}
	return err
}

// Run serves until ctx ends, then drains: requests first, then audits and
// training, the log last.
func (a *app) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", a.cfg.Listen) //nolint:noctx // it does not wait
	if err != nil {
		return errors.Join(fmt.Errorf("listen on %s: %w", a.cfg.Listen, err), a.store.Close())
	}
	addr := listener.Addr().String()
	a.addr.Store(&addr)
	group := lifecycle.Group{Grace: a.cfg.Limits.Drain + stopping, Parts: []lifecycle.Part{
		{Name: "trace log", Run: a.traces.Run},
		{Name: "retention", Run: func(ctx context.Context) error {
			return trace.RunRetention(ctx, a.store, a.tasks, retention, func(err error) { a.log.Error("old traces not deleted", "error", err) })
		}},
		{Name: "training", Run: a.learner.Run},
		{Name: "first students", Run: a.firstStudents},
		{Name: "audits", Run: a.cascade.Run},
		{Name: "gateway", Run: func(ctx context.Context) error {
			close(a.ready)
			return a.gateway.Run(ctx, listener)
		}},
	}}
	err = group.Run(ctx, lifecycle.Drain(ctx).Done())
	return errors.Join(err, a.models.Load().close(), a.store.Close())
}

// firstStudents gives tasks that nothing was ever learnt for a student made
// from the names of their labels, at the start and after each reload. It only
// runs in shadow.
func (a *app) firstStudents(ctx context.Context) error {
	for {
		for _, name := range a.cascade.Tasks() {
			if err := a.firstStudent(ctx, name); err != nil && ctx.Err() == nil {
				a.log.Error("no first student", "task", name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.fresh:
		}
	}
}

func (a *app) firstStudent(ctx context.Context, task string) error {
	have, err := a.store.Versions(ctx, task)
	if err != nil || len(have) > 0 {
		return err
	}
	r, err := a.learner.Start(ctx, task)
	if err == nil && r.Version != "" {
		a.log.Info("first student", "task", task, "version", r.Version, "why", r.Why)
	}
	return err
}

// Ready is closed once requests are answered.
func (a *app) Ready() <-chan struct{} { return a.ready }

// Addr is the address served on, once ready.
func (a *app) Addr() string {
	if p := a.addr.Load(); p != nil {
		return *p
	}
	return a.cfg.Listen
}

// models are the providers' models of one configuration.
type models struct {
	byAlias   map[string]model
	endpoints []provider.Endpoint
}

type model struct {
	provider.Model
	price  tandem.Price
	policy provider.Policy
}

func (m *models) close() error {
	if m == nil {
		return nil
	}
	var err error
	for _, e := range m.endpoints {
		err = errors.Join(err, e.Close())
	}
	return err
}

// openModels opens the providers of a configuration; it calls none of them.
func openModels(cfg *config.Config) (*models, error) {
	m := &models{byAlias: map[string]model{}}
	open := map[string]provider.Endpoint{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
		p := cfg.Providers[name]
		_, c, err := p.Config()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("provider %s: %w", name, err), m.close())
		}
		e, err := c.Open()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open provider %s: %w", name, err), m.close())
		}
		m.endpoints, open[name] = append(m.endpoints, e), e
	}
	for _, nm := range cfg.Models() {
		e := open[nm.Provider]
		m.byAlias[nm.Alias] = model{Model: e.Model(nm.Model), price: nm.Price, policy: e.Policy()}
	}
	return m, nil
}

// configure puts the providers and tasks of a configuration in force.
func (a *app) configure(cfg *config.Config) error {
	m, err := openModels(cfg)
	if err != nil {
		return err
	}
	var specs []cascade.Spec
	for _, t := range cfg.TandemTasks() {
		teacher := m.byAlias[t.Teacher]
		specs = append(specs, cascade.Spec{Task: t, Teacher: cascade.Teacher{
			Name: t.Teacher, Model: teacher.Model, Price: teacher.price, Policy: teacher.policy,
		}})
	}
	old := a.models.Swap(m)
	a.cascade.Configure(specs)
	// Requests under way keep their connections: closing drops idle ones only.
	return old.close()
}

// paraphrase lets the learner ask a task's teacher for paraphrases, when the
// configuration says so.
func (a *app) paraphrase(l config.Learning) distill.Paraphrase {
	if l.Paraphrases == 0 {
		return distill.Paraphrase{}
	}
	return distill.Paraphrase{Calls: l.Paraphrases, Teacher: func(name string) distill.Asker {
		task, ok := a.cascade.Task(name)
		if !ok {
			return nil
		}
		teacher, ok := a.models.Load().byAlias[task.Teacher]
		if !ok {
			return nil
		}
		return teacher.Model
	}}
}

// Reload puts another configuration in force, wholly or not at all.
func (a *app) Reload(ctx context.Context, cfg *config.Config) error {
	a.reload <- struct{}{}
	defer func() { <-a.reload }()
	had := a.cascade.Tasks()
	if err := a.configure(cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, restoring)
	defer cancel()
	for _, name := range a.cascade.Tasks() {
		if slices.Contains(had, name) {
			continue
		}
		if err := a.restore(ctx, name); err != nil {
			a.log.Error("a new task starts from nothing", "task", name, "error", err)
		}
	}
	select {
	case a.fresh <- struct{}{}:
	default:
	}
	return nil
}

// restoring bounds how long taking up one task may take during a reload.
const restoring = 30 * time.Second

// Reloaded records the outcome of a reload as an event.
func (a *app) Reloaded(ctx context.Context, r config.Reload) {
	e := tandem.Event{Kind: tandem.EventReloaded, Why: "the configuration was reloaded"}
	if r.Err != nil {
		e.Kind, e.Why = tandem.EventBadReload, "the new configuration was refused and the old one stays: "+r.Err.Error()
	}
	a.note(ctx, e)
}

// note keeps an event that is no change of a student's stage.
func (a *app) note(ctx context.Context, e tandem.Event) {
	e.Time = time.Now().UTC().Truncate(time.Microsecond)
	a.metrics.Happened(e)
	if err := a.store.AddEvent(ctx, e); err != nil {
		a.log.Error("event not stored", "kind", e.Kind, "error", err)
	}
}

// alarm acts on a gate that the watchdog closed: the certificate ends, and
// what was learnt before counts less from now on.
func (a *app) alarm(ctx context.Context, al cascade.Alarm) {
	a.learner.Changed(al.Task, al.Time)
	a.log.Warn("alarm: gate closed", "task", al.Task, "version", al.Version, "why", al.Why)
	e, err := a.registry.Withdraw(context.WithoutCancel(ctx), al.Task, al.Version, al.Why)
	if err != nil {
		a.log.Error("the alarm is not stored", "task", al.Task, "version", al.Version, "error", err)
		return
	}
	a.metrics.Happened(e)
}

// drift records a warning.
func (a *app) drift(ctx context.Context, al cascade.Alarm) {
	a.note(context.WithoutCancel(ctx), tandem.Event{Task: al.Task, Kind: tandem.EventDrift, Version: al.Version, Why: al.Why})
}

// live tells the learner what answers now.
func (a *app) live(task string) distill.Serving {
	l, ok := a.cascade.Live(task)
	if !ok {
		return distill.Serving{}
	}
	v, _ := a.cascade.View(task)
	return distill.Serving{Version: l.Version, Student: l.Student, Certificate: l.Certificate, Doubted: v.Doubted}
}

// install puts what the learner made into the plan.
// A version that an alarm has overtaken loses its certificate.
func (a *app) install(ctx context.Context, in distill.Installed) error {
	live := cascade.Live{Version: in.Version, Student: in.Student, Certificate: in.Certificate}
	err := a.cascade.Install(in.Task, live, nil)
	if tandem.CodeOf(err) != tandem.Conflict {
		return err
	}
	if _, err := a.registry.Withdraw(ctx, in.Task, in.Version, err.Error()); err != nil {
		return err
	}
	live.Certificate.Status = tandem.Withdrawn
	return a.cascade.Install(in.Task, live, nil)
}

// trained tells people how a training ended.
func (a *app) trained(r distill.Report) {
	switch {
	case r.Version == "": // the registry noted nothing, and people wait to hear
		a.note(context.Background(), tandem.Event{Task: r.Task, Kind: tandem.EventRefused, Why: "nothing was trained: " + r.Why})
	case r.Promoted:
		a.metrics.Happened(tandem.Event{Task: r.Task, Kind: tandem.EventPromoted})
	default:
		a.metrics.Happened(tandem.Event{Task: r.Task, Kind: tandem.EventTrained})
	}
	a.metrics.Trained(r.Task, time.Duration(r.TrainSec*float64(time.Second)))
	a.log.Info("trained", "task", r.Task, "trigger", r.Trigger, "version", r.Version, "promoted", r.Promoted, "rows", r.Rows, "why", r.Why)
	if _, err := a.registry.Prune(context.Background(), r.Task); err != nil {
		a.log.Error("old artefacts not deleted", "task", r.Task, "error", err)
	}
}

// watchQueues shows the bounded queues in the metrics.
func (a *app) watchQueues() {
	a.metrics.Queue("traces",
		func() int { return a.traces.Stats().Waiting }, func() int { return a.cfg.Learning.TraceQueue },
		func() int { return int(a.traces.Stats().Dropped) })
	a.metrics.Queue("audits",
		func() int { waiting, _ := a.cascade.AuditBacklog(); return int(waiting) }, func() int { return a.cfg.Learning.AuditQueue },
		func() int { _, lost := a.cascade.AuditBacklog(); return int(lost) })
}

// storesInputs says whether traces of a task keep their input.
func (a *app) storesInputs(task string) bool {
	t, ok := a.cascade.Task(task)
	return ok && t.StoreInputs
}

// tasks lists the tasks in force, by name.
func (a *app) tasks() []tandem.Task {
	var out []tandem.Task
	for _, name := range a.cascade.Tasks() {
		if t, ok := a.cascade.Task(name); ok {
			out = append(out, *t)
		}
	}
	return out
}

// directory is what there is to ask.
type directory struct{ a *app }

// Task implements gateway.Directory.
func (d directory) Task(name string) (*tandem.Task, bool) { return d.a.cascade.Task(name) }

// Tasks implements gateway.Directory.
func (d directory) Tasks() []string { return d.a.cascade.Tasks() }

// Model implements gateway.Directory.
func (d directory) Model(name string) (provider.Model, tandem.Price, bool) {
	m, ok := d.a.models.Load().byAlias[name]
	return m.Model, m.price, ok
}

// Models implements gateway.Directory.
func (d directory) Models() []string { return slices.Sorted(maps.Keys(d.a.models.Load().byAlias)) }

// readiness is degraded while traces cannot be stored.
type readiness struct{ a *app }

// Ready implements gateway.Readiness.
func (r readiness) Ready() error { return r.a.traces.Err() }

// answerer is the cascade with feedback, which goes straight to the store: it
// is acknowledged when it is durable.
type answerer struct{ a *app }

// Answer implements gateway.Answerer.
func (x answerer) Answer(ctx context.Context, req tandem.Request) (tandem.Decision, error) {
	return x.a.cascade.Answer(ctx, req)
}

// Feedback implements gateway.Answerer.
func (x answerer) Feedback(ctx context.Context, id string, f tandem.Feedback) error {
	t, err := x.a.store.Trace(ctx, id)
	if err != nil {
		return err
	}
	label := f.Label
	if task, ok := x.a.cascade.Task(t.Task); ok && label != "" {
		if label, ok = task.Resolve(f.Label); !ok {
			return &tandem.Error{Code: tandem.InvalidRequest, Param: "label", Message: fmt.Sprintf("%q is none of the labels of task %s", f.Label, t.Task)}
		}
	}
	return x.a.store.Write(ctx, store.Batch{Labels: []store.Label{{TraceID: id, Gold: label, Feedback: f.Comment}}})
}
