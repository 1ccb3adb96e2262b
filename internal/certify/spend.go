package certify

import "math"

// SpendDelta is what the certificate number look (from 1) of a task may spend
// of delta when it looks again at rows that earlier ones have seen:
// 6·delta/(π²·look²). Over all looks it adds up to delta.
func SpendDelta(delta float64, look int) float64 {
	k := float64(max(look, 1))
	return delta * 6 / (math.Pi * math.Pi * k * k)
}

// Plan chooses what certificate number look tests: only the fresh rows, which
// no earlier certificate of the task has seen, with the whole delta, or all
// total rows with SpendDelta. It takes whichever has the smaller slack
// z(delta)/√rows, and all rows when the fresh ones are too few to prove
// anything. It sees counts and no outcome, so the choice costs nothing.
func Plan(total, fresh, look int, alpha, delta float64) (useFresh bool, deltaUsed float64) {
	if fresh >= total {
		return true, delta
	}
	spent := SpendDelta(delta, look)
	if fresh < (Test{Alpha: alpha, Delta: delta}).MinRows() {
		return false, spent
	}
	slack := func(d float64, n int) float64 {
		return math.Sqrt2 * math.Erfinv(1-2*d) / math.Sqrt(float64(n))
	}
	if slack(delta, fresh) <= slack(spent, total) {
		return true, delta
	}
	return false, spent
}

// AllotAlpha says with which alpha and delta each of several gates of one
// cascade is certified so that the promise (alpha, delta) holds for all
// accepted answers together. Every gate keeps the whole alpha and they share
// delta: if every gate's risk is at most alpha then so is the risk of any mix
// of them, whatever share of the traffic each takes. Dealing out unequal
// alphas by expected share would promise more coverage, and would break when
// the shares move.
func AllotAlpha(alpha, delta float64, gates int) (alphaEach, deltaEach float64) {
	return alpha, delta / float64(max(gates, 1))
}
