package tandem

import "time"

// Status is the state of a certificate.
type Status string

// The states of a certificate.
const (
	Valid     Status = "valid"     // the gate may use it
	Refused   Status = "refused"   // the test found no threshold that keeps the promise
	Withdrawn Status = "withdrawn" // an alarm ended it
	Replaced  Status = "replaced"  // a later version serves
)

// Certificate is a promise: of the answers accepted at or over Threshold, at
// most a share Alpha differs from the teacher's, and the probability that this
// is false is at most Delta.
type Certificate struct {
	ID        int64     `json:"id"`
	Task      string    `json:"task"`
	Version   string    `json:"version"` // of the student
	Time      time.Time `json:"time"`
	Status    Status    `json:"status"`
	Threshold float64   `json:"threshold"` // in (0, 1]; accept when score >= Threshold
	Alpha     float64   `json:"alpha"`
	Delta     float64   `json:"delta"`      // what the task promises
	DeltaUsed float64   `json:"delta_used"` // what this test spent (statistics.md §2)
	Look      int       `json:"look"`       // how many certificates of this task had looked at rows before, plus one
	Method    string    `json:"method"`     // "binomial" or "betting"
	Rows      int       `json:"rows"`       // certification rows tested
	Accepted  int       `json:"accepted"`   // of them at or over the threshold
	Errors    int       `json:"errors"`     // of those, different from the teacher
	Coverage  float64   `json:"coverage"`   // weighted share of traffic accepted, in [0, 1]
	PValue    float64   `json:"p_value"`    // at the threshold
	FromTrace string    `json:"from_trace"` // first and last row looked at, by trace id
	ToTrace   string    `json:"to_trace"`
	Needs     int       `json:"needs,omitempty"` // when refused: about how many more labelled requests could help; 0 unknown
	Budget    float64   `json:"budget"`          // conformal bound on wrong accepted answers per request (statistics.md §4)
	Why       string    `json:"why"`             // the whole thing in words
}

// Stage is where a student version stands.
type Stage string

// The stages of a student version.
const (
	Candidate Stage = "candidate" // trained
	Shadow    Stage = "shadow"    // not trusted to serve; while nothing serves the newest one answers beside the teacher, unseen
	Serving   Stage = "serving"   // answers what its certificate covers
	Retired   Stage = "retired"
)

// Version is one trained student of a task and where it came from.
type Version struct {
	Name     string    `json:"name"` // "v7": counts up per task
	Task     string    `json:"task"`
	Parent   string    `json:"parent,omitempty"`
	Stage    Stage     `json:"stage"`
	Created  time.Time `json:"created"`
	Families []string  `json:"families"`
	Labels   int       `json:"labels"`
	Rows     int       `json:"rows"`     // trained on
	Bytes    int64     `json:"bytes"`    // size of the artefact
	Artefact string    `json:"artefact"` // sha256 of it, lower-case hex
	Trigger  string    `json:"trigger"`  // what caused the training: start, growth, drift, new label, person
	Agree    float64   `json:"agree"`    // out-of-fold agreement with the teacher, in [0, 1]
	TrainSec float64   `json:"train_s"`
	Why      string    `json:"why"` // of the last change of stage
}

// Event is something people should hear about: a promotion, an alarm, a
// reload, a rollback.
type Event struct {
	ID      int64     `json:"id"`
	Time    time.Time `json:"time"`
	Task    string    `json:"task,omitempty"`
	Kind    EventKind `json:"kind"`
	Version string    `json:"version,omitempty"`
	Why     string    `json:"why"`
}

// EventKind names an event.
type EventKind string

// The kinds of events.
const (
	EventTrained    EventKind = "trained"
	EventRefused    EventKind = "refused"
	EventPromoted   EventKind = "promoted"
	EventAlarm      EventKind = "alarm"
	EventDrift      EventKind = "drift"
	EventRolledBack EventKind = "rolled_back"
	EventRetired    EventKind = "retired"
	EventReloaded   EventKind = "reloaded"
	EventBadReload  EventKind = "bad_reload"
)
