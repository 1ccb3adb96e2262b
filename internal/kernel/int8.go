package kernel

import "math"

// The ranges of quantised numbers. Weights are kept with 64 added, so that
// the sum of four products fits into 16 bits without a sign (4·127·128 < 2¹⁶).
// That is what processors without a dot-product instruction need to be twice
// as fast as in single precision; the others follow, so that a model answers
// alike everywhere.
const (
	actMax    = 127
	weightMax = 64
	group8    = 8  // k is padded to a multiple of it
	panel8    = 16 // columns in a panel of packed weights
)

// PackedInt8 is a k×n matrix of weights in eight-bit integers, laid out for
// multiplication from the right. Each column has its own scale; weight w
// stands for w·scale, w in [−64, 64]. It never changes after packing and may
// be shared by goroutines.
type PackedInt8 struct {
	k, n int
	// data holds panels of 16 columns, each a sequence of groups of four
	// inputs, [panel][k/4][16][4], as w + 64.
	data []uint8
	// scale of each column and the sum of its w, padded.
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
		data:  make([]uint8, kp*np),
		scale: make([]float32, np),
		sums:  make([]int32, np),
	}
	for i := range p.data {
		p.data[i] = weightMax
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
			q := int32(math.RoundToEven(float64(at(i, j)) * weightMax / float64(top)))
			panel[i/4*4*panel8+j%panel8*4+i%4] = uint8(q + weightMax)
			p.sums[j] += q
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
	shift        []int32 // what the 64 added to the weights brings: 64·Σq
}

// Reset makes room for m rows of k numbers. It allocates only when there was
// never that much room.
func (q *Rows8) Reset(m, k int) {
	q.m, q.k, q.stride = m, k, (k+group8-1)&^(group8-1)
	if n := m * q.stride; cap(q.data) < n {
		q.data = make([]uint8, n)
	}
	if cap(q.scale) < m {
		q.scale, q.zero, q.shift = make([]float32, m), make([]int32, m), make([]int32, m)
	}
	q.data, q.scale, q.zero, q.shift = q.data[:m*q.stride], q.scale[:m], q.zero[:m], q.shift[:m]
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
		q.shift[i] = 0
		for _, v := range row {
			q.shift[i] += weightMax * int32(v)
		}
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
	for ; from < to; from += panel8 {
		cols := min(panel8, to-from)
		switch {
		case !accelerated():
			p.panelGo(dst, ldd, q, i0, i1, from, cols, e)
		case cols < panel8:
			p.lastPanel(dst, ldd, q, i0, i1, from, cols, e)
		default:
			p.panelFast(dst, ldd, q, i0, i1, from, e)
		}
	}
}

// panelGo is the specification: exact sums of integers, from which numbers
// are made at the end.
func (p *PackedInt8) panelGo(dst []float32, ldd int, q *Rows8, i0, i1, from, cols int, e Epilogue) {
	w := p.data[from*q.stride : (from+panel8)*q.stride]
	for r := i0; r < i1; r++ {
		var sums [panel8]int32
		for i, x := range q.data[r*q.stride : (r+1)*q.stride] {
			for j := range sums {
				sums[j] += int32(x) * int32(w[i/4*4*panel8+j*4+i%4])
			}
		}
		var out [panel8]float32
		for j := range out {
			exact := sums[j] - q.shift[r] - q.zero[r]*p.sums[from+j]
			out[j] = float32(exact) * (q.scale[r] * p.scale[from+j])
		}
		res := out[:cols]
		if e.Bias != nil {
			addTo(res, e.Bias[from:])
		}
		if e.Add != nil {
			addTo(res, e.Add[r*e.AddStride+from:])
		}
		activateGo(res, e.Act)
		copy(dst[r*ldd+from:], res)
	}
}

// panelFast is panelGo with assembly for a panel whose columns are all there.
func (p *PackedInt8) panelFast(dst []float32, ldd int, q *Rows8, i0, i1, from int, e Epilogue) {
	t := p.tiles(q, i0, i1, from)
	t.d, t.ldd = &dst[i0*ldd+from], uintptr(ldd)*4
	if e.Bias != nil {
		t.bias = &e.Bias[from]
	}
	if e.Add != nil {
		t.init, t.ldi = &e.Add[i0*e.AddStride+from], uintptr(e.AddStride)*4
	}
	int8Fast(&t)
	if e.Act != Identity {
		activateFast(dst[i0*ldd+from:], panel8, i1-i0, ldd, e.Act)
	}
}

// lastPanel is panelFast for fewer columns, by way of the stack.
func (p *PackedInt8) lastPanel(dst []float32, ldd int, q *Rows8, i0, i1, from, cols int, e Epilogue) {
	var out, bias, add [panel8]float32
	if e.Bias != nil {
		copy(bias[:cols], e.Bias[from:])
	}
	for r := i0; r < i1; r++ {
		t := p.tiles(q, r, r+1, from)
		t.d, t.ldd, t.bias, t.init = &out[0], panel8*4, &bias[0], &add[0]
		if e.Add != nil {
			copy(add[:cols], e.Add[r*e.AddStride+from:])
		}
		int8Fast(&t)
		if e.Act != Identity {
			activate(out[:cols], e.Act)
		}
		copy(dst[r*ldd+from:], out[:cols])
	}
}

// tiles8 describes rows times one panel of eight-bit weights to the assembly.
// Strides count bytes. The kernel moves the pointers along.
type tiles8 struct {
	a, b                  *uint8
	d, init, bias, scales *float32
	sums                  *int32
	rowScale              *float32
	rowZero, rowShift     *int32
	lda, ldd, ldi         uintptr
	k, rows               int
}

func (p *PackedInt8) tiles(q *Rows8, i0, i1, from int) tiles8 {
	return tiles8{
		a: &q.data[i0*q.stride], b: &p.data[from*q.stride], lda: uintptr(q.stride),
		init: &zeros[0], bias: &zeros[0], scales: &p.scale[from], sums: &p.sums[from],
		rowScale: &q.scale[i0], rowZero: &q.zero[i0], rowShift: &q.shift[i0],
		k: q.stride, rows: i1 - i0,
	}
}
