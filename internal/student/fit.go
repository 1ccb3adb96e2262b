package student

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tandem"
)

// Report is what a Fit found out about the student, all of it out of fold:
// each row was judged by members and a score that had not seen it.
type Report struct {
	Scores  []float64 // by row of the data set
	Labels  []int     // predicted, by row
	Correct []bool    // the prediction is the row's label, by row
	Agree   float64   // weighted share of correct predictions
	Folds   int
	Seconds float64 // wall time
}

// Student is what tandem deploys: members of one or more families, a pool
// that mixes them into a label, and a calibrated score. It is immutable and
// safe for concurrent use.
type Student struct {
	labels   []string
	families []string
	members  []Member
	pool     pool
	scorer   scorer
	which    []int // view of each member, -1 for none
	scratch  *sync.Pool
}

// Labels are the answers the student knows.
func (s *Student) Labels() []string { return s.labels }

// Families are the names of its members' families.
func (s *Student) Families() []string { return s.families }

// Fit trains a student. Members are trained on all rows but one fold, in
// turn; their outputs on the fold left out teach the pool and the score; then
// they are trained again on everything. It returns ctx.Err() soon after ctx
// ends.
func Fit(ctx context.Context, families []Family, data Dataset, opt Options) (*Student, Report, error) {
	begin := time.Now()
	if err := check(families, data); err != nil {
		return nil, Report{}, err
	}
	opt.Threads = max(opt.Threads, 1)
	plan := planFolds(data, opt.Seed)
	c := &crossFit{data: data, families: families, folds: plan, opt: opt}
	if err := c.run(ctx); err != nil {
		return nil, Report{}, fmt.Errorf("fit student: %w", err)
	}
	s := &Student{labels: slices.Clone(data.Labels), members: c.final}
	for _, f := range families {
		s.families = append(s.families, f.Name())
	}
	report := s.judge(c)
	s.prepare()
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
	}
	return nil
}

// planFolds gives every row a fold: groups stay together, labels are spread
// evenly, and the assignment depends on the seed and the rows only.
func planFolds(data Dataset, seed uint64) []int {
	type unit struct {
		label int
		order uint64
		rows  []int
	}
	r := rand.New(rand.NewPCG(seed, 0x6a09e667f3bcc909))
	var units []*unit
	groups := make(map[string]*unit)
	for i := range data.Rows {
		g := data.Rows[i].Group
		if u := groups[g]; g != "" && u != nil {
			u.rows = append(u.rows, i)
			continue
		}
		u := &unit{data.Rows[i].Label, r.Uint64(), []int{i}}
		units = append(units, u)
		if g != "" {
			groups[g] = u
		}
	}
	slices.SortFunc(units, func(a, b *unit) int {
		return cmp.Or(cmp.Compare(a.label, b.label), cmp.Compare(a.order, b.order))
	})
	k := min(foldsFor(len(data.Rows)), len(units))
	fold := make([]int, len(data.Rows))
	for i, u := range units {
		for _, row := range u.rows {
			fold[row] = i % k
		}
	}
	return fold
}

func foldsFor(rows int) int {
	switch {
	case rows < 1000:
		return 10
	default:
		return 5
	}
}

// crossFit trains every family once per fold and once on everything.
type crossFit struct {
	data     Dataset
	families []Family
	folds    []int
	opt      Options

	count int        // folds
	outs  [][]Output // by row, by member: out of fold
	final []Member
}

func (c *crossFit) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.count = slices.Max(c.folds) + 1
	c.outs = make([][]Output, len(c.data.Rows))
	for i := range c.outs {
		c.outs[i] = make([]Output, len(c.families))
	}
	c.final = make([]Member, len(c.families))
	type job struct{ fold, family int } // fold -1 is everything
	var jobs []job
	for m := range c.families {
		for k := range c.count {
			if c.count > 1 {
				jobs = append(jobs, job{k, m})
			}
		}
	}
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var mu sync.Mutex
	var first error
	done := 0
	total := len(jobs) + 2*len(c.families)
	tick := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		done += n
		if c.opt.Progress != nil {
			c.opt.Progress(min(float64(done)/float64(total), 1))
		}
	}
	var wg sync.WaitGroup
	for range min(c.opt.Threads, max(len(jobs), 1)) {
		wg.Go(func() {
			for j := range queue {
				if err := c.fold(ctx, j.fold, j.family); err != nil {
					mu.Lock()
					if first == nil {
						first = fmt.Errorf("family %s: %w", c.families[j.family].Name(), err)
					}
					mu.Unlock()
					cancel()
					return
				}
				tick(1)
			}
		})
	}
	wg.Wait()
	if first != nil {
		return first
	}
	for m, f := range c.families {
		member, err := f.Train(ctx, c.data, Options{Seed: c.opt.Seed, Threads: c.opt.Threads})
		if err != nil {
			return fmt.Errorf("family %s: %w", f.Name(), err)
		}
		c.final[m] = member
		tick(2)
	}
	return nil
}

// fold trains a family without one fold and keeps its outputs there.
func (c *crossFit) fold(ctx context.Context, fold, family int) error {
	part := Dataset{Labels: c.data.Labels}
	for i, k := range c.folds {
		if k != fold {
			part.Rows = append(part.Rows, c.data.Rows[i])
		}
	}
	member, err := c.families[family].Train(ctx, part, Options{Seed: c.opt.Seed + uint64(fold) + 1, Threads: 1, Quick: true})
	if err != nil {
		return err
	}
	for i, k := range c.folds {
		if k == fold {
			member.Predict(&c.data.Rows[i].Input, &c.outs[i][family])
		}
	}
	return nil
}

// scratch is what one prediction needs.
type scratch struct {
	views  []View
	outs   []Output
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
			views: make([]View, len(names)), outs: make([]Output, len(s.members)),
			mixed: make([]float32, len(s.labels)), logits: make([]float32, len(s.labels)),
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
	for _, v := range x.views {
		v.Fill(in)
	}
	for m, member := range s.members {
		if v := s.which[m]; v >= 0 {
			member.(Viewer).PredictView(x.views[v], &x.outs[m])
		} else {
			member.Predict(in, &x.outs[m])
		}
	}
	entropy := s.pool.mix(x.outs, x.mixed, x.logits)
	s.scorer.gather(x.outs, x.mixed, entropy, length(in), &x.facts)
	p := Prediction{Label: x.facts.label, Score: s.scorer.score(&x.facts)}
	s.scratch.Put(x)
	return p
}

// Update returns a student whose members have also seen rows, where they can;
// members that cannot stay as they are. The pool and the score are kept, so a
// certificate of the receiver does not cover the result. It returns an error
// when no member can learn.
func (s *Student) Update(rows []Example) (*Student, error) {
	next := &Student{
		labels: s.labels, families: s.families, members: slices.Clone(s.members),
		pool: s.pool, scorer: s.scorer,
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
