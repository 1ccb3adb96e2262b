package kernel

func maxFast(x []float32) float32 { return maxAVX2(&x[0], len(x)) }

func mulFast(x []float32, by float32) { mulAVX2(&x[0], len(x), by) }

func activateFast(x []float32, act Activation) {
	switch act {
	case GELU:
		geluAVX2(&x[0], len(x), &erfRatio)
	case Tanh:
		ratioAVX2(&x[0], len(x), &tanhRatio)
	case ReLU:
		reluAVX2(&x[0], len(x))
	case Identity:
	}
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
func reluAVX2(x *float32, n int)

//go:noescape
func geluAVX2(x *float32, n int, r *ratio)

//go:noescape
func ratioAVX2(x *float32, n int, r *ratio)

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
