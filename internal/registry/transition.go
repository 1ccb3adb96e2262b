package registry

import (
	"fmt"
	"slices"

	"tandem"
	"tandem/internal/store"
)

// State is all that is known about a task's students when something is to
// change. Transitions are decided from it alone.
type State struct {
	Task         string
	Versions     []tandem.Version     // oldest first
	Certificates []tandem.Certificate // oldest first
	Events       []tandem.Event       // newest first
	Lost         map[string]bool      // versions whose artefact cannot be read (any more)
}

// serving is the version that serves, nil when none does.
func (s *State) serving() *tandem.Version {
	for i := range s.Versions {
		if s.Versions[i].Stage == tandem.Serving {
			return &s.Versions[i]
		}
	}
	return nil
}

func (s *State) version(name string) *tandem.Version {
	for i := range s.Versions {
		if s.Versions[i].Name == name {
			return &s.Versions[i]
		}
	}
	return nil
}

// certificate is the newest certificate of a version, nil when it has none.
func (s *State) certificate(version string) *tandem.Certificate {
	for i := len(s.Certificates) - 1; i >= 0; i-- {
		if s.Certificates[i].Version == version {
			return &s.Certificates[i]
		}
	}
	return nil
}

// fallback is the version that a rollback returns to: of those that served,
// whose certificate was merely replaced, not withdrawn, and whose artefact is
// still there, the one that served last. Events say when that was; where they
// reach not far enough back, the newest such version is taken.
func (s *State) fallback() *tandem.Version {
	fit := func(v *tandem.Version) bool {
		c := s.certificate(v.Name)
		return v.Stage != tandem.Serving && !s.Lost[v.Name] && c != nil && c.Status == tandem.Replaced
	}
	for _, e := range s.Events {
		if e.Kind != tandem.EventPromoted && e.Kind != tandem.EventRolledBack {
			continue
		}
		if v := s.version(e.Version); v != nil && fit(v) {
			return v
		}
	}
	for i := len(s.Versions) - 1; i >= 0; i-- {
		if fit(&s.Versions[i]) {
			return &s.Versions[i]
		}
	}
	return nil
}

// change starts a change with its event.
func (s *State) change(kind tandem.EventKind, version, why string) store.Change {
	return store.Change{
		Task:         s.Task,
		Stages:       map[string]tandem.Stage{},
		Certificates: map[int64]tandem.Status{},
		Event:        tandem.Event{Task: s.Task, Kind: kind, Version: version, Why: why},
	}
}

// admit decides where a version just stored goes: into the shadow, from which
// it is promoted, if it may be. One version at a time is tried, so an older
// one that never served retires.
func (s *State) admit(name, why string) (store.Change, error) {
	v, c := s.version(name), s.certificate(name)
	if v == nil || c == nil {
		return store.Change{}, noVersion(s.Task, name)
	}
	kind := tandem.EventTrained
	if c.Status == tandem.Refused {
		kind = tandem.EventRefused
	}
	ch := s.change(kind, name, why)
	for i := range s.Versions {
		old := &s.Versions[i]
		if old.Name != name && (old.Stage == tandem.Candidate || old.Stage == tandem.Shadow) {
			ch.Stages[old.Name] = tandem.Retired
		}
	}
	ch.Stages[name] = tandem.Shadow
	return ch, nil
}

// promote decides whether a version may serve. It needs a certificate that is
// valid, or was until a later version replaced it.
func (s *State) promote(name, why string) (store.Change, error) {
	v := s.version(name)
	if v == nil {
		return store.Change{}, noVersion(s.Task, name)
	}
	if v.Stage == tandem.Serving {
		return store.Change{}, tandem.Errorf(tandem.Conflict, "%s of task %s serves already", name, s.Task)
	}
	c := s.certificate(name)
	if c == nil || c.Status != tandem.Valid && c.Status != tandem.Replaced {
		status := "missing"
		if c != nil {
			status = string(c.Status)
		}
		return store.Change{}, tandem.Errorf(tandem.Conflict,
			"%s of task %s cannot serve: its certificate is %s; train a new version", name, s.Task, status)
	}
	return s.serve(v, c, tandem.EventPromoted, tandem.Replaced, why), nil
}

