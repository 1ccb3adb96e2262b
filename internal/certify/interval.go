package certify

import "math"

// running is a confidence sequence for the mean risk over all audits so far,
// a time-uniform empirical Bernstein bound (Howard, Ramdas, McAuliffe and
// Sekhon 2021, arXiv:1810.08240, theorem 4 with the stitched boundary of
// theorem 1).
//
// An audit has weight w = floor/propensity in (0, 1]. For any candidate mean m
// the variables Y = w·(e−m) lie in [−m, 1−m], an interval of length 1, and
// given the past their expectation under the audit's coin is proportional to
// r−m, r being the current risk. With 0 as the prediction of Y the variance
// process is ΣY², so the candidates m with |ΣY| <= u(ΣY²) are a confidence
// sequence for the mean of r, weighted equally over audits at the floor.
type running struct {
	delta            float64
	w, wrong         float64 // sums of w and of w·e
	squares, wrongSq float64 // sums of w² and of w²·e
}

func (c *running) observe(w float64, wrong bool) {
	c.w += w
	c.squares += w * w
	if wrong {
		c.wrong += w
		c.wrongSq += w * w
	}
}

func (c *running) bounds() (lo, hi float64) {
	if c.w <= 0 || !(c.delta > 0 && c.delta < 1) {
		return 0, 1
	}
	mean := c.wrong / c.w
	lo = search(mean, 0, c.inside)
	hi = search(mean, 1, c.inside)
	return lo, hi
}

// inside reports whether m cannot be excluded.
func (c *running) inside(m float64) bool {
	v := c.wrongSq*(1-2*m) + m*m*c.squares
	return math.Abs(c.wrong-m*c.w) <= stitched(v, c.delta/2)
}

// search walks from a point that is inside to the end of the inside towards
// limit.
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

// stitched is the boundary that a sub-gamma process of scale 1 and variance v
// ever crosses with probability at most delta, with η = 2, s = 1.4 and the
// boundary tightest from v = 1 on.
func stitched(v, delta float64) float64 {
	const eta, s, zeta = 2.0, 1.4, 3.1055 // zeta(1.4)
	v = max(v, 1)
	// log of h(log_η v)/delta with h(k) = (k+1)^s·zeta(s).
	l := s*math.Log(math.Log(eta*v)/math.Log(eta)) + math.Log(zeta/delta)
	k1 := (math.Pow(eta, 0.25) + math.Pow(eta, -0.25)) / math.Sqrt2
	k2 := (math.Sqrt(eta) + 1) / 2
	return math.Sqrt(k1*k1*v*l+k2*k2*l*l) + k2*l
}
