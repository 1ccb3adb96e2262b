package student

import (
	"math"
	"slices"
	"sync"

	"tandem"
)

// maxJudged bounds the rows that the pool and the score are fitted on; more
// do not make them better.
const maxJudged = 12_000

// evidence is what the out-of-fold outputs of some members say, by judged row.
type evidence struct {
	*crossFit
	use     []int      // the members
	outs    [][]Output // by row, by position in use
	pool    pool
	probs   [][]float32 // pooled
	entropy []float64
	guess   []int
	right   []bool
	weight  []float64
	facts   [][]float64
	scores  []float64 // each fold's by a score fitted on the others
}

// hear takes the evidence of some members: it fits the pool, and scores every
// row by a score that has not seen it.
func (c *crossFit) hear(use []int) *evidence {
	n, classes := len(c.judged), len(c.data.Labels)
	e := &evidence{
		crossFit: c, use: use, outs: make([][]Output, n), probs: make([][]float32, n), entropy: make([]float64, n),
		guess: make([]int, n), right: make([]bool, n), weight: make([]float64, n), facts: make([][]float64, n),
	}
	for i := range n {
		for _, m := range use {
			e.outs[i] = append(e.outs[i], c.outs[i][m])
		}
	}
	if c.count < 2 {
		e.trust() // a single row or group: nothing could be left out
	} else {
		e.fitPool()
	}
	all, z := make([]float32, n*classes), make([]float32, classes)
	for i := range n {
		e.probs[i] = all[i*classes : (i+1)*classes]
		e.entropy[i] = e.pool.mix(e.outs[i], e.probs[i], z)
		e.guess[i] = argmax(e.probs[i])
		e.right[i] = e.guess[i] == e.row(i).Label
		e.weight[i] = float64(e.row(i).Weight)
	}
	e.gather()
	e.probs = nil
	e.scores = e.scoreFolds()
	return e
}

// row is the i-th judged row, and foldOf its fold.
func (c *crossFit) row(i int) *Example { return &c.data.Rows[c.judged[i]] }
func (c *crossFit) foldOf(i int) int   { return c.folds[c.judged[i]] }

// stage fits the score on all rows.
func (e *evidence) stage() stage {
	g := stage{use: slices.Clone(e.use), pool: e.pool}
	g.scorer.base(e, func(int) bool { return true })
	e.fit(&g.scorer, -1)
	return g
}

// gather collects the facts of every row. The reliability of labels comes
// from the other folds, or it would give the row's own answer away.
func (e *evidence) gather() {
	var f facts
	for fold := range e.count {
		var s scorer
		s.base(e, func(i int) bool { return e.foldOf(i) != fold })
		for i := range e.facts {
			if e.foldOf(i) == fold {
				s.gather(e.outs[i], e.probs[i], e.entropy[i], length(&e.row(i).Input), &f)
				e.facts[i] = slices.Clone(f.v)
			}
		}
	}
}

// scoreFolds judges every fold by a score fitted on the others.
func (e *evidence) scoreFolds() []float64 {
	scores := make([]float64, len(e.facts))
	gate := make(chan struct{}, e.opt.Threads)
	var wg sync.WaitGroup
	for fold := range e.count {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			s := scorer{reliable: make([]float64, len(e.data.Labels))}
			e.fit(&s, fold)
			for i := range scores {
				if e.foldOf(i) == fold {
					scores[i] = s.score(&facts{v: e.facts[i]})
				}
			}
		})
	}
	wg.Wait()
	return scores
}

// fit fits a score on the rows of all folds but one; without is -1 to use all.
func (e *evidence) fit(s *scorer, without int) {
	var rows [][]float64
	var right []bool
	var weight []float64
	step := len(e.facts)/maxJudged + 1
	for i := range e.facts {
		if i%step == 0 && (e.foldOf(i) != without || e.count == 1) {
			rows, right, weight = append(rows, e.facts[i]), append(right, e.right[i]), append(weight, e.weight[i])
		}
	}
	s.fit(rows, right, weight)
}

// length is the size of the text, in bytes.
func length(in *tandem.Input) int {
	n := 0
	for i := range in.Parts {
		n += len(in.Parts[i].Text)
	}
	return n
}

// base counts how often labels occur and are right when predicted.
func (s *scorer) base(e *evidence, use func(i int) bool) {
	k := len(e.data.Labels)
	var all, good float64
	count, ok, share := make([]float64, k), make([]float64, k), make([]float64, k)
	for i, w := range e.weight {
		if !use(i) {
			continue
		}
		all += w
		share[e.row(i).Label] += w
		count[e.guess[i]] += w
		if e.right[i] {
			good += w
			ok[e.guess[i]] += w
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

// maxWeight bounds a weight of the pool: on data without errors the
// likelihood grows with it for ever.
const maxWeight = 20

// trust weighs all members alike, and takes back what they said.
func (e *evidence) trust() {
	e.pool.weights = make([]float64, len(e.use))
	for m := range e.use {
		e.pool.weights[m] = 1
	}
	for i := range e.outs {
		for m := range e.outs[i] {
			e.outs[i][m].Probs = make([]float32, len(e.data.Labels))
		}
	}
}

// fitPool chooses the weights by the likelihood of the out-of-fold labels.
func (e *evidence) fitPool() {
	q := &e.pool
	q.weights = make([]float64, len(e.use))
	q.weights[0] = 1
	p, z := make([]float32, len(e.data.Labels)), make([]float32, len(e.data.Labels))
	step := max(len(e.outs)/5000, 1)
	loss := func() float64 {
		var sum float64
		for i := 0; i < len(e.outs); i += step {
			q.mix(e.outs[i], p, z)
			sum -= float64(e.row(i).Weight) * math.Log(float64(p[e.row(i).Label])+1e-9)
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
					q.weights[m] = min(max(old+d, 0), maxWeight)
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
