// Package console is the HTTP that people and the command line call: where
// tasks stand, promoting and rolling back students, training, and importing
// and exporting traces. It answers only this machine.
package console

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"tandem"
	"tandem/internal/store"
	"tandem/internal/student"
)

// Reader is what the console reads of the store.
type Reader interface {
	Stats(ctx context.Context, task string) (store.TaskStats, error)
	Versions(ctx context.Context, task string) ([]tandem.Version, error)
	Certificates(ctx context.Context, task string) ([]tandem.Certificate, error)
	Events(ctx context.Context, task string, limit int) ([]tandem.Event, error)
	Traces(ctx context.Context, q store.Query) iter.Seq2[tandem.Trace, error]
}

// Registry changes which student serves. Errors of callers are *tandem.Error.
type Registry interface {
	// Promote lets a version serve what its certificate covers;
	// tandem.Conflict when it has no valid one.
	Promote(ctx context.Context, task, version, why string) (tandem.Event, error)
	// Rollback lets the version that served before serve again, or the
	// teacher alone when there is none.
	Rollback(ctx context.Context, task, why string) (tandem.Event, error)
}

// Learner trains students.
type Learner interface {
	// Learn asks for a training of the task and returns without waiting for
	// it; tandem.Conflict when one is under way.
	Learn(ctx context.Context, task, why string) error
}

// Importer stores traces that were recorded elsewhere.
type Importer interface {
	// Import reads JSON lines. Those that cannot be used are reported, not
	// stored, and do not stop the others; those that are stored already are
	// counted as known.
	Import(ctx context.Context, task tandem.Task, fields Fields, rows io.Reader) (ImportReport, error)
}

// Fields names where in a line the values are; the known shapes are recognised
// when all are empty.
type Fields struct {
	Text, Teacher, Gold, Session, Time, ID string
}

// ImportReport says what an import did.
type ImportReport struct {
	Lines    int         `json:"lines"`
	Imported int         `json:"imported"` // stored now
	Known    int         `json:"known"`    // stored already
	Faulty   int         `json:"faulty"`   // could not be used
	Faults   []LineFault `json:"faults"`   // the first of them
}

// LineFault is one line that could not be used.
type LineFault struct {
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// Console answers the people's API.
type Console struct {
	// Tasks lists the tasks in force, by name.
	Tasks func() []tandem.Task
	// Families is the table of the families of students that there are here.
	Families func() map[string]student.Family
	Reader   Reader
	Registry Registry
	// Learner is nil where nothing trains, as when the command line works on
	// a data folder without a server.
	Learner  Learner
	Importer Importer
	// Export writes traces in the format that Importer reads, and says how
	// many.
	Export func(w io.Writer, traces iter.Seq2[tandem.Trace, error]) (int, error)
	// Patience is how long the caller of an import may send nothing, and that
	// of an export take nothing, before it is given up; 30s when 0. As long as
	// data flows there is no limit.
	Patience time.Duration
	// Tokens are the bearer tokens accepted; any caller of this machine when
	// empty.
	Tokens []string
	Log    *slog.Logger
}

// Handler returns the routes under /api/.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /api/tasks", c.route(c.tasks))
	mux.Handle("GET /api/tasks/{task}/students", c.route(c.ofTask(c.students)))
	mux.Handle("POST /api/tasks/{task}/students/{version}/promote", c.route(c.because("promoted by a person", c.promote)))
	mux.Handle("POST /api/tasks/{task}/rollback", c.route(c.because("rolled back by a person", c.rollback)))
	mux.Handle("POST /api/tasks/{task}/learn", c.route(c.because("asked for by a person", c.learn)))
	mux.Handle("GET /api/events", c.route(c.events))
	mux.Handle("POST /api/traces/import", c.guard(http.HandlerFunc(c.importTraces)))
	mux.Handle("GET /api/traces/export", c.guard(http.HandlerFunc(c.export)))
	mux.Handle("/api/", c.route(func(r *http.Request) (any, error) {
		return nil, tandem.Errorf(tandem.NotFound, "the console has no %s %s; docs/api.md lists its calls", r.Method, r.URL.Path)
	}))
	return http.NewCrossOriginProtection().Handler(mux)
}

// TaskStatus is where a task stands.
type TaskStatus struct {
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Teacher     string           `json:"teacher"`
	Guarantee   tandem.Guarantee `json:"guarantee"`
	Traces      int              `json:"traces"`
	Labelled    int              `json:"labelled"`
	Served      int              `json:"served"` // answered by a student
	SavedUSD    float64          `json:"saved_usd"`
	CostUSD     float64          `json:"cost_usd"`
	// Gate is open, closed by an alarm, or none while no student serves.
	Gate        string              `json:"gate"`
	Version     string              `json:"version,omitempty"` // that serves or served last
	Certificate *tandem.Certificate `json:"certificate,omitempty"`
	Why         string              `json:"why"` // the state in words
}

// The states of a gate.
const (
	GateOpen   = "open"
	GateClosed = "closed"
	GateNone   = "none"
)

// Student is a version with its certificate.
type Student struct {
	tandem.Version
	Certificate *tandem.Certificate `json:"certificate,omitempty"`
}

// status decides where a task stands from what is stored about it.
func status(t tandem.Task, s store.TaskStats, versions []tandem.Version, certificates []tandem.Certificate) TaskStatus {
	out := TaskStatus{
		Name: t.Name, Description: t.Description, Teacher: t.Teacher, Guarantee: t.Guarantee,
		Traces: s.Traces, Labelled: s.Labelled, Served: s.Served, SavedUSD: s.SavedUSD, CostUSD: s.CostUSD,
		Gate: GateNone, Why: "no student yet; the teacher answers everything",
	}
	if n := len(certificates); n > 0 {
		last := &certificates[n-1]
		out.Certificate, out.Version, out.Why = last, last.Version, last.Why
		switch last.Status {
		case tandem.Valid: // otherwise it would serve
			out.Why = fmt.Sprintf("%s is certified but does not serve; tandem students promote %s %s lets it", last.Version, t.Name, last.Version)
		case tandem.Withdrawn:
			out.Gate = GateClosed
			for _, v := range versions {
				if v.Name == last.Version {
					out.Why = v.Why // of leaving service
				}
			}
		}
	}
	serving := servingOf(versions)
	if serving == "" {
		return out
	}
	out.Version, out.Certificate, out.Gate = serving, certificateOf(certificates, serving), GateClosed
	switch {
	case out.Certificate == nil:
		out.Why = serving + " has no certificate, so the teacher answers everything"
	case out.Certificate.Status == tandem.Valid:
		out.Gate, out.Why = GateOpen, out.Certificate.Why
	default:
		out.Why = out.Certificate.Why
	}
	return out
}

// servingOf returns the version that serves, "" when none does.
func servingOf(versions []tandem.Version) string {
	for _, v := range versions {
		if v.Stage == tandem.Serving {
			return v.Name
		}
	}
	return ""
}

// certificateOf returns the newest certificate of a version.
func certificateOf(certificates []tandem.Certificate, version string) *tandem.Certificate {
	for i := len(certificates) - 1; i >= 0; i-- {
		if certificates[i].Version == version {
			return &certificates[i]
		}
	}
	return nil
}
