package kernel

import "math"

func maxFast(x []float32) float32 { return maxAVX2(&x[0], len(x)) }

func mulAddFast(y, x, w []float32) { mulAddAVX2(&y[0], &x[0], &w[0], len(y)) }

func mulFast(x []float32, by float32) { mulAVX2(&x[0], len(x), by) }

// activateFast activates rows of n numbers, a multiple of Lanes.
func activateFast(x []float32, n, rows, stride int, act Activation) {
	switch act {
	case GELU:
		geluAVX2(&x[0], n, rows, stride*4, &erfWide)
	case Tanh:
		ratioAVX2(&x[0], n, rows, stride*4, &tanhWide)
	case ReLU:
		reluAVX2(&x[0], n, rows, stride*4)
	case Identity:
	}
}

// wide is a ratio with each number in all lanes, beside the constants that
// go with it.
type wide struct {
	most, least, one, minus, root, half [Lanes]float32
	p, q                                [6][Lanes]float32
}

var erfWide, tanhWide = widen(&erfRatio), widen(&tanhRatio)

func widen(r *ratio) (w wide) {
	for i := range Lanes {
		w.most[i], w.least[i] = r.limit, -r.limit
		w.one[i], w.minus[i] = 1, -1
		w.root[i], w.half[i] = math.Sqrt2/2, 0.5
		for j := range r.p {
			w.p[j][i], w.q[j][i] = r.p[j], r.q[j]
		}
	}
	return w
}

func sumFast(x []float32) float32 { return sumAVX2(&x[0], len(x)) }

func deviationFast(x []float32, mean float32) float32 { return deviationAVX2(&x[0], len(x), mean) }

func scaleFast(dst, x, gamma, beta []float32, mean, scale float32) {
	scaleAVX2(&dst[0], &x[0], &gamma[0], &beta[0], len(x), mean, scale)
}

func rangeFast(x []float32) (lo, hi float32) { return rangeAVX2(&x[0], len(x)) }

func quantiseFast(q []uint8, x []float32, inv float32, zero int32) {
	quantiseAVX2(&q[0], &x[0], len(x), inv, zero)
}

func transposeFast(dst, src []float32, rows, cols, ldd, lds int) {
	transposeAVX2(&dst[0], &src[0], rows, cols, ldd*4, lds*4)
}

// depthwise describes a row of pixels whose nine taps are all inside of the
// image to the assembly; distances count bytes.
type depthwise struct {
	dst, src, weights, bias *float32 // bias may be nil
	pixels                  int
	channels                int // in whole vectors
	pixel, line             int // from one pixel, and one row of them, to the next
}

func depthwiseFast(dst, src, weights, bias []float32, pixels, width, ch int) {
	t := depthwise{
		dst: &dst[0], src: &src[0], weights: &weights[0],
		pixels: pixels, channels: (ch &^ (Lanes - 1)) * 4, pixel: ch * 4, line: width * ch * 4,
	}
	if bias != nil {
		t.bias = &bias[0]
	}
	depthwiseAVX2(&t)
}

func int8Fast(t *tiles8) {
	if level >= avx512vnni {
		int8VNNI(t)
		return
	}
	int8AVX2(t)
}

//go:noescape
func int8VNNI(t *tiles8)

//go:noescape
func int8AVX2(t *tiles8)

//go:noescape
func maxAVX2(x *float32, n int) float32

//go:noescape
func mulAVX2(x *float32, n int, by float32)

//go:noescape
func mulAddAVX2(y, x, w *float32, n int)

//go:noescape
func reluAVX2(x *float32, n, rows, stride int)

//go:noescape
func geluAVX2(x *float32, n, rows, stride int, r *wide)

//go:noescape
func ratioAVX2(x *float32, n, rows, stride int, r *wide)

//go:noescape
func sumAVX2(x *float32, n int) float32

//go:noescape
func deviationAVX2(x *float32, n int, mean float32) float32

//go:noescape
func scaleAVX2(dst, x, gamma, beta *float32, n int, mean, scale float32)

//go:noescape
func rangeAVX2(x *float32, n int) (lo, hi float32)

//go:noescape
func quantiseAVX2(q *uint8, x *float32, n int, inv float32, zero int32)

//go:noescape
func transposeAVX2(dst, src *float32, rows, cols, ldd, lds int)

//go:noescape
func depthwiseAVX2(t *depthwise)
