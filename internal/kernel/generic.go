package kernel

import "math"

func dotGo(a, b []float32) float32 {
	var s float32
	for i, x := range a {
		s += x * b[i]
	}
	return s
}

func axpyGo(alpha float32, x, y []float32) {
	for i, v := range x {
		y[i] += alpha * v
	}
}

func gatherGo(y, w []float32, idx []uint32, val []float32) {
	n := len(y)
	for i, r := range idx {
		axpyGo(val[i], w[int(r)*n:int(r)*n+n], y)
	}
}

func scatterGo(w, g []float32, idx []uint32, val []float32) {
	n := len(g)
	for i, r := range idx {
		axpyGo(val[i], g, w[int(r)*n:int(r)*n+n])
	}
}

// Exp is e^x with a relative error below 3e-7, 0 below −87 and capped at
// e^88 so that sums stay finite. NaN stays NaN.
func Exp(x float32) float32 {
	if x < -87 {
		return 0
	}
	if x > 88 {
		x = 88
	}
	// e^x = 2^k · e^r with |r| ≤ ln2/2; a degree-6 Taylor polynomial in r.
	const log2e, ln2hi, ln2lo = 1.44269504, 0.693359375, -2.12194440e-4
	k := x * log2e
	if k >= 0 {
		k += 0.5
	} else {
		k -= 0.5
	}
	n := int32(k)
	r := x - float32(n)*ln2hi - float32(n)*ln2lo
	p := float32(1.0 / 720)
	p = p*r + 1.0/120
	p = p*r + 1.0/24
	p = p*r + 1.0/6
	p = p*r + 0.5
	p = p*r + 1
	p = p*r + 1
	return p * math.Float32frombits(uint32(n+127)<<23)
}

// Log is the natural logarithm of a positive, normal number, with an absolute
// error below 3e-7 near 1 and a relative one below 3e-7 elsewhere. Anything
// smaller than the least normal number counts as that.
func Log(x float32) float32 {
	if !(x >= 1.1754944e-38) {
		x = 1.1754944e-38
	}
	// x = 2^e · m with m in [√½, √2); ln m by a polynomial in m−1 (Cephes logf).
	b := math.Float32bits(x) - 0x3f3504f3
	e := float32(int32(b) >> 23)
	m := math.Float32frombits(b&0x7fffff+0x3f3504f3) - 1
	z := m * m
	p := float32(7.0376836292e-2)
	p = p*m - 1.1514610310e-1
	p = p*m + 1.1676998740e-1
	p = p*m - 1.2420140846e-1
	p = p*m + 1.4249322787e-1
	p = p*m - 1.6668057665e-1
	p = p*m + 2.0000714765e-1
	p = p*m - 2.4999993993e-1
	p = p*m + 3.3333331174e-1
	y := m*z*p - 2.12194440e-4*e - 0.5*z
	return m + y + 0.693359375*e
}

func maxGo(x []float32) float32 {
	top := x[0]
	for _, v := range x[1:] {
		top = max(top, v)
	}
	return top
}

func expGo(x []float32, top float32) (sum float32) {
	for i, v := range x {
		e := Exp(v - top)
		x[i] = e
		sum += e
	}
	return sum
}

func logGo(z, p []float32, w, slope, offset float32) {
	for i, v := range p {
		z[i] += w * Log(slope*v+offset)
	}
}
