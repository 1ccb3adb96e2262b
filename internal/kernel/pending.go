package kernel

func transposeFast(dst, src []float32, rows, cols, ldd, lds int) {
	transposeGo(dst, src, rows, cols, ldd, lds)
}

func activateFast(x []float32, act Activation) { activateGo(x, act) }

func sumFast(x []float32) float32                                  { return sumGo(x) }
func deviationFast(x []float32, m float32) float32                 { return deviationGo(x, m) }
func scaleFast(d, x, g, b []float32, m, s float32)                 { scaleGo(d, x, g, b, m, s) }
func rangeFast(x []float32) (float32, float32)                     { return rangeGo(x, 0, 0) }
func quantiseFast(q []uint8, x []float32, inv float32, zero int32) { quantiseGo(q, x, inv, zero) }

func int8Fast(tile *[int8Rows * panel8]int32, a []uint8, w []int8, rows, k int) {
	int8Go(tile, a, w, rows, k)
}

func finishFast(out *[panel8]float32, sums []int32, scales []float32, columns []int32, scale float32, zero int32) {
	finishGo(out, sums, scales, columns, scale, zero)
}

func depthwiseFast(dst, src, weights, bias []float32, pixels, width, ch int) {
	n := ch &^ (Lanes - 1)
	for i := range pixels {
		out := dst[i*ch : i*ch+n]
		clear(out)
		copy(out, bias)
		for t := range 9 {
			in, w := src[((t/3)*width+t%3+i)*ch:], weights[t*ch:]
			for c := range out {
				out[c] += in[c] * w[c]
			}
		}
	}
}
