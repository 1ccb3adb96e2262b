package encoder

import (
	"math"
	"sync"

	"tandem/internal/kernel"
)

// scratch is what one computation needs. Sequences lie one behind the other
// without padding: every row of the matrices is a token.
type scratch struct {
	ids  []int32
	ends []int // behind the last row of each sequence

	x       []float32 // rows × hidden
	qkv     []float32 // rows × 3·hidden: queries, keys and values
	context []float32 // rows × hidden: what attention gathered
	inner   []float32 // rows × intermediate
	lanes   []*lane   // one for each thread
}

// lane is the scratch of one thread.
type lane struct {
	scores []float32 // tokens × tokens of one head
	keys   []float32 // one head's keys, transposed
	small  kernel.Rows8
}

func (s *scratch) reset() { s.ids, s.ends = s.ids[:0], s.ends[:0] }

// take gives a scratch that nobody uses.
func (e *Encoder) take() *scratch {
	select {
	case s := <-e.idle:
		s.reset()
		return s
	default:
		return e.newScratch()
	}
}

// give takes a scratch back. More than the encoder wants to keep are dropped.
func (e *Encoder) give(s *scratch) {
	select {
	case e.idle <- s:
	default:
	}
}

// newScratch makes one that is large enough for every batch, so that it never
// grows.
func (e *Encoder) newScratch() *scratch {
	rows, h := max(e.maxTokens, batchRows), e.config.Hidden
	return &scratch{
		ids: make([]int32, 0, rows), ends: make([]int, 0, rows),
		x: make([]float32, rows*h), qkv: make([]float32, rows*3*h), context: make([]float32, rows*h),
		inner: make([]float32, rows*e.config.Inner),
		lanes: []*lane{e.newLane()},
	}
}

func (e *Encoder) newLane() *lane {
	n := e.maxTokens
	l := &lane{
		scores: make([]float32, n*n),
		keys:   make([]float32, kernel.ScratchABT(e.config.Hidden/e.config.Heads, n)),
	}
	l.small.Reset(max(n, batchRows), max(e.config.Hidden, e.config.Inner))
	return l
}

// forward computes the last layer's rows of all sequences, on this goroutine
// or on several that share out the rows.
func (e *Encoder) forward(s *scratch, threads int) {
	rows := len(s.ids)
	threads = min(threads, (rows+minShare-1)/minShare)
	if threads <= 1 {
		e.embeddings(s, 0, rows)
		for i := range e.weights.layers {
			e.project(s, s.lanes[0], &e.weights.layers[i], 0, rows)
			e.mix(s, s.lanes[0], &e.weights.layers[i], 0, rows)
		}
		return
	}
	for len(s.lanes) < threads {
		s.lanes = append(s.lanes, e.newLane())
	}
	// Rows depend on others only in attention, which reads the keys and values
	// of the whole sequence: all must be there before it, and stay until every
	// thread has read them.
	share(threads, rows, func(_, from, to int) { e.embeddings(s, from, to) })
	for i := range e.weights.layers {
		l := &e.weights.layers[i]
		share(threads, rows, func(t, from, to int) { e.project(s, s.lanes[t], l, from, to) })
		share(threads, rows, func(t, from, to int) { e.mix(s, s.lanes[t], l, from, to) })
	}
}

// minShare is the fewest rows that are worth a goroutine.
const minShare = 8

// share runs f on ranges of rows and waits.
func share(threads, rows int, f func(thread, from, to int)) {
	var wg sync.WaitGroup
	for t := 1; t < threads; t++ {
		wg.Go(func() { f(t, rows*t/threads, rows*(t+1)/threads) })
	}
	f(0, 0, rows/threads)
	wg.Wait()
}

// embeddings fills the rows [from, to) with their tokens' vectors.
func (e *Encoder) embeddings(s *scratch, from, to int) {
	h, w := e.config.Hidden, e.weights
	for seq, end := range s.ends {
		start := s.start(seq)
		for r := max(start, from); r < min(end, to); r++ {
			x, word := s.x[r*h:(r+1)*h], w.words[int(s.ids[r])*h:]
			place := w.positions[(r-start)*h:]
			for i := range x {
				x[i] = word[i] + place[i]
			}
		}
	}
	e.normalise(s.x, w.norm, from, to)
}

