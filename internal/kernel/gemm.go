package kernel

// ColumnStep is the granularity of column ranges of packed weights: a range
// given to MulPart begins and ends at a multiple of it, or at the last column.
const ColumnStep = 48

// Activation is what an epilogue applies to each finished element.
type Activation uint8

// The activations.
const (
	Identity Activation = iota
	GELU                // x·Φ(x) with the exact error function, as BERT has it; see Gelu
	Tanh                // as in the poolers of BERT; see Tanhs
	ReLU                // max(x, 0)
)

// Epilogue is what a product does with its sums before they leave the
// processor's caches: dst = act(a·W + bias + add). The zero value does nothing.
type Epilogue struct {
	// Bias has one number for each column of the weights, or is nil.
	Bias []float32
	// Add is a matrix as large as dst that is added to the product, such as
	// the residual connection of a transformer, or nil. It may be dst itself,
	// and must not overlap it otherwise.
	Add []float32
	// AddStride is the distance between the rows of Add in numbers; 0 means
	// the stride of dst.
	AddStride int
	Act       Activation
}

// zeros stand for a bias or an addend that is not there.
var zeros [ColumnStep]float32

// Packed is a k×n matrix of weights laid out for multiplication from the
// right. It never changes after packing and may be shared by goroutines.
type Packed struct {
	k, n int
	// data holds panels of `panel` columns each (the last one is padded with
	// zeros to a multiple of `lanes`), row after row of k.
	data         []float32
	panel, lanes int
}

// Pack lays out row-major weights: w[i*n+j] takes input i to output j.
func Pack(w []float32, k, n int) *Packed {
	checkWeights(len(w), k, n)
	return pack(k, n, func(i, j int) float32 { return w[i*n+j] })
}

// PackT lays out transposed weights, as linear layers store them ([out, in]):
// w[j*k+i] takes input i to output j. The result multiplies as Pack's does.
func PackT(w []float32, n, k int) *Packed {
	checkWeights(len(w), k, n)
	return pack(k, n, func(i, j int) float32 { return w[j*k+i] })
}

func checkWeights(length, k, n int) {
	if k <= 0 || n <= 0 || length != k*n {
		panic("kernel: weights are not k×n")
	}
}

func pack(k, n int, at func(i, j int) float32) *Packed {
	p := &Packed{k: k, n: n, panel: panelWidth(), lanes: panelLanes()}
	p.data = make([]float32, k*p.pad(n))
	for from := 0; from < n; from += p.panel {
		width := min(p.panel, p.pad(n-from))
		block := p.data[k*from:]
		for i := range k {
			for j := range min(width, n-from) {
				block[i*width+j] = at(i, from+j)
			}
		}
	}
	return p
}

func (p *Packed) pad(n int) int { return (n + p.lanes - 1) &^ (p.lanes - 1) }

// Shape is the number of inputs and outputs.
func (p *Packed) Shape() (k, n int) { return p.k, p.n }

// Mul multiplies m rows: dst (m×n) becomes the epilogue of a (m×k) times the
// weights. Both are row-major without gaps. It allocates nothing; dst must not
// overlap a.
func (p *Packed) Mul(dst, a []float32, m int, e Epilogue) {
	p.MulPart(dst, p.n, a, p.k, m, 0, p.n, e)
}

// MulPart does the columns [from, to) of Mul, and rows may have gaps: row i
// begins at a[i*lda] and at dst[i*ldd]. Column j of the product lands in
// column j of dst, so goroutines may share dst and take ranges of columns, or
// take ranges of rows by slicing dst, a and e.Add. See ColumnStep.
func (p *Packed) MulPart(dst []float32, ldd int, a []float32, lda, m, from, to int, e Epilogue) {
	if from < 0 || to > p.n || from > to || from%ColumnStep != 0 || (to%ColumnStep != 0 && to != p.n) {
		panic("kernel: bad range of columns")
	}
	if m == 0 || from == to {
		return
	}
	if e.AddStride == 0 {
		e.AddStride = ldd
	}
	checkMatrix("a", len(a), m, p.k, lda)
	checkMatrix("dst", len(dst), m, p.n, ldd)
	if e.Bias != nil && len(e.Bias) != p.n {
		panic("kernel: bias does not have a number for each column")
	}
	if e.Add != nil {
		checkMatrix("add", len(e.Add), m, p.n, e.AddStride)
	}
	if accelerated() {
		p.mulFast(dst, ldd, a, lda, m, from, to, e)
		return
	}
	p.mulGo(dst, ldd, a, lda, m, from, to, e)
}

