//go:build !amd64 && !arm64

package kernel

// There is no assembly for this processor: the twins do the work, and the
// functions below are never called.

func accelerated() bool { return false }

func levelName() string { return "portable" }

func panelWidth() int { return 24 }

func panelLanes() int { return 8 }

func dotFast(a, b []float32) float32                          { panic("unreachable") }
func axpyFast(alpha float32, x, y []float32)                  { panic("unreachable") }
func gatherFast(y, w []float32, idx []uint32, val []float32)  { panic("unreachable") }
func scatterFast(w, g []float32, idx []uint32, val []float32) { panic("unreachable") }
func expFast(x []float32, top float32) float32                { panic("unreachable") }
func logFast(z, p []float32, w, slope, offset float32)        { panic("unreachable") }

func (p *Packed) mulFast(dst []float32, ldd int, a []float32, lda, m, from, to int, e Epilogue) {
	panic("unreachable")
}

func mulABFast(dst, a, b []float32, m, k, n, ldd, lda, ldb int, padded bool) { panic("unreachable") }

func maxFast(x []float32) float32                                   { panic("unreachable") }
func mulAddFast(y, x, w []float32)                                  { panic("unreachable") }
func mulFast(x []float32, by float32)                               { panic("unreachable") }
func activateFast(x []float32, n, rows, stride int, act Activation) { panic("unreachable") }
func sumFast(x []float32) float32                                   { panic("unreachable") }
func deviationFast(x []float32, mean float32) float32               { panic("unreachable") }
func scaleFast(dst, x, gamma, beta []float32, mean, scale float32)  { panic("unreachable") }
func rangeFast(x []float32) (lo, hi float32)                        { panic("unreachable") }
func quantiseFast(q []uint8, x []float32, inv float32, zero int32)  { panic("unreachable") }
func transposeFast(dst, src []float32, rows, cols, ldd, lds int)    { panic("unreachable") }
func depthwiseFast(d, s, w, b []float32, pixels, width, ch int)     { panic("unreachable") }

func int8Fast(t *tiles8) { panic("unreachable") }
