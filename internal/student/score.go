package student

import (
	"math"
	"slices"

	"tandem/internal/kernel"
)

// pool mixes the members' probabilities: a weighted sum of their logarithms,
// normalised (a log-linear opinion pool). Members without an opinion are left
// out.
type pool struct {
	weights []float64 // by member
}

// floor is mixed into every member's probabilities so that none can veto.
const floor = 1e-3

// mix fills p with the pooled probabilities of outs and returns their entropy
// in nats. z is scratch of the same length.
func (q *pool) mix(outs []Output, p, z []float32) (entropy float64) {
	clear(z)
	small := float32(floor / float64(len(p)))
	for m := range outs {
		if q.weights[m] != 0 && !silent(outs[m].Probs) {
			kernel.AddLog(z, outs[m].Probs, float32(q.weights[m]), 1-floor, small)
		}
	}
	copy(p, z)
	top := kernel.Softmax(p)
	// ln p = z − ln Σ exp z, and the largest p is exp(top − ln Σ exp z).
	sum := top - kernel.Log(slices.Max(p))
	return max(0, float64(sum-kernel.Dot(p, z)))
}

func silent(p []float32) bool {
	for _, v := range p {
		if v > 0 {
			return false
		}
	}
	return true
}

// facts are what the score is computed from, for one input: first what the
// pooled probabilities say (log-odds of the first label, log-ratios of the
// first to the second and the second to the third, entropy), the reliability
// and the logarithm of the share of the label, the logarithm of the length;
// then for each member the log-odds it gives the label, whether it would have
// said the same, novelty and unseen share.
type facts struct {
	label int
	v     []float64
}

const (
	factsShared = 7
	factsMember = 4
)

// gather turns the members' outputs and the pooled probabilities into facts.
func (s *scorer) gather(outs []Output, p []float32, entropy float64, length int, f *facts) {
	best, first, second, third := 0, float32(-1), float32(0), float32(0)
	for k, v := range p {
		switch {
		case v > first:
			best, first, second, third = k, v, max(first, 0), second
		case v > second:
			second, third = v, second
		case v > third:
			third = v
		}
	}
	f.label = best
	f.v = append(f.v[:0],
		logit(float64(first)),
		math.Log(float64(first+1e-6)/float64(second+1e-6)),
		math.Log(float64(second+1e-6)/float64(third+1e-6)),
		entropy,
		s.reliable[best],
		s.prior[best],
		math.Log(1+float64(length)),
	)
	for m := range outs {
		o := &outs[m]
		if len(o.Probs) == 0 || silent(o.Probs) {
			f.v = append(f.v, 0, 0, float64(o.Novelty), float64(o.Unseen))
			continue
		}
		top, at := float32(-1), 0
		for k, v := range o.Probs {
			if v > top {
				top, at = v, k
			}
		}
		agree := 0.0
		if at == best {
			agree = 1
		}
		f.v = append(f.v, logit(float64(o.Probs[best])), agree, float64(o.Novelty), float64(o.Unseen))
	}
}

func logit(p float64) float64 {
	p = min(max(p, 1e-4), 1-1e-4)
	return math.Log(p / (1 - p))
}

// scorer is the calibrated score: logistic regression on facts, each also bent
// at three knots so that the effect of a fact need not be linear.
type scorer struct {
	reliable []float64 // by label: log-odds of being right when predicted
	prior    []float64 // by label: logarithm of its share

	mean  []float64
	scale []float64 // reciprocal standard deviation
	knots [][3]float64
	coef  []float64 // bias, then 4 per fact
}

// score is the probability that the teacher says the same.
func (s *scorer) score(f *facts) float64 {
	z := s.coef[0]
	for i, v := range f.v {
		x := (v - s.mean[i]) * s.scale[i]
		x = min(max(x, -5), 5)
		c := s.coef[1+4*i:]
		z += c[0] * x
		for k, t := range s.knots[i] {
			if x > t {
				z += c[1+k] * (x - t)
			}
		}
	}
	return 1 / (1 + math.Exp(-z))
}

// expand writes the columns of the regression for a row of facts.
func (s *scorer) expand(v, out []float64) {
	out[0] = 1
	for i, raw := range v {
		x := min(max((raw-s.mean[i])*s.scale[i], -5), 5)
		out[1+4*i] = x
		for k, t := range s.knots[i] {
			out[2+4*i+k] = max(x-t, 0)
		}
	}
}

