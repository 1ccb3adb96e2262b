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
// any order is valid, and this one was chosen for the most traffic served on
// simulated and recorded answers:
//   - for each distinct score the train rows forecast the errors among the
//     n·share certification rows it will accept, knowing the risk only as far as
//     they tell (a beta-binomial);
//   - the sequence starts where these errors are expected to lie the most
//     standard deviations below what the test allows. The chance of passing is
//     no guide, because it is near one over a wide range, at whose strict end
//     few rows are accepted and a few unlucky errors end everything, and whose
//     loose end is a gamble (it failed in up to one of five splits);
//   - it goes looser in steps of 0.2 % more accepted rows. Neighbours accept
//     almost the same rows and are proved together, so a fine grid hardly stops
//     earlier, while a coarse one gives away up to a step (steps of 2 % served a
//     point less, of 8 % up to three; bold jumps lost as well);
//   - thresholds with a predicted power under 2 % are left out.
//
// It returns nothing when no threshold can be expected to accept the least
// number of rows a proof needs.
func Grid(train []Row, t Test, n int) []float64 {
	if !t.valid() || n < t.MinRows() {
		return nil
	}
	cands := forecast(train, t, n)
	first := start(cands)
	var grid []float64
	for i, c := range cands {
		if i == first || i > first && c.power >= hopeless {
			grid = append(grid, c.threshold)
		}
	}
	return grid
}

// start is where the sequence starts: at the threshold with the most room.
func start(cands []candidate) int {
	first := 0
	for i, c := range cands {
		if c.room > cands[first].room {
			first = i
		}
	}
	return first
}

// Forecast is the chance that Certify proves some threshold of the Grid, judged
// by train rows alone. A look that is unlikely to succeed is better put off,
// because it uses up rows or a part of delta; that choice costs nothing, since
// it does not depend on the certification rows.
func Forecast(train []Row, t Test, n int) float64 {
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
func Expect(train []Row, t Test, n int) float64 {
	if !t.valid() || n < t.MinRows() {
		return 0
	}
	cands := forecast(train, t, n)
	served, before, power := 0.0, 0.0, 1.0
	for _, c := range cands[min(start(cands), len(cands)):] {
		power = min(power, c.power)
		served += (c.share - before) * power
		before = c.share
	}
	return served
}

// The choices of Grid.
const (
	stepRatio = 1.002 // growth of the accepted rows from one threshold to the next
	hopeless  = 0.02  // predicted power under which a threshold is left out
)

// candidate is a threshold, the chance that it is proved, and by how many
// standard deviations the errors allowed exceed those expected. share is how
// much of the traffic it accepts.
type candidate struct{ threshold, power, room, share float64 }

// forecast lists thresholds from strict to loose with what is expected of them.
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
	least, allowed := t.MinRows(), 0
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
		if accepted < least {
			continue
		}
		next = mass * stepRatio
		allowed = t.allowed(accepted, allowed)
		// Unequal weights carry less information than their number says.
		effective, risk := mass*mass/squares, wrong/mass
		a, b := risk*effective+0.5, (1-risk)*effective+0.5
		expected := float64(accepted) * a / (a + b)
		spread := math.Sqrt(expected * b / (a + b) * (1 + float64(accepted-1)/(a+b+1)))
		cands = append(cands, candidate{
			threshold: r.Score,
			power:     betaBinomialTail(accepted, a, b, allowed),
			room:      (float64(allowed) + 0.5 - expected) / spread,
			share:     mass / total,
		})
	}
	return cands
}

// betaBinomialTail is P(X <= k) for X ~ Bin(n, R), R ~ Beta(a, b), with a
// relative error below 1e-7.
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
