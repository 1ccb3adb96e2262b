package kernel

import "golang.org/x/sys/cpu"

// The instruction sets that there is assembly for.
const (
	portable = iota
	avx2
	avx512     // F, BW, DQ and VL, beside avx2
	avx512vnni // and the dot products of eight-bit integers
)

// level is decided once, when the program starts; only tests change it.
var level = detect()

func detect() int {
	x := &cpu.X86
	switch {
	case !x.HasAVX2 || !x.HasFMA:
		return portable
	case !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512DQ || !x.HasAVX512VL:
		return avx2
	case !x.HasAVX512VNNI:
		return avx512
	}
	return avx512vnni
}

func levelName() string {
	return [...]string{"portable", "avx2", "avx512", "avx512vnni"}[level]
}

func accelerated() bool { return level != portable }

// panelWidth is the number of columns in a panel of packed weights.
func panelWidth() int {
	if level >= avx512 {
		return 48
	}
	return 24
}

// panelLanes is what the width of a panel is a multiple of.
func panelLanes() int {
	if level >= avx512 {
		return 16
	}
	return 8
}

func dotFast(a, b []float32) float32 { return dotAVX2(&a[0], &b[0], len(a)) }

func axpyFast(alpha float32, x, y []float32) { axpyAVX2(alpha, &x[0], &y[0], len(x)) }

func gatherFast(y, w []float32, idx []uint32, val []float32) {
	gatherAVX2(&y[0], &w[0], &idx[0], &val[0], len(idx), len(y))
}

func scatterFast(w, g []float32, idx []uint32, val []float32) {
	scatterAVX2(&w[0], &g[0], &idx[0], &val[0], len(idx), len(g))
}

func expFast(x []float32, top float32) float32 { return expAVX2(&x[0], len(x), top) }

func logFast(z, p []float32, w, slope, offset float32) {
	logAVX2(&z[0], &p[0], len(p), w, slope, offset)
}

//go:noescape
func dotAVX2(a, b *float32, n int) float32

//go:noescape
func axpyAVX2(alpha float32, x, y *float32, n int)

//go:noescape
func gatherAVX2(y, w *float32, idx *uint32, val *float32, n, width int)

//go:noescape
func scatterAVX2(w, x *float32, idx *uint32, val *float32, n, width int)

//go:noescape
func expAVX2(x *float32, n int, top float32) float32

//go:noescape
func logAVX2(z, p *float32, n int, w, slope, offset float32)
