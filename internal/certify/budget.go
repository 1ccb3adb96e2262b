package certify

import (
	"cmp"
	"math"
	"slices"
)

// Budget bounds, in expectation, the share of all requests that get a wrong
// small answer from a gate at threshold: conformal risk control on
// L = 1{accepted and wrong} (Angelopoulos et al. 2022, arXiv:2208.02814),
// n/(n+1)·R̂ + B/(n+1), where R̂ is the mean of L over the rows, weighted by
// inverse propensities, and B the largest loss one row can count, 1 when every
// label was asked for and 1/(lowest propensity) otherwise. Rows must include
// those whose label was not asked for. The result is in [0, 1]; without rows
// it is 1.
func Budget(rows []Row, threshold float64) float64 {
	n, worst, sum := 0.0, 1.0, 0.0
	for i := range rows {
		r := &rows[i]
		if !r.usable() {
			continue
		}
		n++
		worst = max(worst, 1/r.Propensity)
		if r.Asked && r.Wrong && r.accepted(threshold) {
			sum += 1 / r.Propensity
		}
	}
	return min((sum+worst)/(n+1), 1)
}

// BudgetThreshold is the loosest threshold whose Budget is at most beta; ok is
// false when no gate can be shown to keep it.
// Because a stricter gate never has a larger loss, the threshold found on the
// rows keeps the budget on average over samples.
func BudgetThreshold(rows []Row, beta float64) (threshold float64, ok bool) {
	n, worst := 0.0, 1.0
	var wrong []Row
	for _, r := range rows {
		if !r.usable() {
			continue
		}
		n++
		worst = max(worst, 1/r.Propensity)
		if r.Asked && r.Wrong && r.accepted(0) {
			wrong = append(wrong, r)
		}
	}
	room := beta*(n+1) - worst
	if !(room >= 0) {
		return 0, false
	}
	slices.SortFunc(wrong, func(a, b Row) int { return cmp.Compare(b.Score, a.Score) })
	sum := 0.0
	for _, r := range wrong {
		sum += 1 / r.Propensity
		if sum > room {
			// Equal scores stand or fall together, so all of them fall.
			if r.Score >= 1 {
				return 0, false
			}
			return math.Nextafter(r.Score, 2), true
		}
	}
	return math.SmallestNonzeroFloat64, true
}
