// Package kernel is the numeric code under the students: slices in, slices
// out. Every function has a plain-Go twin that is its specification; on amd64
// processors with AVX2 and FMA an assembly version is chosen at run time. The
// two differ only by rounding. Matrices are row-major and strides count
// numbers, not bytes. Functions with slices too short for the shapes they are
// given panic before they touch memory. Nothing here starts goroutines:
// callers share work out by ranges of rows or columns.
package kernel

// Lanes is the granularity of row lengths: Gather and Scatter take widths and
// strides that are multiples of it.
const Lanes = 8

// Pad rounds a row length up to a multiple of Lanes.
func Pad(n int) int { return (n + Lanes - 1) &^ (Lanes - 1) }

// Accelerated says whether the assembly versions are in use.
func Accelerated() bool { return accelerated() }

// Name says which versions are in use: "portable", "avx2",
// "avx512", "avx512vnni", "neon" or "neondot".
func Name() string { return levelName() }

// Dot is the inner product of two vectors; b must be at least as long as a.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	if accelerated() && len(a) >= Lanes {
		n := len(a) &^ (Lanes - 1)
		s := dotFast(a[:n], b)
		return s + dotGo(a[n:], b[n:])
	}
	return dotGo(a, b)
}

// Axpy adds alpha·x to y; y must be at least as long as x.
func Axpy(alpha float32, x, y []float32) {
	y = y[:len(x)]
	n := 0
	if accelerated() && len(x) >= Lanes {
		n = len(x) &^ (Lanes - 1)
		axpyFast(alpha, x[:n], y)
	}
	axpyGo(alpha, x[n:], y[n:])
}

// Gather adds to y the rows of a table, each scaled: y += Σ val[i]·w[idx[i]].
// The table w is row-major with rows of len(y) floats, a multiple of Lanes.
// Every index must name a row of w; idx and val have equal lengths.
func Gather(y, w []float32, idx []uint32, val []float32) {
	checkSparse(len(y), len(w), idx, val)
	if len(idx) == 0 || len(y) == 0 {
		return
	}
	if accelerated() {
		gatherFast(y, w, idx, val)
		return
	}
	gatherGo(y, w, idx, val)
}

// Scatter adds one vector, scaled, to rows of a table: w[idx[i]] += val[i]·g.
// The table w is row-major with rows of len(g) floats, a multiple of Lanes.
// Every index must name a row of w; idx and val have equal lengths.
func Scatter(w, g []float32, idx []uint32, val []float32) {
	checkSparse(len(g), len(w), idx, val)
	if len(idx) == 0 || len(g) == 0 {
		return
	}
	if accelerated() {
		scatterFast(w, g, idx, val)
		return
	}
	scatterGo(w, g, idx, val)
}

// Softmax turns logits into probabilities in place and returns the largest
// logit. An empty slice is left alone and gives 0.
func Softmax(x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	if accelerated() && len(x) >= Lanes {
		return softmaxFast(x)
	}
	top := maxGo(x)
	inv := 1 / expGo(x, top)
	for i := range x {
		x[i] *= inv
	}
	return top
}

// softmaxFast is Softmax of at least Lanes numbers with assembly.
func softmaxFast(x []float32) float32 {
	n := len(x) &^ (Lanes - 1)
	top := maxFast(x[:n])
	for _, v := range x[n:] {
		top = max(top, v)
	}
	sum := expFast(x[:n], top)
	if n < len(x) {
		// A copy goes through the assembly; −100 stands for nothing.
		var tail [Lanes]float32
		for i := range tail {
			tail[i] = -100
		}
		for i, v := range x[n:] {
			tail[i] = v - top
		}
		sum += expFast(tail[:], 0)
		copy(x[n:], tail[:])
	}
	inv := 1 / sum
	mulFast(x[:n], inv)
	for i := n; i < len(x); i++ {
		x[i] *= inv
	}
	if sum != sum {
		return sum // a NaN, which the search for the largest may have passed over
	}
	return top
}

// AddLog adds scaled logarithms: z += w·ln(slope·p + offset); z must be at
// least as long as p. See Log for what counts as positive.
func AddLog(z, p []float32, w, slope, offset float32) {
	z = z[:len(p)]
	n := 0
	if accelerated() && len(p) >= Lanes {
		n = len(p) &^ (Lanes - 1)
		logFast(z, p[:n], w, slope, offset)
	}
	logGo(z[n:], p[n:], w, slope, offset)
}

// checkSparse panics, as a slice access would, before the assembly could
// touch memory that does not belong to the table.
func checkSparse(width, table int, idx []uint32, val []float32) {
	if width%Lanes != 0 {
		panic("kernel: row width is not a multiple of Lanes")
	}
	if len(val) != len(idx) {
		panic("kernel: indices and values differ in number")
	}
	if width == 0 {
		return
	}
	rows := uint32(min(table/width, 1<<31))
	var top uint32
	for _, i := range idx {
		top = max(top, i)
	}
	if len(idx) > 0 && top >= rows {
		panic("kernel: row index out of range")
	}
}