// MulAB multiplies two plain matrices, dst = a·b, with a m×k, b k×n and dst
// m×n, row-major with the given strides: attention's (probabilities × values),
// whose heads lie side by side. It allocates nothing; dst must not overlap a
// or b. For weights that are used again, Pack is faster.
func MulAB(dst, a, b []float32, m, k, n, ldd, lda, ldb int) {
	if m == 0 || n == 0 {
		return
	}
	checkMatrix("a", len(a), m, k, lda)
	checkMatrix("b", len(b), k, n, ldb)
	checkMatrix("dst", len(dst), m, n, ldd)
	if k == 0 {
		for i := range m {
			clear(dst[i*ldd : i*ldd+n])
		}
		return
	}
	if accelerated() {
		mulABFast(dst, a, b, m, k, n, ldd, lda, ldb, false)
		return
	}
	mulABGo(dst, a, b, m, k, n, ldd, lda, ldb)
}

// ScratchABT is the length of the scratch that MulABT wants.
func ScratchABT(k, n int) int { return k * Pad(n) }

// MulABT multiplies by a transposed matrix, dst = a·bᵀ, with a m×k, b n×k and
// dst m×n, row-major with the given strides: attention's (queries × keys).
// The scratch, of at least ScratchABT(k, n) numbers, holds bᵀ meanwhile.
func MulABT(dst, a, b, scratch []float32, m, k, n, ldd, lda, ldb int) {
	if m == 0 || n == 0 {
		return
	}
	checkMatrix("a", len(a), m, k, lda)
	checkMatrix("b", len(b), n, k, ldb)
	checkMatrix("dst", len(dst), m, n, ldd)
	ldt := Pad(n)
	scratch = scratch[:k*ldt]
	if k == 0 {
		MulAB(dst, a, nil, m, 0, n, ldd, lda, n)
		return
	}
	Transpose(scratch, b, n, k, ldt, ldb)
	if !accelerated() {
		mulABGo(dst, a, scratch, m, k, n, ldd, lda, ldt)
		return
	}
	if n < ldt {
		for i := range k {
			clear(scratch[i*ldt+n : (i+1)*ldt])
		}
	}
	mulABFast(dst, a, scratch, m, k, n, ldd, lda, ldt, true)
}

// Transpose writes dst[j*ldd+i] = src[i*lds+j] for i < rows and j < cols. The
// two must not overlap.
func Transpose(dst, src []float32, rows, cols, ldd, lds int) {
	checkMatrix("src", len(src), rows, cols, lds)
	checkMatrix("dst", len(dst), cols, rows, ldd)
	if rows == 0 || cols == 0 {
		return
	}
	if !accelerated() || rows < 8 || cols < 8 {
		transposeGo(dst, src, rows, cols, ldd, lds)
		return
	}
	// Squares of eight, the last ones of which overlap those before.
	r, c := rows&^7, cols&^7
	transposeFast(dst, src, r, c, ldd, lds)
	if r < rows {
		transposeFast(dst[rows-8:], src[(rows-8)*lds:], 8, c, ldd, lds)
	}
	if c < cols {
		transposeFast(dst[(cols-8)*ldd:], src[cols-8:], r, 8, ldd, lds)
		transposeFast(dst[(cols-8)*ldd+rows-8:], src[(rows-8)*lds+cols-8:], 8, 8, ldd, lds)
	}
}

// checkMatrix panics, as a slice access would, where a row would lie outside
// of its slice, before assembly could touch memory that is not the matrix's.
func checkMatrix(name string, length, rows, cols, stride int) {
	if rows < 0 || cols < 0 || stride < cols {
		panic("kernel: " + name + " has a bad shape")
	}
	if rows == 0 || cols == 0 {
		return
	}
	// The product cannot overflow where a matrix this large is in memory, and
	// where it would, the division says so.
	if cols > length || (rows > 1 && (length-cols)/stride < rows-1) {
		panic("kernel: " + name + " is shorter than its shape")
	}
}
