package certify

import "math"

// SpendDelta is what the certificate number look (from 1) of a task may spend
// of delta on misjudging the risk when it looks at rows that earlier ones have
// seen. Over all looks it adds up to delta: 30 % for the first, 12 % for each of
// the next five, and the last tenth for all later ones, falling with the square
// of their number. A sequence that falls from the start, as 6/(π²·look²) does,
// leaves too little for the looks that decide when a student begins to serve.
func SpendDelta(delta float64, look int) float64 {
	switch k := max(look, 1); {
	case k == 1:
		return 0.3 * delta
	case k <= 6:
		return 0.12 * delta
	default:
		later := float64(k - 6)
		return 0.1 * delta * 6 / (math.Pi * math.Pi * later * later)
	}
}

// Plan chooses what certificate number look tests, and with which part of delta
// for the risk (Test.Spend): all total rows with SpendDelta, or only the fresh
// rows, which no earlier certificate of the task has seen, with the whole delta.
// It takes whichever has the smaller slack z/√rows, and all rows when the fresh
// ones are too few to prove anything. It sees counts and no outcome, so the
// choice costs nothing.
func Plan(total, fresh, look int, alpha, delta float64) (useFresh bool, spend float64) {
	spent := SpendDelta(delta, look)
	if fresh >= total {
		return true, spent
	}
	if fresh < (Test{Alpha: alpha, Delta: delta}).Running(fresh).MinRows() {
		return false, spent
	}
	// The running share asks for about as much at every look.
	least := math.Sqrt(1.5) * math.Erfinv(1-delta)
	slack := func(d float64, n int) float64 {
		return max(math.Erfinv(1-2*d), least) / math.Sqrt(float64(n))
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
