// Package store is the contract of tandem's durable memory: traces, student
// versions with their artefacts, certificates and events.
package store

import (
	"context"
	"iter"
	"time"

	"tandem"
)

// Traces is the append-only learning log.
type Traces interface {
	// Write stores a batch in one durable transaction: when it returns nil,
	// the batch survives a crash. Labels may name traces of the same batch.
	// Trace ids already stored and labels of unknown traces are ignored. A
	// trace without id or task makes the whole batch fail with
	// tandem.InvalidRequest; nothing of it is stored.
	Write(ctx context.Context, b Batch) error
	// Trace returns one trace; tandem.NotFound when there is none.
	Trace(ctx context.Context, id string) (tandem.Trace, error)
	// Traces yields what matches, in time order (ties by id), newest first
	// when q.Newest. The first error ends the sequence. No lock is held between
	// two traces: what is written meanwhile may or may not be seen.
	Traces(ctx context.Context, q Query) iter.Seq2[tandem.Trace, error]
	// Stats counts the traces of a task.
	Stats(ctx context.Context, task string) (TaskStats, error)
	// Expire deletes a task's traces older than the time, at most limit of
	// them, and says how many went.
	Expire(ctx context.Context, task string, before time.Time, limit int) (int, error)
}

// Batch is what one transaction of the trace log stores.
type Batch struct {
	Traces []tandem.Trace
	Labels []Label
}

// Label adds to a trace what became known after its reply: the teacher's
// answer to an audit, a repeated answer, or feedback. A later label of the
// same trace wins field by field.
type Label struct {
	TraceID      string
	Teacher      string // set when not "" or OutsideSpace; the trace is labelled from then on
	TeacherModel string
	OutsideSpace bool
	TeacherAgain string  // set when not ""
	Gold         string  // set when not ""
	Feedback     string  // set when not ""
	CostUSD      float64 // added to the trace's cost
}

// Query selects traces. Zero fields do not restrict.
type Query struct {
	Task     string
	After    string    // only traces after this id in the order asked for; tandem.NotFound when there is no such trace
	Since    time.Time // inclusive
	Until    time.Time // exclusive
	Labelled bool      // only traces with a teacher's label
	Audited  string    // only labelled audits of answers given by this student version
	Newest   bool
	Limit    int // 0: all
}

// TaskStats counts a task's traces.
type TaskStats struct {
	Traces    int
	Labelled  int
	Served    int // answered by a student
	Certified int
	SavedUSD  float64
	CostUSD   float64
}

// Students keeps versions, artefacts and certificates.
type Students interface {
	// PutVersion stores a new version with its artefact and certificate in one
	// transaction. Version.Name is assigned ("v1", "v2", …) and the
	// certificate's ID and Version set in what is returned.
	PutVersion(ctx context.Context, v tandem.Version, artefact []byte, c tandem.Certificate) (tandem.Version, tandem.Certificate, error)
	// SetStages changes stages, certificate states and adds an event in one
	// transaction. At most one version of a task serves: a change that would
	// make two is a tandem.Conflict, an unknown version or certificate
	// tandem.NotFound, and neither changes anything.
	SetStages(ctx context.Context, ch Change) error
	// Versions lists a task's versions, oldest first.
	Versions(ctx context.Context, task string) ([]tandem.Version, error)
	// Certificates lists a task's certificates, oldest first.
	Certificates(ctx context.Context, task string) ([]tandem.Certificate, error)
	// Artefact returns the bytes whose sha256 is given, verified;
	// tandem.NotFound when there are none (any more).
	Artefact(ctx context.Context, sha256 string) ([]byte, error)
	// DropArtefacts deletes the artefacts of the versions, which stay listed,
	// and says how many went. Bytes that another version also has are kept.
	DropArtefacts(ctx context.Context, task string, versions []string) (int, error)
}

// Change is one transition of a task's students.
type Change struct {
	Task         string
	Stages       map[string]tandem.Stage // by version name
	Certificates map[int64]tandem.Status // by certificate id
	Event        tandem.Event            // its Why is also written to the versions changed
}

// Events is the log of what people should hear about.
type Events interface {
	AddEvent(ctx context.Context, e tandem.Event) error
	// Events lists the newest first; task "" means all.
	Events(ctx context.Context, task string, limit int) ([]tandem.Event, error)
}

// Settings are small named values that outlive a restart, such as the key of
// the hashes that split and audit.
type Settings interface {
	// Setting returns the stored value; when there is none it stores and
	// returns initial.
	Setting(ctx context.Context, name string, initial []byte) ([]byte, error)
}

// Store is a whole database. Implementations live in folders below and pass
// storetest.
type Store interface {
	Traces
	Students
	Events
	Settings
	Close() error
}
