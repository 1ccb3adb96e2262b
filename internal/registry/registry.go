// Package registry keeps a task's student versions and decides which of them
// serves. Every change says in words why it happened.
package registry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tandem"
	"tandem/internal/store"
)

// Students is what the registry needs to keep versions; store.Students is one.
type Students interface {
	PutVersion(ctx context.Context, v tandem.Version, artefact []byte, c tandem.Certificate) (tandem.Version, tandem.Certificate, error)
	SetStages(ctx context.Context, ch store.Change) error
	Versions(ctx context.Context, task string) ([]tandem.Version, error)
	Certificates(ctx context.Context, task string) ([]tandem.Certificate, error)
}

// Artefacts is what the registry needs to keep trained bytes.
type Artefacts interface {
	Artefact(ctx context.Context, sha256 string) ([]byte, error)
	DropArtefacts(ctx context.Context, task string, versions []string) (int, error)
}

// Events is what the registry needs to know the past.
type Events interface {
	Events(ctx context.Context, task string, limit int) ([]tandem.Event, error)
}

// Store is all of it; store.Store is one.
type Store interface {
	Students
	Artefacts
	Events
}

const (
	defaultKeep = 10
	recall      = 1000 // events read to find out what served last
)

// Registry changes the stages of versions, one change of a task at a time. It
// is safe for concurrent use.
type Registry struct {
	store Store
	keep  int

	mu    sync.Mutex
	tasks map[string]chan struct{} // a token for each task; whoever has it may change the task
}

// New makes a registry. keep is how many retired versions of a task keep
// their artefacts; 0 means 10.
func New(s Store, keep int) *Registry {
	if keep <= 0 {
		keep = defaultKeep
	}
	return &Registry{store: s, keep: keep, tasks: map[string]chan struct{}{}}
}

// Student is one version with its certificate.
type Student struct {
	Version     tandem.Version
	Certificate tandem.Certificate // the newest of the version
	Artefact    []byte             // nil in listings
}

// Put stores a new version and lets it run in the shadow. Its name and the
// certificate's id are in what is returned.
func (r *Registry) Put(ctx context.Context, v tandem.Version, artefact []byte, c tandem.Certificate) (tandem.Version, tandem.Certificate, error) {
	unlock, err := r.lock(ctx, v.Task)
	if err != nil {
		return tandem.Version{}, tandem.Certificate{}, err
	}
	defer unlock()
	v.Stage = tandem.Candidate
	v, c, err = r.store.PutVersion(ctx, v, artefact, c)
	if err != nil {
		return tandem.Version{}, tandem.Certificate{}, fmt.Errorf("store a version of %s: %w", v.Task, err)
	}
	s, err := r.state(ctx, v.Task)
	if err != nil {
		return tandem.Version{}, tandem.Certificate{}, err
	}
	why := v.Why
	if why == "" {
		why = c.Why
	}
	ch, err := s.admit(v.Name, why)
	if err != nil {
		return tandem.Version{}, tandem.Certificate{}, err
	}
	ch.Event.Time = time.Now().UTC().Truncate(time.Microsecond)
	if err := r.store.SetStages(ctx, ch); err != nil {
		return tandem.Version{}, tandem.Certificate{}, fmt.Errorf("admit %s of %s: %w", v.Name, v.Task, err)
	}
	v.Stage, v.Why = tandem.Shadow, why
	return v, c, nil
}

// Promote lets a version serve: tandem.Conflict when it has no certificate
// that allows it.
func (r *Registry) Promote(ctx context.Context, task, version, why string) (tandem.Event, error) {
	return r.change(ctx, task, "promote "+version, func(s *State) (store.Change, bool, error) {
		ch, err := s.promote(version, why)
		if err != nil {
			return store.Change{}, false, err
		}
		// What cannot be loaded must not be promised to serve.
		if _, err := r.store.Artefact(ctx, s.version(version).Artefact); err != nil {
			return store.Change{}, false, fmt.Errorf("load %s of %s: %w", version, task, err)
		}
		return ch, false, nil
	})
}

// Rollback returns to the version that served before with a certificate that
// was not withdrawn, or closes the gate when there is none. The version left
// loses its certificate. Versions whose artefact cannot be read are passed
// over.
func (r *Registry) Rollback(ctx context.Context, task, why string) (tandem.Event, error) {
	return r.change(ctx, task, "roll back", func(s *State) (store.Change, bool, error) {
		s.Lost = map[string]bool{}
		for to := s.fallback(); to != nil; to = s.fallback() {
			_, err := r.store.Artefact(ctx, to.Artefact)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return store.Change{}, false, fmt.Errorf("load %s of %s: %w", to.Name, task, err)
			}
			s.Lost[to.Name] = true
		}
		ch, err := s.rollback(why)
		return ch, false, err
	})
}

// Withdraw ends a version's certificate after an alarm; if it serves it goes
// on in the shadow. Withdrawing twice does nothing the second time, and
// returns an event without a kind.
func (r *Registry) Withdraw(ctx context.Context, task, version, why string) (tandem.Event, error) {
	return r.change(ctx, task, "withdraw "+version, func(s *State) (store.Change, bool, error) {
		return s.withdraw(version, why)
	})
}

