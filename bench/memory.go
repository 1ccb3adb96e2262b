package bench

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"tandem"
	"tandem/internal/store"
)

// memory is the learning log and the registry of one simulated run, which one
// goroutine drives. It stands for the database, which is not what is measured.
type memory struct {
	traces   []tandem.Trace // in time order
	index    map[string]int // by trace id
	versions []tandem.Version
	certs    []tandem.Certificate
	events   []tandem.Event
}

func newMemory() *memory { return &memory{index: map[string]int{}} }

// Append stores a trace at once.
func (m *memory) Append(t tandem.Trace) tandem.Recorded {
	m.index[t.ID] = len(m.traces)
	m.traces = append(m.traces, t)
	return tandem.Stored
}

// Record stores a trace at once.
func (m *memory) Record(_ context.Context, t tandem.Trace) tandem.Recorded { return m.Append(t) }

// Label completes a trace.
func (m *memory) Label(_ context.Context, l store.Label) error {
	i, ok := m.index[l.TraceID]
	if !ok {
		return tandem.Errorf(tandem.NotFound, "there is no trace %s", l.TraceID)
	}
	t := &m.traces[i]
	if l.Teacher != "" {
		t.Labelled, t.Teacher, t.TeacherModel, t.OutsideSpace = true, l.Teacher, l.TeacherModel, l.OutsideSpace
	}
	if l.TeacherAgain != "" {
		t.TeacherAgain = l.TeacherAgain
	}
	t.CostUSD += l.CostUSD
	return nil
}

// Traces yields what the learner asks for.
func (m *memory) Traces(_ context.Context, q store.Query) iter.Seq2[tandem.Trace, error] {
	return func(yield func(tandem.Trace, error) bool) {
		n := 0
		for i := range m.traces {
			t := &m.traces[i]
			if q.Newest {
				t = &m.traces[len(m.traces)-1-i]
			}
			if q.Labelled && !t.Labelled {
				continue
			}
			if n++; q.Limit > 0 && n > q.Limit || !yield(*t, nil) {
				return
			}
		}
	}
}

// Put keeps a version and its certificate under a new name.
func (m *memory) Put(_ context.Context, v tandem.Version, _ []byte, c tandem.Certificate) (tandem.Version, tandem.Certificate, error) {
	v.Name = fmt.Sprintf("v%d", len(m.versions)+1)
	c.ID, c.Version = int64(len(m.certs)+1), v.Name
	m.versions, m.certs = append(m.versions, v), append(m.certs, c)
	return v, c, nil
}

// Promote notes that a version serves.
func (m *memory) Promote(_ context.Context, task, version, why string) (tandem.Event, error) {
	m.note(task, tandem.EventPromoted, version, why)
	return m.events[len(m.events)-1], nil
}

// Certificates lists them, oldest first.
func (m *memory) Certificates(context.Context, string) ([]tandem.Certificate, error) {
	return slices.Clone(m.certs), nil
}

func (m *memory) note(task string, kind tandem.EventKind, version, why string) {
	m.events = append(m.events, tandem.Event{Task: task, Kind: kind, Version: version, Why: why})
}

func (m *memory) count(kind tandem.EventKind) int {
	n := 0
	for i := range m.events {
		n += one(m.events[i].Kind == kind)
	}
	return n
}
