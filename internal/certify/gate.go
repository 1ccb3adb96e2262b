package certify

import "tandem"

// Gate decides whether a step's answer is given or the next step is asked. The
// zero Gate accepts nothing.
type Gate struct {
	Threshold float64 // in (0, 1], from a certificate; 0: never certified
	Open      bool    // false: nothing is accepted
	Why       string  // why the gate stands as it does, in words
}

// Decide accepts a score at or over the threshold of an open gate. A score
// that is no number is never accepted.
func (g Gate) Decide(score float64) (accept bool, reason tandem.Reason) {
	switch {
	case !(g.Threshold > 0):
		return false, tandem.NotCertified
	case !g.Open:
		return false, tandem.GateClosed
	case score >= g.Threshold && score <= 1:
		return true, tandem.Accepted
	default:
		return false, tandem.BelowThreshold
	}
}