// fit fits the regression by Newton's method with an L2 penalty.
func (s *scorer) fit(rows [][]float64, right []bool, weight []float64) {
	d := len(rows[0])
	s.mean, s.scale, s.knots = make([]float64, d), make([]float64, d), make([][3]float64, d)
	col := make([]float64, len(rows))
	for i := range d {
		var sum, sq float64
		for r := range rows {
			col[r] = rows[r][i]
			sum += col[r]
		}
		s.mean[i] = sum / float64(len(rows))
		for _, v := range col {
			sq += (v - s.mean[i]) * (v - s.mean[i])
		}
		if sd := math.Sqrt(sq / float64(len(rows))); sd > 1e-6 {
			s.scale[i] = 1 / sd
		}
		slices.Sort(col)
		for k, q := range []float64{0.2, 0.5, 0.8} {
			x := (col[int(q*float64(len(col)-1))] - s.mean[i]) * s.scale[i]
			s.knots[i][k] = min(max(x, -5), 5)
		}
	}
	n := 1 + 4*d
	s.coef = make([]float64, n)
	penalty := make([]float64, n)
	for i := range penalty {
		penalty[i] = penaltySlope * float64(d)
		if i > 0 && (i-1)%4 != 0 {
			penalty[i] = penaltyBend * float64(d)
		}
	}
	penalty[0] = 1e-3
	// One imaginary row, unlike anything seen and answered wrong, so that a
	// student without a single error does not trust itself on everything.
	rows = append(slices.Clip(rows), s.nowhere(d))
	right = append(slices.Clip(right), false)
	weight = append(slices.Clip(weight), strangers)
	newton(rows, right, weight, s.expand, s.coef, penalty)
}

// strangers is how many rows the imaginary one counts for.
const strangers = 3

// nowhere is the facts of an input that tells the members nothing.
func (s *scorer) nowhere(d int) []float64 {
	even := 1 / float64(max(len(s.reliable), 2))
	v := slices.Clone(s.mean)
	v[0], v[1], v[2], v[3] = logit(even), 0, 0, math.Log(float64(len(s.reliable)))
	for at := factsShared; at < d; at += factsMember {
		v[at], v[at+1], v[at+2], v[at+3] = logit(even), 1, 1, 1
	}
	return v
}

// The L2 penalties of slopes and bends, on standardised facts, for each fact:
// the more of them, the more each is held back.
const (
	penaltySlope = 0.6
	penaltyBend  = 8
)

// newton minimises the penalised logistic loss.
func newton(rows [][]float64, right []bool, weight []float64, expand func(v, out []float64), coef, penalty []float64) {
	n := len(coef)
	x := make([]float64, n)
	h := make([]float64, n*n)
	g := make([]float64, n)
	for range 12 {
		clear(h)
		clear(g)
		for r := range rows {
			expand(rows[r], x)
			z := 0.0
			for i, v := range x {
				z += coef[i] * v
			}
			p := 1 / (1 + math.Exp(-z))
			e := p
			if right[r] {
				e -= 1
			}
			w := max(p*(1-p), 1e-6) * weight[r]
			e *= weight[r]
			for i, v := range x {
				if v == 0 {
					continue
				}
				g[i] += e * v
				row := h[i*n:]
				wv := w * v
				for j := range i + 1 {
					row[j] += wv * x[j]
				}
			}
		}
		for i := range n {
			g[i] += penalty[i] * coef[i]
			h[i*n+i] += penalty[i]
		}
		step := cholesky(h, g, n)
		var size float64
		for i := range coef {
			coef[i] -= step[i]
			size = max(size, math.Abs(step[i]))
		}
		if size < 1e-4 {
			return
		}
	}
}

// cholesky solves h·x = g for a symmetric positive definite h given by its
// lower triangle, which is overwritten.
func cholesky(h, g []float64, n int) []float64 {
	for i := range n {
		for j := range i + 1 {
			s := h[i*n+j]
			for k := range j {
				s -= h[i*n+k] * h[j*n+k]
			}
			if i == j {
				h[i*n+i] = math.Sqrt(max(s, 1e-12))
			} else {
				h[i*n+j] = s / h[j*n+j]
			}
		}
	}
	x := slices.Clone(g)
	for i := range n {
		for k := range i {
			x[i] -= h[i*n+k] * x[k]
		}
		x[i] /= h[i*n+i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= h[k*n+i] * x[k]
		}
		x[i] /= h[i*n+i]
	}
	return x
}