// Live returns the version that serves, its valid certificate and its
// artefact; tandem.NotFound when none does.
func (r *Registry) Live(ctx context.Context, task string) (Student, error) {
	unlock, err := r.lock(ctx, task)
	if err != nil {
		return Student{}, err
	}
	defer unlock()
	s, err := r.state(ctx, task)
	if err != nil {
		return Student{}, err
	}
	v := s.serving()
	if v == nil {
		return Student{}, tandem.Errorf(tandem.NotFound, "no student of task %s serves", task)
	}
	c := s.certificate(v.Name)
	if c == nil || c.Status != tandem.Valid {
		return Student{}, tandem.Errorf(tandem.NotFound, "the student of task %s has no valid certificate", task)
	}
	return r.load(ctx, v, c)
}

// Shadow returns the newest version that runs in the shadow, with its
// artefact; tandem.NotFound when none does.
func (r *Registry) Shadow(ctx context.Context, task string) (Student, error) {
	unlock, err := r.lock(ctx, task)
	if err != nil {
		return Student{}, err
	}
	defer unlock()
	s, err := r.state(ctx, task)
	if err != nil {
		return Student{}, err
	}
	for i := len(s.Versions) - 1; i >= 0; i-- {
		v := &s.Versions[i]
		if c := s.certificate(v.Name); c != nil && v.Stage == tandem.Shadow {
			return r.load(ctx, v, c)
		}
	}
	return Student{}, tandem.Errorf(tandem.NotFound, "no student of task %s runs in the shadow", task)
}

// List returns a task's versions, oldest first, without artefacts.
func (r *Registry) List(ctx context.Context, task string) ([]Student, error) {
	unlock, err := r.lock(ctx, task)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := r.state(ctx, task)
	if err != nil {
		return nil, err
	}
	out := make([]Student, len(s.Versions))
	for i := range s.Versions {
		out[i].Version = s.Versions[i]
		if c := s.certificate(s.Versions[i].Name); c != nil {
			out[i].Certificate = *c
		}
	}
	return out, nil
}

// Show returns one version without its artefact.
func (r *Registry) Show(ctx context.Context, task, version string) (Student, error) {
	all, err := r.List(ctx, task)
	if err != nil {
		return Student{}, err
	}
	for _, s := range all {
		if s.Version.Name == version {
			return s, nil
		}
	}
	return Student{}, noVersion(task, version)
}

// Prune deletes the artefacts of old retired versions and says how many went.
// The versions stay listed.
func (r *Registry) Prune(ctx context.Context, task string) (int, error) {
	unlock, err := r.lock(ctx, task)
	if err != nil {
		return 0, err
	}
	defer unlock()
	s, err := r.state(ctx, task)
	if err != nil {
		return 0, err
	}
	names := s.prunable(r.keep)
	if len(names) == 0 {
		return 0, nil
	}
	n, err := r.store.DropArtefacts(ctx, task, names)
	if err != nil {
		return n, fmt.Errorf("prune artefacts of %s: %w", task, err)
	}
	return n, nil
}

func (r *Registry) load(ctx context.Context, v *tandem.Version, c *tandem.Certificate) (Student, error) {
	b, err := r.store.Artefact(ctx, v.Artefact)
	if err != nil {
		return Student{}, fmt.Errorf("load %s of %s: %w", v.Name, v.Task, err)
	}
	return Student{Version: *v, Certificate: *c, Artefact: b}, nil
}

// change reads the state, decides and stores while nobody else changes the
// task.
func (r *Registry) change(ctx context.Context, task, what string, decide func(*State) (store.Change, bool, error)) (tandem.Event, error) {
	unlock, err := r.lock(ctx, task)
	if err != nil {
		return tandem.Event{}, err
	}
	defer unlock()
	s, err := r.state(ctx, task)
	if err != nil {
		return tandem.Event{}, err
	}
	ch, done, err := decide(s)
	if err != nil || done {
		return tandem.Event{}, err
	}
	ch.Event.Time = time.Now().UTC().Truncate(time.Microsecond)
	if err := r.store.SetStages(ctx, ch); err != nil {
		return tandem.Event{}, fmt.Errorf("%s of %s: %w", what, task, err)
	}
	return ch.Event, nil
}

func (r *Registry) state(ctx context.Context, task string) (*State, error) {
	s := &State{Task: task}
	var err error
	if s.Versions, err = r.store.Versions(ctx, task); err != nil {
		return nil, fmt.Errorf("read the versions of %s: %w", task, err)
	}
	if s.Certificates, err = r.store.Certificates(ctx, task); err != nil {
		return nil, fmt.Errorf("read the certificates of %s: %w", task, err)
	}
	if s.Events, err = r.store.Events(ctx, task, recall); err != nil {
		return nil, fmt.Errorf("read the events of %s: %w", task, err)
	}
	return s, nil
}

// lock waits for the turn to change a task.
func (r *Registry) lock(ctx context.Context, task string) (unlock func(), err error) {
	r.mu.Lock()
	turn := r.tasks[task]
	if turn == nil {
		turn = make(chan struct{}, 1)
		r.tasks[task] = turn
	}
	r.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to change the students of %s: %w", task, ctx.Err())
	}
}
