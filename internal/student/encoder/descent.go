package encoder

import (
	"context"
	"math"

	"tandem/internal/kernel"
)

// objective is a smooth function of many numbers.
type objective interface {
	// loss returns the value at x and fills grad with the gradient.
	loss(x, grad []float32) float64
}

// history is how many steps L-BFGS remembers.
const history = 8

// pair is a step and the change of the gradient along it.
type pair struct {
	s, y []float32
	rho  float64
}

// minimise runs L-BFGS from x, which becomes the best point found, with a
// backtracking line search. It ends after steps, when one gains less than the
// least share of the value, or with ctx.
func minimise(ctx context.Context, f objective, x []float32, steps int, least float64, report func(float64)) error {
	g, next, after := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
	d := make([]float32, len(x))
	var past []pair
	value := f.loss(x, g)
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		direction(g, past, d)
		slope := dot(g, d)
		if slope >= 0 { // rounding has spoilt the memory: begin again
			past = nil
			direction(g, past, d)
			slope = dot(g, d)
		}
		length := 1.0
		if len(past) == 0 {
			length = min(1, 1/math.Sqrt(-slope))
		}
		lower := math.Inf(1)
		for range 12 {
			copy(next, x)
			kernel.Axpy(float32(length), d, next)
			if lower = f.loss(next, after); lower <= value+1e-4*length*slope {
				break
			}
			length /= 2
		}
		if !(lower < value) {
			break
		}
		past = remember(past, x, next, g, after)
		gain := value - lower
		value = lower
		copy(x, next)
		g, after = after, g
		if report != nil {
			report(float64(step+1) / float64(steps))
		}
		if gain < least*math.Abs(value) {
			break
		}
	}
	if report != nil {
		report(1)
	}
	return nil
}

// direction fills d with minus the gradient times the remembered curvature.
func direction(g []float32, past []pair, d []float32) {
	for i, v := range g {
		d[i] = -v
	}
	alpha := make([]float64, len(past))
	for i := len(past) - 1; i >= 0; i-- {
		alpha[i] = past[i].rho * dot(past[i].s, d)
		kernel.Axpy(float32(-alpha[i]), past[i].y, d)
	}
	if n := len(past); n > 0 {
		last := past[n-1]
		c := float32(1 / (last.rho * dot(last.y, last.y)))
		for i := range d {
			d[i] *= c
		}
	}
	for i := range past {
		b := past[i].rho * dot(past[i].y, d)
		kernel.Axpy(float32(alpha[i]-b), past[i].s, d)
	}
}

// remember adds the step from x to next, where it curves the right way.
func remember(past []pair, x, next, g, after []float32) []pair {
	p := pair{s: make([]float32, len(x)), y: make([]float32, len(x))}
	for i := range x {
		p.s[i], p.y[i] = next[i]-x[i], after[i]-g[i]
	}
	curve := dot(p.s, p.y)
	if !(curve > 1e-10*math.Sqrt(dot(p.s, p.s)*dot(p.y, p.y))) {
		return past
	}
	p.rho = 1 / curve
	if len(past) == history {
		past = append(past[:0:0], past[1:]...)
	}
	return append(past, p)
}

// dot is an inner product summed block by block, as precise as the sums of
// many small numbers need to be.
func dot(a, b []float32) float64 {
	var sum float64
	const block = 1 << 10
	for len(a) > block {
		sum += float64(kernel.Dot(a[:block], b[:block]))
		a, b = a[block:], b[block:]
	}
	return sum + float64(kernel.Dot(a, b))
}
