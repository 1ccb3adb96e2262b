package certify

import (
	"cmp"
	"math"
	"slices"
)

// Grid orders the thresholds that Certify should test, from the train rows
// alone: their out-of-fold scores and the teacher's labels. n is how many
// labelled certification rows are expected.
//
// Certify stops at the first threshold it cannot prove, so the first one
// decides whether there is a certificate at all and every later one is a chance
// to stop early. Because the order is fixed before a certification row is seen,
// any order is valid, and this one was chosen by simulation for the most
// traffic served:
//   - for each distinct score the train rows predict the power of the test, the
//     chance that n·share certification rows prove it, knowing the risk only as
//     far as the train rows tell (a beta-binomial forecast);
//   - the sequence starts at the loosest threshold whose predicted power is
//     within one point of the best, not at the strictest, where few rows are
//     accepted and one unlucky error ends everything;
//   - it goes looser in steps of 2 % more accepted rows. Neighbours accept
//     almost the same rows and are proved together, so a fine grid stops early
//     hardly more often, while a coarse one gives away up to a step (12 % steps
//     served 3 % less, 25 % steps 11 % less; bolder jumps to where power is
//     still 60 to 90 % lost as well);
//   - thresholds with a predicted power under 2 % are left out.
//
// It returns nothing when no threshold can be expected to accept the least
// number of rows a proof needs.
func Grid(train []Row, alpha, delta float64, n int) []float64 {
	t := Test{alpha, delta}
	if !t.valid() || n < t.MinRows() {
		return nil
	}
	cands := forecast(train, t, n)
	best := 0.0
	for _, c := range cands {
		best = max(best, c.power)
	}
	first := 0
	for i, c := range cands {
		if c.power >= best-startSlack {
			first = i
		}
	}
	var grid []float64
	for i, c := range cands {
		if i == first || i > first && c.power >= hopeless {
			grid = append(grid, c.threshold)
		}
	}
	return grid
}

// Forecast is the chance that Certify proves some threshold of the Grid, judged
// by train rows alone. A look that is unlikely to succeed is better put off,
// because it uses up rows or a part of delta; that choice costs nothing, since
// it does not depend on the certification rows.
func Forecast(train []Row, alpha, delta float64, n int) float64 {
	t := Test{alpha, delta}
	if !t.valid() || n < t.MinRows() {
		return 0
	}
	best := 0.0
	for _, c := range forecast(train, t, n) {
		best = max(best, c.power)
	}
	return best
}

// Expect is the share of traffic that Certify can be expected to let a student
// serve, judged by train rows alone: along the Grid each threshold adds the
// share it accepts beyond the one before, times the least power so far. It
// orders candidates; the promise is Certify's.
func Expect(train []Row, alpha, delta float64, n int) float64 {
	t := Test{alpha, delta}
	if !t.valid() || n < t.MinRows() {
		return 0
	}
	cands := forecast(train, t, n)
	best := 0.0
	for _, c := range cands {
		best = max(best, c.power)
	}
	first := 0
	for i, c := range cands {
		if c.power >= best-startSlack {
			first = i
		}
	}
	served, before, power := 0.0, 0.0, 1.0
	for _, c := range cands[min(first, len(cands)):] {
		power = min(power, c.power)
		served += (c.share - before) * power
		before = c.share
	}
	return served
}

// The choices of Grid, fixed by simulation.
const (
	startSlack = 0.01 // how far under the best predicted power the first threshold may be
	stepRatio  = 1.02 // growth of the accepted rows from one threshold to the next
	hopeless   = 0.02 // predicted power under which a threshold is left out
)

// candidate is a threshold, the chance that it is proved, and the share of
// traffic that it accepts.
type candidate struct{ threshold, power, share float64 }

// forecast lists thresholds from strict to loose with their predicted power.
func forecast(train []Row, t Test, n int) []candidate {
	total := 0.0
	open := make([]Row, 0, len(train))
	for _, r := range train {
		if !r.usable() || !r.Asked {
			continue
		}
		total += 1 / r.Propensity
		if r.accepted(math.SmallestNonzeroFloat64) {
			open = append(open, r)
		}
	}
	slices.SortFunc(open, func(a, b Row) int { return cmp.Compare(b.Score, a.Score) })
	var cands []candidate
	var mass, squares, wrong, next float64
	for i, r := range open {
		w := 1 / r.Propensity
		mass, squares = mass+w, squares+w*w
		if r.Wrong {
			wrong += w
		}
		last := i+1 == len(open)
		if !last && (open[i+1].Score == r.Score || mass < next) {
			continue
		}
		accepted := int(mass / total * float64(n))
		if accepted < t.MinRows() {
			continue
		}
		next = mass * stepRatio
		// Unequal weights carry less information than their number says.
		effective, risk := mass*mass/squares, wrong/mass
		power := betaBinomialTail(accepted, risk*effective+0.5, (1-risk)*effective+0.5, t.Allowed(accepted))
		cands = append(cands, candidate{r.Score, power, mass / total})
	}
	return cands
}

// betaBinomialTail is P(X <= k) for X ~ Bin(n, R), R ~ Beta(a, b), accurate
// enough for a forecast.
func betaBinomialTail(n int, a, b float64, k int) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n:
		return 1
	}
	lg := func(x float64) float64 { v, _ := math.Lgamma(x); return v }
	x, m := float64(k), float64(n)
	at := math.Exp(lg(m+1) - lg(x+1) - lg(m-x+1) + lg(x+a) + lg(m-x+b) - lg(m+a+b) - lg(a) - lg(b) + lg(a+b))
	sum, term := 0.0, 1.0 // in units of P(X = k)
	if x <= m*a/(a+b) {
		for sum = 1; x > 0 && term > sum*1e-9; x-- {
			term *= x / (m - x + 1) * (m - x + b) / (x - 1 + a)
			sum += term
		}
		return min(at*sum, 1)
	}
	for ; x < m && term > sum*1e-9; x++ {
		term *= (m - x) / (x + 1) * (x + a) / (m - x - 1 + b)
		sum += term
	}
	return max(1-at*sum, 0)
}
