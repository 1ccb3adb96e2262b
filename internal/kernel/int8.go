package kernel

import "math"

// The ranges of quantised numbers. Four products of an activation and a
// weight fit into 16 bits with their sum (4·127·64 < 2¹⁵), which is what the
// processors without a dot-product instruction need; the others follow so
// that a model answers alike everywhere.
const (
	actMax    = 127
	weightMax = 64
	group8    = 8  // k is padded with zeros to a multiple of it
	panel8    = 16 // columns in a panel of packed weights
)

// PackedInt8 is a k×n matrix of weights in eight-bit integers, laid out for
// multiplication from the right. Each column has its own scale; weight w
// stands for w·scale, w in [−64, 64]. It never changes after packing and may
// be shared by goroutines.
type PackedInt8 struct {
	k, n int
	// data holds panels of 16 columns, each a sequence of groups of four
	// inputs: [panel][k/4][16][4].
	data []int8
	// scale of each column and the sum of its quantised weights, padded.
	scale []float32
	sums  []int32
}

// PackInt8 quantises row-major weights: w[i*n+j] takes input i to output j.
// Weights must be finite.
func PackInt8(w []float32, k, n int) *PackedInt8 {
	checkWeights(len(w), k, n)
	return packInt8(k, n, func(i, j int) float32 { return w[i*n+j] })
}

// PackInt8T quantises transposed weights, as linear layers store them
// ([out, in]): w[j*k+i] takes input i to output j.
func PackInt8T(w []float32, n, k int) *PackedInt8 {
	checkWeights(len(w), k, n)
	return packInt8(k, n, func(i, j int) float32 { return w[j*k+i] })
}

func packInt8(k, n int, at func(i, j int) float32) *PackedInt8 {
	kp, np := (k+group8-1)&^(group8-1), (n+panel8-1)&^(panel8-1)
	p := &PackedInt8{
		k: k, n: n,
		data:  make([]int8, kp*np),
		scale: make([]float32, np),
		sums:  make([]int32, np),
	}
	for j := range n {
		var top float32
		for i := range k {
			top = max(top, float32(math.Abs(float64(at(i, j)))))
		}
		if top == 0 {
			continue
		}
		p.scale[j] = top / weightMax
		panel := p.data[j/panel8*panel8*kp:]
		for i := range k {
			q := int8(math.RoundToEven(float64(at(i, j)) * weightMax / float64(top)))
			panel[i/4*4*panel8+j%panel8*4+i%4] = q
			p.sums[j] += int32(q)
		}
	}
	return p
}

// Shape is the number of inputs and outputs.
func (p *PackedInt8) Shape() (k, n int) { return p.k, p.n }

// Rows8 holds rows of activations in eight-bit integers, each row with its
// own scale and zero point: q stands for (q − zero)·scale, q in [0, 127]. The
// zero value is ready for Reset; rows are quantised once and then multiplied
// by any number of weights and ranges of columns.
type Rows8 struct {
	m, k, stride int
	data         []uint8
	scale        []float32
	zero         []int32
}

// Reset makes room for m rows of k numbers. It allocates only when there was
// never that much room.
func (q *Rows8) Reset(m, k int) {
	q.m, q.k, q.stride = m, k, (k+group8-1)&^(group8-1)
	if n := m * q.stride; cap(q.data) < n {
		q.data = make([]uint8, n)
	}
	if cap(q.scale) < m {
		q.scale, q.zero = make([]float32, m), make([]int32, m)
	}
	q.data, q.scale, q.zero = q.data[:m*q.stride], q.scale[:m], q.zero[:m]
}

// Quantise fills the rows [from, to); row i begins at a[i*lda]. The range of
// each row is what its numbers span together with 0, so that 0 is exact.
// Rows with numbers that are not finite give NaN products. Goroutines may
// fill different rows at once.
func (q *Rows8) Quantise(a []float32, lda, from, to int) {
	if from < 0 || to > q.m || from > to {
		panic("kernel: bad range of rows")
	}
	checkMatrix("a", len(a), to, q.k, lda)
	for i := from; i < to; i++ {
		row := q.data[i*q.stride : (i+1)*q.stride]
		clear(row[q.k:])
		q.scale[i], q.zero[i] = quantiseRow(row[:q.k], a[i*lda:i*lda+q.k])
	}
}

