package kernel

import "math"

// Gelu replaces each x by x·Φ(x), Φ being the normal distribution function:
// GELU in its exact form, not the tanh approximation. The absolute error is
// below 6e-7·max(1, |x|); large x stay as they are, and large −x give 0. NaN
// and −∞ give NaN, as x·Φ(x) computed by its definition does.
func Gelu(x []float32) { activate(x, GELU) }

// Tanhs replaces each x by its hyperbolic tangent, with an error below 6e-7.
func Tanhs(x []float32) { activate(x, Tanh) }

// activate is activateGo, with assembly where there is some.
func activate(x []float32, act Activation) {
	if !accelerated() {
		activateGo(x, act)
		return
	}
	n := len(x) &^ (Lanes - 1)
	if n > 0 {
		activateFast(x, n, 1, n, act)
	}
	if n == len(x) {
		return
	}
	var tail [Lanes]float32
	copy(tail[:], x[n:])
	activateFast(tail[:], Lanes, 1, Lanes, act)
	copy(x[n:], tail[:])
}

func activateGo(x []float32, act Activation) {
	switch act {
	case GELU:
		for i, v := range x {
			h := 0.5 * v
			x[i] = h + h*erfRatio.at(v*float32(math.Sqrt2/2))
		}
	case Tanh:
		for i, v := range x {
			x[i] = tanhRatio.at(v)
		}
	case ReLU:
		for i, v := range x {
			if !(v > 0) && v == v { // NaN stays NaN
				x[i] = 0
			}
		}
	case Identity:
	}
}

// ratio is an odd function that saturates at ±1, as x·P(x²)/Q(x²) inside
// ±limit with the coefficients from the constant up. Both were fitted by
// iteratively reweighted least squares to the least largest relative error;
// P is scaled up by 2e-7 so that the function reaches 1 exactly.
type ratio struct {
	limit float32
	p, q  [6]float32
}

func (r *ratio) at(x float32) float32 {
	if x > r.limit {
		x = r.limit
	}
	if x < -r.limit {
		x = -r.limit
	}
	t := x * x
	p, q := r.p[5], r.q[5]
	for i := 4; i >= 0; i-- {
		p = p*t + r.p[i]
		q = q*t + r.q[i]
	}
	y := x * p / q
	if y > 1 {
		y = 1
	}
	if y < -1 {
		y = -1
	}
	return y
}

// The two functions, fitted on [0, 3.92] and [0, 9].
var (
	erfRatio = ratio{
		limit: 3.92,
		p:     [6]float32{1.12837934, 0.190404281, 0.0527484566, 0.00376552786, 0.000284881709, 2.05011588e-06},
		q:     [6]float32{1, 0.502074122, 0.114108205, 0.0149690341, 0.0011625156, 3.80919555e-05},
	}
	tanhRatio = ratio{
		limit: 9,
		p:     [6]float32{1.00000024, 0.140999496, 0.00442693336, 4.22991507e-05, 1.11322692e-07, 3.68365338e-11},
		q:     [6]float32{1, 0.474332809, 0.0292045325, 0.000501023489, 2.60622028e-06, 2.95662939e-09},
	}
)