// serve builds the change that makes v serve. What served before retires and
// its certificate gets the status given; older versions that never served
// retire too.
func (s *State) serve(v *tandem.Version, c *tandem.Certificate, kind tandem.EventKind, before tandem.Status, why string) store.Change {
	ch := s.change(kind, v.Name, why)
	at := slices.IndexFunc(s.Versions, func(x tandem.Version) bool { return x.Name == v.Name })
	for i := range s.Versions {
		old := &s.Versions[i]
		switch {
		case old.Stage == tandem.Serving:
			ch.Stages[old.Name] = tandem.Retired
			if oc := s.certificate(old.Name); oc != nil {
				ch.Certificates[oc.ID] = before
			}
		case i < at && (old.Stage == tandem.Candidate || old.Stage == tandem.Shadow):
			ch.Stages[old.Name] = tandem.Retired
		}
	}
	ch.Stages[v.Name] = tandem.Serving
	ch.Certificates[c.ID] = tandem.Valid
	return ch
}

// rollback decides what serves instead of the version that serves now, or
// that nothing does. The version left loses its certificate: whoever rolls
// back does not trust it any more.
func (s *State) rollback(why string) (store.Change, error) {
	now, to := s.serving(), s.fallback()
	switch {
	case to != nil:
		if now != nil {
			why = fmt.Sprintf("back from %s to %s: %s", now.Name, to.Name, why)
		} else {
			why = fmt.Sprintf("back to %s: %s", to.Name, why)
		}
		return s.serve(to, s.certificate(to.Name), tandem.EventRolledBack, tandem.Withdrawn, why), nil
	case now != nil:
		why = fmt.Sprintf("%s stopped, no earlier version can serve, the large model answers everything: %s", now.Name, why)
		ch := s.change(tandem.EventRolledBack, now.Name, why)
		ch.Stages[now.Name] = tandem.Retired
		if c := s.certificate(now.Name); c != nil {
			ch.Certificates[c.ID] = tandem.Withdrawn
		}
		return ch, nil
	default:
		return store.Change{}, tandem.Errorf(tandem.Conflict,
			"no student of task %s serves and none that served can again; there is nothing to roll back", s.Task)
	}
}

// withdraw ends a version's certificate after an alarm. The version goes on
// in the shadow, so that people see how it fares. done is true when that has
// happened before.
func (s *State) withdraw(name, why string) (ch store.Change, done bool, err error) {
	v, c := s.version(name), s.certificate(name)
	if v == nil || c == nil {
		return store.Change{}, false, noVersion(s.Task, name)
	}
	if c.Status == tandem.Withdrawn {
		return store.Change{}, true, nil
	}
	ch = s.change(tandem.EventAlarm, name, why)
	ch.Certificates[c.ID] = tandem.Withdrawn
	if v.Stage == tandem.Serving {
		ch.Stages[name] = tandem.Shadow
	}
	return ch, false, nil
}

// prunable lists retired versions beyond the newest keep, whose artefacts may
// go. The version a rollback would return to is never among them.
func (s *State) prunable(keep int) []string {
	safe := s.fallback()
	var names []string
	kept := 0
	for i := len(s.Versions) - 1; i >= 0; i-- {
		v := &s.Versions[i]
		if v.Stage != tandem.Retired {
			continue
		}
		if kept++; kept <= keep || safe != nil && safe.Name == v.Name {
			continue
		}
		names = append(names, v.Name)
	}
	return names
}

func noVersion(task, name string) error {
	return tandem.Errorf(tandem.NotFound, "task %s has no student version %s; see `tandem students list`", task, name)
}