func quantiseRow(q []uint8, x []float32) (scale float32, zero int32) {
	n := 0
	var lo, hi float32
	if accelerated() {
		if n = len(x) &^ (Lanes - 1); n > 0 {
			lo, hi = rangeFast(x[:n])
		}
	}
	lo, hi = rangeGo(x[n:], lo, hi)
	if !(hi-lo <= math.MaxFloat32) { // NaN, infinite, or too far apart
		clear(q)
		return float32(math.NaN()), 0
	}
	if hi-lo < 1e-30 { // all as good as zero
		clear(q)
		return 0, 0
	}
	scale = (hi - lo) / actMax
	inv := actMax / (hi - lo)
	zero = int32(math.RoundToEven(float64(-lo * inv)))
	if n > 0 {
		quantiseFast(q[:n], x[:n], inv, zero)
	}
	quantiseGo(q[n:], x[n:], inv, zero)
	return scale, zero
}

// rangeGo widens [lo, hi] to span x; a NaN makes both NaN.
func rangeGo(x []float32, lo, hi float32) (float32, float32) {
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

func quantiseGo(q []uint8, x []float32, inv float32, zero int32) {
	for i, v := range x {
		r := int32(math.RoundToEven(float64(v*inv))) + zero
		q[i] = uint8(min(max(r, 0), actMax))
	}
}

// Mul multiplies all rows of q: dst (m×n, without gaps) becomes the epilogue
// of the rows times the weights. It allocates nothing.
func (p *PackedInt8) Mul(dst []float32, q *Rows8, e Epilogue) {
	p.MulPart(dst, p.n, q, 0, q.m, 0, p.n, e)
}

// MulPart does the rows [i0, i1) and columns [from, to) of Mul; row i of the
// product begins at dst[i*ldd], and e.Add is addressed like dst. Columns are
// bound by ColumnStep. Goroutines may share dst and q and take different
// ranges.
func (p *PackedInt8) MulPart(dst []float32, ldd int, q *Rows8, i0, i1, from, to int, e Epilogue) {
	if from < 0 || to > p.n || from > to || from%ColumnStep != 0 || (to%ColumnStep != 0 && to != p.n) {
		panic("kernel: bad range of columns")
	}
	if i0 < 0 || i1 > q.m || i0 > i1 {
		panic("kernel: bad range of rows")
	}
	if q.k != p.k {
		panic("kernel: rows and weights differ in inputs")
	}
	if i0 == i1 || from == to {
		return
	}
	if e.AddStride == 0 {
		e.AddStride = ldd
	}
	checkMatrix("dst", len(dst), i1, p.n, ldd)
	if e.Bias != nil && len(e.Bias) != p.n {
		panic("kernel: bias does not have a number for each column")
	}
	if e.Add != nil {
		checkMatrix("add", len(e.Add), i1, p.n, e.AddStride)
	}
	var tile [int8Rows * panel8]int32
	for ; from < to; from += panel8 {
		w := p.data[from*q.stride : (from+panel8)*q.stride]
		cols := min(panel8, to-from)
		for i := i0; i < i1; i += int8Rows {
			rows := min(int8Rows, i1-i)
			a := q.data[i*q.stride : (i+rows)*q.stride]
			if accelerated() {
				int8Fast(&tile, a, w, rows, q.stride)
			} else {
				int8Go(&tile, a, w, rows, q.stride)
			}
			for r := range rows {
				p.finish(dst[(i+r)*ldd+from:][:cols], tile[r*panel8:][:panel8], q, i+r, from, e)
			}
		}
	}
}

// int8Rows is how many rows a tile of sums has.
const int8Rows = 4

// finish turns integer sums into numbers.
func (p *PackedInt8) finish(dst []float32, sums []int32, q *Rows8, row, from int, e Epilogue) {
	var out [panel8]float32
	scale, zero := q.scale[row], q.zero[row]
	scales, columns := p.scale[from:from+panel8], p.sums[from:from+panel8]
	if accelerated() {
		finishFast(&out, sums, scales, columns, scale, zero)
	} else {
		finishGo(&out, sums, scales, columns, scale, zero)
	}
	res := out[:len(dst)]
	if e.Bias != nil {
		addTo(res, e.Bias[from:])
	}
	if e.Add != nil {
		addTo(res, e.Add[row*e.AddStride+from:])
	}
	if e.Act != Identity {
		activate(res, e.Act)
	}
	copy(dst, res)
}

// int8Go is the specification of the integer product: exact sums of a tile of
// rows times one panel of weights.
func int8Go(tile *[int8Rows * panel8]int32, a []uint8, w []int8, rows, k int) {
	clear(tile[:])
	for r := range rows {
		for i, x := range a[r*k : (r+1)*k] {
			for j := range panel8 {
				tile[r*panel8+j] += int32(x) * int32(w[i/4*4*panel8+j*4+i%4])
			}
		}
	}
}

func finishGo(out *[panel8]float32, sums []int32, scales []float32, columns []int32, scale float32, zero int32) {
	for j := range out {
		out[j] = float32(sums[j]-zero*columns[j]) * (scale * scales[j])
	}
}
