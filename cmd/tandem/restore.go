package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem"
	"tandem/internal/cascade"
	"tandem/internal/registry"
	"tandem/internal/store"
	"tandem/internal/student"
)

// remembered is how many events are read to find out what happened last.
const remembered = 1000

// restore takes up a task where the data folder says it was: which version
// serves, what its audits have shown, and what the learner has already used.
func (a *app) restore(ctx context.Context, task string) error {
	change, err := a.lastChange(ctx, task)
	if err != nil {
		return err
	}
	a.cascade.SeedChange(task, change)
	lost := false
	switch err := a.sync(ctx, task); {
	case tandem.CodeOf(err) == tandem.Conflict:
		a.log.Warn("the teacher answers until a new certificate", "task", task, "why", err)
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil: // a damaged artefact must not keep the teacher from answering
		lost = true
		a.cascade.Remove(task)
		a.log.Error("the student cannot be read, the teacher answers until a new one is trained", "task", task, "error", err)
	}
	stats, err := a.store.Stats(ctx, task)
	if err != nil {
		return fmt.Errorf("count traces: %w", err)
	}
	recent := stats.Labelled
	if !change.IsZero() {
		recent = 0
		for _, err := range a.store.Traces(ctx, store.Query{Task: task, Labelled: true, Since: change}) {
			if err != nil {
				return fmt.Errorf("count traces: %w", err)
			}
			recent++
		}
	}
	seen, labels, err := a.lastTraining(ctx, task)
	if err != nil {
		return err
	}
	if lost {
		seen = 0 // as if nothing had been trained yet: so that it is, at once
	}
	a.learner.Restore(task, stats.Labelled, seen, labels, change, recent)
	return a.restoreCost(ctx, task)
}

// sync makes the plan serve what the registry says serves: after a restart, a
// promotion or a rollback.
func (a *app) sync(ctx context.Context, task string) error {
	s, err := a.registry.Live(ctx, task)
	if tandem.CodeOf(err) == tandem.NotFound {
		s, err = a.registry.Shadow(ctx, task)
	}
	switch {
	case tandem.CodeOf(err) == tandem.NotFound:
		a.cascade.Remove(task)
		return nil
	case err != nil:
		return err
	}
	return a.put(ctx, task, &s)
}

// put loads a version and makes it the live one. A version that an alarm has
// overtaken loses its certificate, and that is an error.
func (a *app) put(ctx context.Context, task string, s *registry.Student) error {
	loaded, err := student.Load(a.families, s.Artefact)
	if err != nil {
		return fmt.Errorf("load student %s: %w", s.Version.Name, err)
	}
	cert := s.Certificate
	if s.Version.Stage != tandem.Serving && cert.Status == tandem.Valid {
		cert.Status = tandem.Replaced // certified, but not chosen to serve
	}
	var past []cascade.Outcome
	change, err := a.lastChange(ctx, task)
	if err != nil {
		return err
	}
	for t, err := range a.store.Traces(ctx, store.Query{Task: task, Labelled: true, Since: change}) {
		if err != nil {
			return fmt.Errorf("read audits of %s: %w", task, err)
		}
		if !t.Audit {
			continue
		}
		past = append(past, cascade.Outcome{Propensity: t.Propensity, Wrong: t.OutsideSpace || t.Teacher != t.Answer})
	}
	live := cascade.Live{Version: s.Version.Name, Student: loaded, Certificate: cert}
	overtaken := a.cascade.Install(task, live, past)
	if overtaken == nil && cert.Status == tandem.Valid {
		// A crash between an alarm and its record: the audits raise it again.
		if now, ok := a.cascade.Live(task); ok && now.Certificate.Status == tandem.Withdrawn {
			a.alarm(ctx, cascade.Alarm{
				Task: task, Version: s.Version.Name, Time: time.Now(),
				Why: s.Version.Name + ": its audits raise an alarm; the gate is closed until a new certificate",
			})
		}
	}
	if tandem.CodeOf(overtaken) != tandem.Conflict {
		return overtaken
	}
	if _, err := a.registry.Withdraw(ctx, task, s.Version.Name, overtaken.Error()); err != nil {
		return err
	}
	live.Certificate.Status = tandem.Withdrawn
	return errors.Join(overtaken, a.cascade.Install(task, live, past))
}

// lastChange is when the traffic of a task last changed: its newest alarm.
func (a *app) lastChange(ctx context.Context, task string) (time.Time, error) {
	events, err := a.store.Events(ctx, task, remembered)
	if err != nil {
		return time.Time{}, fmt.Errorf("read events: %w", err)
	}
	for _, e := range events {
		if e.Kind == tandem.EventAlarm {
			return e.Time, nil
		}
	}
	return time.Time{}, nil
}

// lastTraining says how many labelled requests there were at the newest
// training, and the labels its student knows.
func (a *app) lastTraining(ctx context.Context, task string) (seen int, labels []string, err error) {
	versions, err := a.store.Versions(ctx, task)
	if err != nil {
		return 0, nil, fmt.Errorf("read versions: %w", err)
	}
	if len(versions) == 0 {
		return 0, nil, nil
	}
	newest := versions[len(versions)-1]
	for _, err := range a.store.Traces(ctx, store.Query{Task: task, Labelled: true, Until: newest.Created}) {
		if err != nil {
			return 0, nil, fmt.Errorf("count traces: %w", err)
		}
		seen++
	}
	if l, ok := a.cascade.Live(task); ok && l.Version == newest.Name {
		labels = l.Student.Labels()
	}
	return seen, labels, nil
}

// recentCosts is how many of the teacher's answers give its mean cost.
const recentCosts = 100

// restoreCost estimates what a teacher's answer costs by the newest ones.
func (a *app) restoreCost(ctx context.Context, task string) error {
	var sum float64
	n := 0
	for t, err := range a.store.Traces(ctx, store.Query{Task: task, Labelled: true, Newest: true, Limit: recentCosts}) {
		if err != nil {
			return fmt.Errorf("read costs: %w", err)
		}
		if t.Step == tandem.ProviderStep && t.CostUSD > 0 {
			sum += t.CostUSD
			n++
		}
	}
	if n > 0 {
		a.cascade.SeedCost(task, sum/float64(n))
	}
	return nil
}

// switcher changes which student serves, in the registry and in the plan.
type switcher struct{ a *app }

// Promote implements console.Registry.
func (s switcher) Promote(ctx context.Context, task, version, why string) (tandem.Event, error) {
	e, err := s.a.registry.Promote(ctx, task, version, why)
	return s.follow(ctx, task, e, err)
}

// Rollback implements console.Registry.
func (s switcher) Rollback(ctx context.Context, task, why string) (tandem.Event, error) {
	e, err := s.a.registry.Rollback(ctx, task, why)
	return s.follow(ctx, task, e, err)
}

func (s switcher) follow(ctx context.Context, task string, e tandem.Event, err error) (tandem.Event, error) {
	if err != nil {
		return e, err
	}
	s.a.metrics.Happened(e)
	s.a.log.Info("students changed", "task", task, "kind", e.Kind, "version", e.Version, "why", e.Why)
	return e, s.a.sync(context.WithoutCancel(ctx), task)
}
