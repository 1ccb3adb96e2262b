package kernel

import "golang.org/x/sys/cpu"

// The instruction sets that there is assembly for. Every 64-bit ARM processor
// that Go runs on has the first.
const (
	portable = iota
	neon
	neondot // and the dot products of eight-bit integers
)

// level is decided once, when the program starts; only tests change it.
var level = detect()

func detect() int {
	if cpu.ARM64.HasASIMDDP {
		return neondot
	}
	return neon
}

func levelName() string { return [...]string{"portable", "neon", "neondot"}[level] }

func accelerated() bool { return level != portable }

// panelWidth is the number of columns in a panel of packed weights.
func panelWidth() int { return 24 }

// panelLanes is what the width of a panel is a multiple of.
func panelLanes() int { return 8 }

func dotFast(a, b []float32) float32 { return dotNEON(&a[0], &b[0], len(a)) }

func axpyFast(alpha float32, x, y []float32) { axpyNEON(alpha, &x[0], &y[0], len(x)) }

func gatherFast(y, w []float32, idx []uint32, val []float32) {
	gatherNEON(&y[0], &w[0], &idx[0], &val[0], len(idx), len(y))
}

func scatterFast(w, g []float32, idx []uint32, val []float32) {
	scatterNEON(&w[0], &g[0], &idx[0], &val[0], len(idx), len(g))
}

func expFast(x []float32, top float32) float32 { return expNEON(&x[0], len(x), top) }

func logFast(z, p []float32, w, slope, offset float32) {
	logNEON(&z[0], &p[0], len(p), w, slope, offset)
}

//go:noescape
func dotNEON(a, b *float32, n int) float32

//go:noescape
func axpyNEON(alpha float32, x, y *float32, n int)

//go:noescape
func gatherNEON(y, w *float32, idx *uint32, val *float32, n, width int)

//go:noescape
func scatterNEON(w, x *float32, idx *uint32, val *float32, n, width int)

//go:noescape
func expNEON(x *float32, n int, top float32) float32

//go:noescape
func logNEON(z, p *float32, n int, w, slope, offset float32)
