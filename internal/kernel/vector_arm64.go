package kernel

func maxFast(x []float32) float32 { return maxNEON(&x[0], len(x)) }

func mulAddFast(y, x, w []float32) { mulAddNEON(&y[0], &x[0], &w[0], len(y)) }

func mulFast(x []float32, by float32) { mulNEON(&x[0], len(x), by) }

// activateFast activates rows of n numbers, a multiple of Lanes.
func activateFast(x []float32, n, rows, stride int, act Activation) {
	for i := range rows {
		row := &x[i*stride]
		switch act {
		case GELU:
			geluNEON(row, n, &erfRatio)
		case Tanh:
			ratioNEON(row, n, &tanhRatio)
		case ReLU:
			reluNEON(row, n)
		case Identity:
		}
	}
}

func sumFast(x []float32) float32 { return sumNEON(&x[0], len(x)) }

func deviationFast(x []float32, mean float32) float32 { return deviationNEON(&x[0], len(x), mean) }

func scaleFast(dst, x, gamma, beta []float32, mean, scale float32) {
	scaleNEON(&dst[0], &x[0], &gamma[0], &beta[0], len(x), mean, scale)
}

func rangeFast(x []float32) (lo, hi float32) { return rangeNEON(&x[0], len(x)) }

func quantiseFast(q []uint8, x []float32, inv float32, zero int32) {
	quantiseNEON(&q[0], &x[0], len(x), inv, zero)
}

func transposeFast(dst, src []float32, rows, cols, ldd, lds int) {
	transposeNEON(&dst[0], &src[0], rows, cols, ldd*4, lds*4)
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
	depthwiseNEON(&t)
}

func int8Fast(t *tiles8) {
	if level >= neondot {
		int8UDOT(t)
		return
	}
	int8NEON(t)
}

//go:noescape
func int8UDOT(t *tiles8)

//go:noescape
func int8NEON(t *tiles8)

//go:noescape
func maxNEON(x *float32, n int) float32

//go:noescape
func mulNEON(x *float32, n int, by float32)

//go:noescape
func mulAddNEON(y, x, w *float32, n int)

//go:noescape
func reluNEON(x *float32, n int)

//go:noescape
func geluNEON(x *float32, n int, r *ratio)

//go:noescape
func ratioNEON(x *float32, n int, r *ratio)

//go:noescape
func sumNEON(x *float32, n int) float32

//go:noescape
func deviationNEON(x *float32, n int, mean float32) float32

//go:noescape
func scaleNEON(dst, x, gamma, beta *float32, n int, mean, scale float32)

//go:noescape
func rangeNEON(x *float32, n int) (lo, hi float32)

//go:noescape
func quantiseNEON(q *uint8, x *float32, n int, inv float32, zero int32)

//go:noescape
func transposeNEON(dst, src *float32, rows, cols, ldd, lds int)

//go:noescape
func depthwiseNEON(t *depthwise)
