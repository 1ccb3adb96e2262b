package student

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"tandem"
)

// Report is what a Fit found out about the student, all of it out of fold:
// each row was judged by members and a score that had not seen it.
type Report struct {
	Judged  []bool    // by row of the data set: whether it was left out once and the rest holds; of many rows only some are
	Scores  []float64 // by row
	Labels  []int     // predicted, by row
	Correct []bool    // the prediction is the row's label, by row
	Agree   float64   // weighted share of correct predictions
	Folds   int
	Micros  float64     // estimated time of one prediction, on average
	Tried   []Candidate // the ways to put members together that were compared, the chosen one first
	Seconds float64     // wall time
}

// Student is what tandem deploys: members of one or more families, in one
// stage or two. A stage pools its members into a label and a calibrated score;
// the second is asked only when the score of the first is too low. It is
// immutable and safe for concurrent use.
type Student struct {
	labels   []string
	families []string
	members  []Member
	stages   []stage
	which    []int // view of each member, -1 for none
	scratch  *sync.Pool
}

// stage is some of the members with a pool and a score of their own.
type stage struct {
	use    []int // members, ascending
	pool   pool  // by position in use
	scorer scorer
	enough float64 // the score from which it answers; the last stage always does
}

// Labels are the answers the student knows.
func (s *Student) Labels() []string { return s.labels }

// Families are the names of its members' families.
func (s *Student) Families() []string { return s.families }

// Fit trains a student. Members are trained on all rows but one fold, in
// turn; their outputs on the fold left out teach the pool and the score, and
// decide which of them the student keeps; then those are trained again on
// everything. It returns ctx.Err() soon after ctx ends.
func Fit(ctx context.Context, families []Family, data Dataset, opt Options) (*Student, Report, error) {
	begin := time.Now()
	if err := check(families, data); err != nil {
		return nil, Report{}, err
	}
	opt.Threads = max(opt.Threads, 1)
	c := &crossFit{data: data, families: families, folds: planFolds(data, opt.Seed), opt: opt}
	if err := c.run(ctx); err != nil {
		return nil, Report{}, fmt.Errorf("fit student: %w", err)
	}
	best := c.choose()
	s := &Student{labels: slices.Clone(data.Labels)}
	final, err := c.train(ctx, best.members())
	if err != nil {
		return nil, Report{}, fmt.Errorf("fit student: %w", err)
	}
	at := make([]int, len(families)) // position of each family among the members kept
	for _, m := range best.members() {
		at[m] = len(s.members)
		s.members, s.families = append(s.members, final[m]), append(s.families, families[m].Name())
	}
	for _, g := range best.stages() {
		for k := range g.use {
			g.use[k] = at[g.use[k]]
		}
		s.stages = append(s.stages, g)
	}
	s.prepare()
	report := best.report
	report.Seconds = time.Since(begin).Seconds()
	return s, report, nil
}

func check(families []Family, data Dataset) error {
	if len(families) == 0 {
		return errors.New("fit student: no families")
	}
	if len(data.Labels) == 0 || len(data.Rows) == 0 {
		return errors.New("fit student: no labelled rows")
	}
	for i := range data.Rows {
		r := &data.Rows[i]
		if r.Label < 0 || r.Label >= len(data.Labels) {
			return fmt.Errorf("fit student: row %d has label %d of %d", i, r.Label, len(data.Labels))
		}
		if !(r.Weight > 0) || math.IsInf(float64(r.Weight), 0) {
			return fmt.Errorf("fit student: row %d has weight %g, want more than 0", i, r.Weight)
		}
		if r.Soft != nil && len(r.Soft) != len(data.Labels) {
			return fmt.Errorf("fit student: row %d has %d probabilities of %d labels", i, len(r.Soft), len(data.Labels))
		}
	}
	return nil
}

// scratch is what one prediction needs.
type scratch struct {
	views  []View
	filled []bool // by view
	asked  []bool // by member
	outs   []Output
	part   []Output // of one stage
	mixed  []float32
	logits []float32
	facts  facts
}

// prepare sets up what predictions share.
func (s *Student) prepare() {
	names := []string{}
	which := make([]int, len(s.members)) // view of each member, -1 for none
	for m, member := range s.members {
		which[m] = -1
		if v, ok := member.(Viewer); ok {
			which[m] = slices.Index(names, v.View())
			if which[m] < 0 {
				which[m] = len(names)
				names = append(names, v.View())
			}
		}
	}
	s.which = which
	s.scratch = &sync.Pool{New: func() any {
		x := &scratch{
			views: make([]View, len(names)), filled: make([]bool, len(names)), asked: make([]bool, len(s.members)),
			outs: make([]Output, len(s.members)), mixed: make([]float32, len(s.labels)), logits: make([]float32, len(s.labels)),
		}
		for m, v := range which {
			if v >= 0 && x.views[v] == nil {
				x.views[v] = s.members[m].(Viewer).NewView()
			}
		}
		return x
	}}
}

// Predict answers one input. It allocates nothing after warm-up.
func (s *Student) Predict(in *tandem.Input) Prediction {
	x := s.scratch.Get().(*scratch)
	clear(x.filled)
	clear(x.asked)
	var p Prediction
	for k := range s.stages {
		g := &s.stages[k]
		x.part = x.part[:0]
		for _, m := range g.use {
			if !x.asked[m] {
				s.ask(m, in, x)
			}
			x.part = append(x.part, x.outs[m])
		}
		entropy := g.pool.mix(x.part, x.mixed, x.logits)
		g.scorer.gather(x.part, x.mixed, entropy, length(in), &x.facts)
		p = Prediction{Label: x.facts.label, Score: g.scorer.score(&x.facts)}
		if p.Score >= g.enough {
			break
		}
	}
	s.scratch.Put(x)
	return p
}

// ask lets one member predict.
func (s *Student) ask(m int, in *tandem.Input, x *scratch) {
	x.asked[m] = true
	v := s.which[m]
	if v < 0 {
		s.members[m].Predict(in, &x.outs[m])
		return
	}
	if !x.filled[v] {
		x.views[v].Fill(in)
		x.filled[v] = true
	}
	s.members[m].(Viewer).PredictView(x.views[v], &x.outs[m])
}

// Update returns a student whose members have also seen rows, where they can;
// members that cannot stay as they are. The pool and the score are kept, so a
// certificate of the receiver does not cover the result. It returns an error
// when no member can learn.
func (s *Student) Update(rows []Example) (*Student, error) {
	next := &Student{
		labels: s.labels, families: s.families, members: slices.Clone(s.members),
		stages: s.stages,
	}
	learnt := false
	for m, member := range s.members {
		u, ok := member.(Updater)
		if !ok {
			continue
		}
		changed, err := u.Update(rows)
		if err != nil {
			return nil, fmt.Errorf("update student: %w", err)
		}
		next.members[m], learnt = changed, true
	}
	if !learnt {
		return nil, errors.New("update student: no member can learn from single rows; fit a new student")
	}
	next.prepare()
	return next, nil
}