// start is the first row of a sequence.
func (s *scratch) start(sequence int) int {
	if sequence == 0 {
		return 0
	}
	return s.ends[sequence-1]
}

func (e *Encoder) normalise(x []float32, a affine, from, to int) {
	h := e.config.Hidden
	x = x[from*h : to*h]
	kernel.LayerNorm(x, x, a.gamma, a.beta, float32(e.config.Eps))
}

// project computes the queries, keys and values of the rows [from, to).
func (e *Encoder) project(s *scratch, l *lane, w *layer, from, to int) {
	h := e.config.Hidden
	w.qkv.mul(l, s.qkv[from*3*h:to*3*h], s.x[from*h:to*h], to-from, nil, kernel.Identity)
}

// mix does the rest of a layer for the rows [from, to): attention over their
// sequences and the two-layer network.
func (e *Encoder) mix(s *scratch, l *lane, w *layer, from, to int) {
	h, inner, rows := e.config.Hidden, e.config.Inner, to-from
	for seq, end := range s.ends {
		start := s.start(seq)
		if first, last := max(start, from), min(end, to); first < last {
			e.attend(s, l, start, end, first, last)
		}
	}
	x, up := s.x[from*h:to*h], s.inner[from*inner:to*inner]
	w.out.mul(l, x, s.context[from*h:to*h], rows, x, kernel.Identity)
	e.normalise(s.x, w.norm1, from, to)
	act := kernel.GELU
	if e.config.Act == "relu" {
		act = kernel.ReLU
	}
	w.up.mul(l, up, x, rows, nil, act)
	w.down.mul(l, x, up, rows, x, kernel.Identity)
	e.normalise(s.x, w.norm2, from, to)
}

// attend computes what the rows [first, last) gather from their sequence, the
// rows [start, end), head by head.
func (e *Encoder) attend(s *scratch, l *lane, start, end, first, last int) {
	h := e.config.Hidden
	width, tokens, rows := h/e.config.Heads, end-start, last-first
	stride := 3 * h
	scores := l.scores[:rows*tokens]
	for head := range e.config.Heads {
		at := head * width
		queries, keys, values := s.qkv[first*stride+at:], s.qkv[start*stride+h+at:], s.qkv[start*stride+2*h+at:]
		kernel.MulABT(scores, queries, keys, l.keys, rows, width, tokens, tokens, stride, stride)
		for r := range rows {
			kernel.Softmax(scores[r*tokens : (r+1)*tokens])
		}
		kernel.MulAB(s.context[first*h+at:], scores, values, rows, tokens, width, h, tokens, stride)
	}
}

// mul multiplies rows: dst becomes act(a·W + bias + add).
func (m *matrix) mul(l *lane, dst, a []float32, rows int, add []float32, act kernel.Activation) {
	e := kernel.Epilogue{Bias: m.bias, Add: add, Act: act}
	if m.small == nil {
		m.full.Mul(dst, a, rows, e)
		return
	}
	k, _ := m.small.Shape()
	l.small.Reset(rows, k)
	l.small.Quantise(a, k, 0, rows)
	m.small.Mul(dst, &l.small, e)
}

// pool makes the vector of a sequence from those of its tokens.
func (e *Encoder) pool(dst []float32, s *scratch, sequence int) {
	h, from, to := e.config.Hidden, s.start(sequence), s.ends[sequence]
	copy(dst, s.x[from*h:(from+1)*h])
	switch e.tail.pooling {
	case poolMean:
		for r := from + 1; r < to; r++ {
			kernel.Axpy(1, s.x[r*h:(r+1)*h], dst)
		}
		scale(dst, 1/float32(to-from))
	case poolMax:
		for r := from + 1; r < to; r++ {
			for i, v := range s.x[r*h : (r+1)*h] {
				dst[i] = max(dst[i], v)
			}
		}
	case poolCLS:
	}
	if e.tail.normalise {
		norm := math.Sqrt(float64(kernel.Dot(dst, dst)))
		scale(dst, float32(1/max(norm, 1e-12)))
	}
}

func scale(x []float32, by float32) {
	for i := range x {
		x[i] *= by
	}
}
