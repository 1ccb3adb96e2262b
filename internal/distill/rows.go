package distill

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/store"
	"tandem/internal/student"
)

// row is one labelled trace as the learner sees it.
type row struct {
	id         string
	time       time.Time
	group      string // session, "" stands alone
	input      tandem.Input
	label      string // the teacher's
	again      string // its second answer to the same request, "" when not asked twice
	outside    bool   // the teacher answered outside the space
	propensity float64
	floor      float64 // lowest propensity any request could have met then; 0 unknown
}

// dataset is everything known of a task at one moment, split for good.
type dataset struct {
	taken   time.Time // the moment: rows after it are fresh for the next certificate
	train   []row     // in time order, inside the answer space
	certify []row     // in time order, propensity > 0
	labels  []string  // of train, most frequent first
}

// Reader is what the learner reads of the store.
type Reader interface {
	Traces(ctx context.Context, q store.Query) iter.Seq2[tandem.Trace, error]
	Certificates(ctx context.Context, task string) ([]tandem.Certificate, error)
}

// load reads the newest limit labelled traces of a task and splits them.
func load(ctx context.Context, traces Reader, key certify.Key, task *tandem.Task, taken time.Time, limit int) (dataset, error) {
	var rows []row
	q := store.Query{Task: task.Name, Labelled: true, Newest: true, Limit: limit}
	for t, err := range traces.Traces(ctx, q) {
		if err != nil {
			return dataset{}, fmt.Errorf("read traces of %s: %w", task.Name, err)
		}
		if len(t.Input.Parts) == 0 {
			continue // redacted: nothing to learn from
		}
		rows = append(rows, rowOf(t, task))
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.id, b.id))
	})
	return split(rows, key, taken), nil
}

// rowOf reads a trace by today's answer space: a label that has left it since
// is outside.
func rowOf(t tandem.Trace, task *tandem.Task) row {
	r := row{
		id: t.ID, time: t.Time, group: t.Session, input: t.Input,
		label: t.Teacher, outside: t.OutsideSpace, propensity: t.Propensity,
	}
	if closed(t.Reason) || t.Source == tandem.Imported {
		r.floor = 1
	}
	label, ok := task.Resolve(t.Teacher)
	if !ok {
		r.outside = true
	} else if !r.outside {
		r.label = label
	}
	if t.TeacherAgain != "" {
		if r.again, ok = task.Resolve(t.TeacherAgain); !ok {
			r.again = t.TeacherAgain
		}
	}
	return r
}

// closed reports whether a reason says that no request could have been
// answered by a student at that moment, so that every label was asked for.
func closed(r tandem.Reason) bool {
	return r == tandem.NoStudent || r == tandem.NotCertified || r == tandem.GateClosed
}

// split deals the rows to their sides. A row's side follows from its session,
// or its id when it has none, and never changes. Of a burst of identical
// requests in one session the first counts when certifying.
func split(rows []row, key certify.Key, taken time.Time) dataset {
	d := dataset{taken: taken}
	counts := map[string]int{}
	type burst struct {
		group string
		input [32]byte
	}
	seen := map[burst]bool{}
	for _, r := range rows {
		unit := r.group
		if unit == "" {
			unit = r.id
		}
		if !key.Certify(unit) {
			if !r.outside {
				d.train = append(d.train, r)
				counts[r.label]++
			}
			continue
		}
		if r.propensity <= 0 {
			continue
		}
		if r.group != "" {
			b := burst{r.group, r.input.Hash()}
			if seen[b] {
				continue
			}
			seen[b] = true
		}
		d.certify = append(d.certify, r)
	}
	for l := range counts {
		d.labels = append(d.labels, l)
	}
	slices.SortFunc(d.labels, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return d
}

// examples turns the training side into what families learn from. Rows before
// the change weigh oldWeight.
func (d *dataset) examples(change time.Time) student.Dataset {
	index := make(map[string]int, len(d.labels))
	for i, l := range d.labels {
		index[l] = i
	}
	out := student.Dataset{Labels: d.labels, Rows: make([]student.Example, len(d.train))}
	sure := agreement(d.train)
	for i := range d.train {
		r := &d.train[i]
		e := student.Example{Input: r.input, Label: index[r.label], Weight: 1, Group: r.group}
		if r.time.Before(change) {
			e.Weight = oldWeight
		}
		e.Weight *= sure[i]
		out.Rows[i] = e
	}
	return out
}

// agreement is the share of the teacher's answers to the input of each row that
// were the row's label. Where the teacher contradicts itself, its word counts
// less: a row is a vote, and so is a second answer to the same request.
func agreement(rows []row) []float32 {
	type vote struct {
		input [32]byte
		label string
	}
	keys := make([][32]byte, len(rows))
	all, votes := make(map[[32]byte]int, len(rows)), make(map[vote]int, len(rows))
	count := func(input [32]byte, label string) {
		all[input]++
		votes[vote{input, label}]++
	}
	for i := range rows {
		keys[i] = rows[i].input.Hash()
		count(keys[i], rows[i].label)
		if rows[i].again != "" {
			count(keys[i], rows[i].again)
		}
	}
	share := make([]float32, len(rows))
	for i := range rows {
		share[i] = float32(votes[vote{keys[i], rows[i].label}]) / float32(all[keys[i]])
	}
	return share
}

// What the rows from before a change still count: much of what they teach
// stays true, and some of it misleads.
const (
	oldWeight = 0.3  // against 1 for a row since
	oldRows   = 2000 // of them at most, or oldTimes as many as since
	oldTimes  = 3
)

// forget drops the oldest training rows from before a change.
func (d *dataset) forget(change time.Time) {
	recent := len(since(d.train, change))
	old := len(d.train) - recent
	if extra := old - max(oldRows, oldTimes*recent); extra > 0 && !change.IsZero() {
		d.train = d.train[extra:]
	}
}

// since returns the certification rows from the moment on.
func since(rows []row, t time.Time) []row {
	i, _ := slices.BinarySearchFunc(rows, t, func(r row, t time.Time) int { return r.time.Compare(t) })
	return rows[i:]
}
