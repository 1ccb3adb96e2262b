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
	case rows < 3000:
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

// judge fits the pool and the score and reports.
func (s *Student) judge(c *crossFit) Report {
	n, classes := len(c.data.Rows), len(s.labels)
	rep := Report{Scores: make([]float64, n), Labels: make([]int, n), Correct: make([]bool, n), Folds: c.count}
	if c.count < 2 { // a single row or group: nothing can be left out
		s.pool.weights = make([]float64, len(s.members))
		for m := range s.pool.weights {
			s.pool.weights[m] = 1
		}
		for i := range c.data.Rows {
			for m := range c.outs[i] {
				c.outs[i][m].Probs = make([]float32, classes)
			}
		}
	} else {
		s.pool.fit(c)
	}
	p, z := make([][]float32, n), make([]float32, classes)
	entropy := make([]float64, n)
	guess := make([]int, n)
	weight := make([]float64, n)
	for i := range p {
		p[i] = make([]float32, classes)
		entropy[i] = s.pool.mix(c.outs[i], p[i], z)
		guess[i] = argmax(p[i])
		weight[i] = float64(c.data.Rows[i].Weight)
	}
	var agree, total float64
	for i := range p {
		rep.Labels[i] = guess[i]
		rep.Correct[i] = guess[i] == c.data.Rows[i].Label
		total += weight[i]
		if rep.Correct[i] {
			agree += weight[i]
		}
	}
	rep.Agree = agree / total

	rows := make([][]float64, n)
	var f facts
	for fold := range c.count {
		var sc scorer
		sc.base(c.data, guess, rep.Correct, func(i int) bool { return c.folds[i] != fold })
		for i := range rows {
			if c.folds[i] == fold {
				sc.gather(c.outs[i], p[i], entropy[i], words(&c.data.Rows[i].Input), &f)
				rows[i] = slices.Clone(f.v)
			}
		}
	}
	for fold := range c.count {
		sc := scorer{reliable: make([]float64, classes)}
		var tr [][]float64
		var y []bool
		var w []float64
		for i := range rows {
			if c.folds[i] != fold || c.count == 1 {
				tr, y, w = append(tr, rows[i]), append(y, rep.Correct[i]), append(w, weight[i])
			}
		}
		sc.fit(tr, y, w)
		for i := range rows {
			if c.folds[i] == fold {
				rep.Scores[i] = sc.score(&facts{v: rows[i]})
			}
		}
	}
	s.scorer.base(c.data, guess, rep.Correct, func(int) bool { return true })
	s.scorer.fit(rows, rep.Correct, weight)
	return rep
}

func words(in *tandem.Input) int {
	n := 0
	for i := range in.Parts {
		n += len(in.Parts[i].Text)
	}
	return n
}

// base counts how often labels occur and are right when predicted.
func (s *scorer) base(data Dataset, guess []int, right []bool, use func(i int) bool) {
	k := len(data.Labels)
	var all, good float64
	count, ok, share := make([]float64, k), make([]float64, k), make([]float64, k)
	for i := range data.Rows {
		if !use(i) {
			continue
		}
		w := float64(data.Rows[i].Weight)
		all += w
		share[data.Rows[i].Label] += w
		count[guess[i]] += w
		if right[i] {
			good += w
			ok[guess[i]] += w
		}
	}
	mean := (good + 1) / (all + 2)
	s.reliable, s.prior = make([]float64, k), make([]float64, k)
	const strength = 10
	for l := range k {
		s.reliable[l] = logit((ok[l] + strength*mean) / (count[l] + strength))
		s.prior[l] = math.Log((share[l] + 1) / (all + float64(k)))
	}
}

// fit chooses the weights by the likelihood of the out-of-fold labels.
func (q *pool) fit(c *crossFit) {
	q.weights = make([]float64, len(c.families))
	q.weights[0] = 1
	p, z := make([]float32, len(c.data.Labels)), make([]float32, len(c.data.Labels))
	step := max(len(c.data.Rows)/5000, 1)
	loss := func() float64 {
		var sum float64
		for i := 0; i < len(c.data.Rows); i += step {
			q.mix(c.outs[i], p, z)
			sum -= float64(c.data.Rows[i].Weight) * math.Log(float64(p[c.data.Rows[i].Label])+1e-9)
		}
		return sum
	}
	best := loss()
	for size := 0.4; size > 0.04; size /= 2 {
		for again := true; again; {
			again = false
			for m := range q.weights {
				for _, d := range []float64{size, -size} {
					old := q.weights[m]
					q.weights[m] = max(old+d, 0)
					if l := loss(); l < best-1e-9 {
						best, again = l, true
					} else {
						q.weights[m] = old
					}
				}
			}
		}
	}
}

func argmax(p []float32) int {
	best := 0
	for k, v := range p {
		if v > p[best] {
			best = k
		}
	}
	return best
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
	s.scorer.gather(x.outs, x.mixed, entropy, words(in), &x.facts)
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
