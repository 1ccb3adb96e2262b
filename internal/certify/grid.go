package certify

import (
	"cmp"
	"math"
	"slices"
)

// Grid orders the thresholds that Certify should test, from train rows alone:
// their out-of-fold scores and the teacher's labels. n is how many labelled
// certification rows are expected.
func Grid(train []Row, alpha, delta float64, n int) []float64 {
	t := Test{alpha, delta}
	if !t.valid() || n < 1 {
		return nil
	}
	return plan(train, t, n, policy{start: 0.01, ratio: 1.04, end: 0.02})
}

// policy holds the choices of the grid, fixed by simulation.
type policy struct {
	start float64 // how far below the best predicted power the first threshold may be
	ratio float64 // growth of accepted rows from one threshold to the next
	end   float64 // predicted power under which thresholds are left out
}

type candidate struct {
	tau, share, power float64
}

func plan(train []Row, t Test, n int, pol policy) []float64 {
	total := 0.0
	open := make([]Row, 0, len(train))
	for _, r := range train {
		if !r.usable() || !r.Asked {
			continue
		}
		total += 1 / r.Propensity
		if r.accepted(0) && r.Score > 0 {
			open = append(open, r)
		}
	}
	slices.SortFunc(open, func(a, b Row) int { return cmp.Compare(b.Score, a.Score) })
	var cands []candidate
	var w, w2, bad float64
	next := 0.0
	for i, r := range open {
		x := 1 / r.Propensity
		w, w2 = w+x, w2+x*x
		if r.Wrong {
			bad += x
		}
		if i+1 < len(open) && open[i+1].Score == r.Score {
			continue
		}
		if w < next && i+1 < len(open) {
			continue
		}
		eff := w * w / w2
		m := int(w / total * float64(n))
		if m < t.MinRows() {
			continue
		}
		next = w * pol.ratio
		cands = append(cands, candidate{r.Score, w / total, predictPower(t, m, bad/w*eff+0.5, (1-bad/w)*eff+0.5)})
	}
	return choose(cands, pol)
}

func choose(cands []candidate, pol policy) []float64 {
	best := 0.0
	for _, c := range cands {
		best = max(best, c.power)
	}
	first := -1
	for i, c := range cands {
		if c.power >= best-pol.start {
			first = i
		}
	}
	if first < 0 {
		return nil
	}
	var grid []float64
	for _, c := range cands[first:] {
		if c.power < pol.end && len(grid) > 0 {
			continue
		}
		grid = append(grid, c.tau)
	}
	return grid
}

// predictPower is the probability that m accepted rows prove the promise when
// the risk is known only as Beta(a, b).
func predictPower(t Test, m int, a, b float64) float64 {
	return betaBinomialTail(m, a, b, t.Allowed(m))
}

// betaBinomialTail is P(X <= k) for X ~ Bin(n, R), R ~ Beta(a, b), accurate
// enough for a forecast.
func betaBinomialTail(n int, a, b float64, k int) float64 {
	if k < 0 {
		return 0
	}
	if k >= n {
		return 1
	}
	lg := func(x float64) float64 { v, _ := math.Lgamma(x); return v }
	x, m := float64(k), float64(n)
	log := lg(m+1) - lg(x+1) - lg(m-x+1) + lg(x+a) + lg(m-x+b) - lg(m+a+b) - lg(a) - lg(b) + lg(a+b)
	if x <= m*a/(a+b) {
		sum, term := 1.0, 1.0
		for ; x > 0; x-- {
			term *= x / (m - x + 1) * (m - x + b) / (x - 1 + a)
			sum += term
			if term < sum*1e-9 {
				break
			}
		}
		return min(math.Exp(log)*sum, 1)
	}
	sum, term := 0.0, 1.0
	for ; x < m; x++ {
		term *= (m - x) / (x + 1) * (x + a) / (m - x - 1 + b)
		sum += term
		if term < sum*1e-9 {
			break
		}
	}
	return max(1-math.Exp(log)*sum, 0)
}
