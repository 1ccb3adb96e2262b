package tandem

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Label is one possible answer of a task.
type Label struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"` // shown to the teacher
}

// Guarantee is what a task promises about the answers its small models give.
type Guarantee struct {
	// Alpha is the share of small-model answers that may differ from the
	// teacher's, in (0, 1). Lower is safer and serves less.
	Alpha float64 `json:"alpha"`
	// Delta is the probability that the promise is wrong, in (0, 1).
	Delta float64 `json:"delta"`
}

// Fallback says what a task answers when the teacher cannot.
type Fallback string

// The policies for a failing teacher.
const (
	FallbackError Fallback = "error" // return the teacher's failure
	FallbackBest  Fallback = "best"  // return the best uncertified small answer, marked as such
)

// Task is a question asked again and again with a closed (or discovered) set
// of answers.
type Task struct {
	Name         string
	Description  string
	Instructions string   // what the teacher is told
	Takes        []Kind   // input modalities; text when empty
	Labels       []Label  // the answer space; empty: discovered from the teacher's answers
	MaxLabels    int      // bound on discovered labels
	NeverServe   []string // labels that only the teacher may give

	Teacher   string // name of the provider model that is asked last
	Families  []string
	Guarantee Guarantee
	Fallback  Fallback

	Deadline      time.Duration // for the whole request
	InputBytes    int           // largest input taken
	AuditRate     float64       // share of small answers checked with the teacher, in [MinAuditRate, 1]
	RepeatRate    float64       // share of teacher answers asked twice, in [0, 1)
	StoreInputs   bool          // keep input text in traces; without it nothing can be learnt
	RetentionDays int           // age at which traces are deleted; 0 keeps them
}

// MinAuditRate is the lowest audit rate a task may ask for; below it the
// promise of a deployed gate could not be watched.
const MinAuditRate = 0.001

// Open reports whether the answer space is discovered from the teacher.
func (t *Task) Open() bool { return len(t.Labels) == 0 }

// MaxLabelBytes bounds the length of a discovered label.
const MaxLabelBytes = 64

// Resolve maps a teacher's raw reply to a label of the task. It forgives
// surrounding space, quotes, closing full stops and letter case, nothing else.
// ok is false when the reply lies outside the answer space. Resolving a label
// gives the label itself.
func (t *Task) Resolve(reply string) (label string, ok bool) {
	s := strings.TrimSpace(reply)
	// As written first: a label may itself end in a full stop or a quote.
	if label, ok = t.named(s); ok {
		return label, true
	}
	s = strings.TrimLeftFunc(s, isWrapping)
	s = strings.TrimRightFunc(s, func(r rune) bool { return r == '.' || isWrapping(r) })
	if label, ok = t.named(s); ok {
		return label, true
	}
	if t.Open() && s != "" && len(s) <= MaxLabelBytes && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) {
		return s, true
	}
	return "", false
}

// named finds the label of the name, in the same letter case if there is one.
func (t *Task) named(name string) (string, bool) {
	for i := range t.Labels {
		if t.Labels[i].Name == name {
			return name, true
		}
	}
	for i := range t.Labels {
		if strings.EqualFold(t.Labels[i].Name, name) {
			return t.Labels[i].Name, true
		}
	}
	return "", false
}

func isWrapping(r rune) bool {
	return unicode.IsSpace(r) || r == '"' || r == '\'' || r == '`'
}
