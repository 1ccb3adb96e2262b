package tandem

import "time"

// Trace is the learning record of one request.
type Trace struct {
	ID      string    `json:"id"`
	Task    string    `json:"task"`
	Time    time.Time `json:"time"`              // UTC, microseconds
	Session string    `json:"session,omitempty"` // keyed hash of the caller's session; requests of one session share a split
	Input   Input     `json:"input"`
	Source  Source    `json:"source"`

	// The decision.
	Answer    string        `json:"answer"`
	Step      StepKind      `json:"step"`
	Model     string        `json:"model"`
	Score     float64       `json:"score"`
	Certified bool          `json:"certified"`
	Reason    Reason        `json:"reason"`
	CostUSD   float64       `json:"cost_usd"`
	SavedUSD  float64       `json:"saved_usd"`
	Took      time.Duration `json:"took_ns"`
	// Student is what the live student said, also when the teacher answered:
	// "" when no student could read the input.
	Student      string `json:"student,omitempty"`
	StudentModel string `json:"student_model,omitempty"` // version

	// Propensity is the probability, fixed before the coin was thrown, with
	// which the teacher's label was asked for, in [0, 1]; 1 when the teacher
	// answered. 0: no audit was possible, the row certifies nothing.
	Propensity float64 `json:"propensity"`
	// Audit says that the coin fell on asking the teacher about an accepted
	// answer; its label arrives after the reply.
	Audit bool `json:"audit,omitempty"`

	// The teacher's label. Labelled is true once the teacher has answered;
	// Teacher is then its label, or its raw reply when OutsideSpace.
	Labelled     bool   `json:"labelled"`
	Teacher      string `json:"teacher,omitempty"`
	TeacherModel string `json:"teacher_model,omitempty"`
	OutsideSpace bool   `json:"outside_space,omitempty"` // never learnt from; a disagreement when certifying
	// TeacherAgain is a second, independent answer of the teacher to the same
	// input, asked on a random share; "" when not asked.
	TeacherAgain string `json:"teacher_again,omitempty"`

	Gold     string `json:"gold,omitempty"`     // the truth, from feedback
	Feedback string `json:"feedback,omitempty"` // free comment of the caller
}

// Source says how a trace came to be.
type Source string

// The sources of traces.
const (
	Live     Source = "live"
	Imported Source = "imported"
)
