//go:build !amd64

package kernel

// There is no assembly for this processor: the twins do the work, and the
// functions below are never called.

func accelerated() bool { return false }

func panelWidth() int { return 24 }

func dotFast(a, b []float32) float32                          { panic("unreachable") }
func axpyFast(alpha float32, x, y []float32)                  { panic("unreachable") }
func gatherFast(y, w []float32, idx []uint32, val []float32)  { panic("unreachable") }
func scatterFast(w, g []float32, idx []uint32, val []float32) { panic("unreachable") }
func expFast(x []float32, top float32) float32                { panic("unreachable") }
func logFast(z, p []float32, w, slope, offset float32)        { panic("unreachable") }

func (p *Packed) mulFast(dst []float32, ldd int, a []float32, lda, m, from, to int, e Epilogue) {
	panic("unreachable")
}

func mulABFast(dst, a, b []float32, m, k, n, ldd, lda, ldb int) { panic("unreachable") }
