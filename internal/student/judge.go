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

// evidence is what the out-of-fold outputs say, row by row.
type evidence struct {
	*crossFit
	probs   [][]float32 // pooled
	entropy []float64
	guess   []int
	right   []bool
	weight  []float64
	facts   [][]float64
}

// judge fits the pool and the score and reports.
func (s *Student) judge(c *crossFit) Report {
	if c.count < 2 {
		s.pool.trust(c) // a single row or group: nothing could be left out
	} else {
		s.pool.fit(c)
	}
	e := s.pool.evidence(c)
	e.gather()
	rep := Report{Scores: e.scores(), Labels: e.guess, Correct: e.right, Folds: c.count}
	var right, all float64
	for i, ok := range e.right {
		all += e.weight[i]
		if ok {
			right += e.weight[i]
		}
	}
	rep.Agree = right / all
	s.scorer.base(c.data, e.guess, e.right, func(int) bool { return true })
	e.fit(&s.scorer, -1)
	return rep
}

// evidence pools the outputs of every row.
func (q *pool) evidence(c *crossFit) *evidence {
	n, classes := len(c.data.Rows), len(c.data.Labels)
	e := &evidence{
		crossFit: c, probs: make([][]float32, n), entropy: make([]float64, n),
		guess: make([]int, n), right: make([]bool, n), weight: make([]float64, n), facts: make([][]float64, n),
	}
	z := make([]float32, classes)
	for i := range n {
		e.probs[i] = make([]float32, classes)
		e.entropy[i] = q.mix(c.outs[i], e.probs[i], z)
		e.guess[i] = argmax(e.probs[i])
		e.right[i] = e.guess[i] == c.data.Rows[i].Label
		e.weight[i] = float64(c.data.Rows[i].Weight)
	}
	return e
}

// gather collects the facts of every row. The reliability of labels comes
// from the other folds, or it would give the row's own answer away.
func (e *evidence) gather() {
	var f facts
	for fold := range e.count {
		var s scorer
		s.base(e.data, e.guess, e.right, func(i int) bool { return e.folds[i] != fold })
		for i := range e.facts {
			if e.folds[i] == fold {
				s.gather(e.outs[i], e.probs[i], e.entropy[i], length(&e.data.Rows[i].Input), &f)
				e.facts[i] = slices.Clone(f.v)
			}
		}
	}
}

// scores judges every fold by a score fitted on the others.
func (e *evidence) scores() []float64 {
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
				if e.folds[i] == fold {
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
		if i%step == 0 && (e.folds[i] != without || e.count == 1) {
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

// maxWeight bounds a weight of the pool: on data without errors the
// likelihood grows with it for ever.
const maxWeight = 20

// trust weighs all members alike, and takes back what they said.
func (q *pool) trust(c *crossFit) {
	q.weights = make([]float64, len(c.families))
	for m := range q.weights {
		q.weights[m] = 1
	}
	for i := range c.outs {
		for m := range c.outs[i] {
			c.outs[i][m].Probs = make([]float32, len(c.data.Labels))
		}
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
