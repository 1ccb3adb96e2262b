package certify

import "math"

// running is a confidence sequence for the mean risk over all audits so far:
// an interval that may be read after every audit and is right at all times
// together except with probability delta.
//
// For any λ the product of exp(λe)/(1−r+r·exp(λ)) over audits, r being the
// risk given the past, is a martingale that starts at 1. The logarithm of the
// denominator is concave in r, so putting the mean risk m in place of every r
// can only make the product smaller:
//
//	exp(λ·errors − audits·log(1−m+m·exp(λ)))
//
// stays under it, and so does a mixture over λ. By Ville's inequality the m at
// which such a mixture reaches 2/delta can be excluded, positive λ from below
// and negative from above, for wandering risks as for constant ones. This is
// the sub-Bernoulli case of Howard, Ramdas, McAuliffe and Sekhon (2020,
// arXiv:1808.03204; 2021, arXiv:1810.08240); for few errors it is much
// narrower than their empirical Bernstein bound: after 12 errors of 300 audits
// and delta 10 % it reaches up to 8.5 %, that one up to 11 %.
//
// When audit rates depend on the request, an audit has weight w =
// floor/propensity. Then w·(e−m) lies in [−m, 1−m] and has mean 0 at the true
// m, so exp(λw(e−m)) is at most the chord through the ends in expectation,
// exp(−λm)·(1−m+m·exp(λ)), and the same reasoning holds for a constant risk m.
type running struct {
	delta    float64
	n        float64 // audits
	w, wrong float64 // sums of w and of w·e
}

func (c *running) observe(w float64, wrong bool) {
	c.n++
	c.w += w
	if wrong {
		c.wrong += w
	}
}

func (c *running) bounds() (lo, hi float64) {
	if c.n == 0 || !(c.delta > 0 && c.delta < 1) {
		return 0, 1
	}
	mean := c.wrong / c.w
	return search(mean, 0, c.inside), search(mean, 1, c.inside)
}

// inside reports whether m cannot be excluded.
func (c *running) inside(m float64) bool {
	limit := math.Log(2 / c.delta)
	return c.evidence(m, 1) < limit && c.evidence(m, -1) < limit
}

// The mixture: magnitudes of λ from tilt to tilt·2^(tilts−1) in equal parts,
// which suits from ten to a million audits.
const (
	tilt  = 0.02
	tilts = 9
)

// evidence is the logarithm of the mixture over λ of one sign against m.
func (c *running) evidence(m, sign float64) float64 {
	var logs [tilts]float64
	top := math.Inf(-1)
	for j := range logs {
		l := sign * math.Ldexp(tilt, j)
		logs[j] = l*(c.wrong+m*(c.n-c.w)) - c.n*math.Log1p(m*math.Expm1(l))
		top = max(top, logs[j])
	}
	sum := 0.0
	for _, x := range logs {
		sum += math.Exp(x - top)
	}
	return top + math.Log(sum/tilts)
}

// search walks from a point that is inside towards limit to where the inside
// ends.
func search(in, limit float64, inside func(float64) bool) float64 {
	if inside(limit) {
		return limit
	}
	out := limit
	for range 50 {
		if mid := (in + out) / 2; inside(mid) {
			in = mid
		} else {
			out = mid
		}
	}
	return out
}
