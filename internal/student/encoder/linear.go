package encoder

import (
	"context"
	"math"
	"sync"

	"tandem"
	"tandem/internal/kernel"
	"tandem/internal/student"
)

// Linear is the family of softmax regression on embeddings.
type Linear struct{ *base }

// Name is "encoder".
func (Linear) Name() string { return LinearName }

// linearMember is a table of weights: a row for each number of the vector and
// a last one for the bias.
type linearMember struct {
	*base
	classes int
	width   int // classes padded for the kernel
	table   []float32
	each    []uint32  // 0, 1, … dim−1: the kernel's indices of a dense vector
	scratch sync.Pool // *headScratch
}

// headScratch is what one prediction of a head needs.
type headScratch struct {
	view   *view
	hidden []float32
	logits []float32
}

func newLinear(b *base, classes int, table []float32) *linearMember {
	m := &linearMember{base: b, classes: classes, width: kernel.Pad(classes), table: table, each: count(b.embedder.Dim())}
	m.scratch.New = func() any {
		return &headScratch{view: m.NewView().(*view), logits: make([]float32, m.width)}
	}
	return m
}

// count is 0, 1, … n−1.
func count(n int) []uint32 {
	c := make([]uint32, n)
	for i := range c {
		c[i] = uint32(i)
	}
	return c
}

// Classes is the number of labels.
func (m *linearMember) Classes() int { return m.classes }

// NewView makes an empty embedding.
func (m *linearMember) NewView() student.View { return m.newView() }

// Predict embeds the input and fills the probabilities.
func (m *linearMember) Predict(in *tandem.Input, out *student.Output) {
	s := m.scratch.Get().(*headScratch)
	s.view.Fill(in)
	m.predict(s.view.vector, s, out)
	m.scratch.Put(s)
}

// PredictView is Predict for an input embedded already.
func (m *linearMember) PredictView(v student.View, out *student.Output) {
	s := m.scratch.Get().(*headScratch)
	m.predict(v.(*view).vector, s, out)
	m.scratch.Put(s)
}

func (m *linearMember) predict(x []float32, s *headScratch, out *student.Output) {
	copy(s.logits, m.table[len(x)*m.width:])
	kernel.Gather(s.logits, m.table, m.each, x)
	out.Probs = append(out.Probs[:0], s.logits[:m.classes]...)
	kernel.Softmax(out.Probs)
	out.Novelty, out.Unseen = 0, 0
}

// The settings of the regression, chosen on training and validation parts of
// several data sets and the same for all of them.
const (
	// decay is the L2 penalty of a weight, divided by the weight of all rows:
	// the more rows, the less they need to be held back.
	decay = 0.5
	// rounds bounds the steps of the optimiser; stopping early is a little
	// regularisation of its own.
	rounds      = 60
	quickRounds = 40
)

// Train fits the weights by L-BFGS (Nocedal and Wright, Numerical
// Optimization, 2006, algorithm 7.5). Rows are summed in fixed parts, so that
// any number of threads gives the same member.
func (f Linear) Train(ctx context.Context, data student.Dataset, opt student.Options) (student.Member, error) {
	s, err := f.learnable(ctx, LinearName, data, opt)
	if err != nil {
		return nil, err
	}
	r := newRegression(s, opt.Threads)
	r.split()
	steps := rounds
	if opt.Quick {
		steps = quickRounds
	}
	table := make([]float32, (s.dim+1)*r.width)
	if err := minimise(ctx, r, table, steps, opt.Progress); err != nil {
		return nil, err
	}
	return newLinear(f.base, s.classes, r.unfold(table)), nil
}

// regression is the penalised loss of a table of weights over a set. Vectors
// are centred and scaled to unit variance on the whole, which conditions the
// problem; unfold takes both back.
type regression struct {
	*set
	width   int
	threads int
	mean    []float32
	scale   float32
	total   float64 // weight of all rows
	decay   float64
	parts   []part
}

// part is a fixed share of the rows.
type part struct {
	from, to int
	loss     float64
	grad     []float32
	x        []float32 // vectors, centred and scaled, with a 1 for the bias: a row each
	xt       []float32 // the same, a column each
	p        []float32 // a row of labels for each vector
}

// shares is how many parts there are, whatever the number of threads.
const shares = 8

func newRegression(s *set, threads int) *regression {
	r := &regression{set: s, width: kernel.Pad(s.classes), threads: max(threads, 1), mean: make([]float32, s.dim)}
	for i, x := range s.x {
		kernel.Axpy(s.weight[i], x, r.mean)
		r.total += float64(s.weight[i])
	}
	for i := range r.mean {
		r.mean[i] /= float32(r.total)
	}
	var spread float64
	for i, x := range s.x {
		for k, v := range x {
			d := float64(v - r.mean[k])
			spread += float64(s.weight[i]) * d * d
		}
	}
	r.scale = float32(1 / math.Sqrt(max(spread/r.total/float64(s.dim), 1e-6)))
	r.decay = decay / r.total
	return r
}

// split copies the vectors into parts.
func (r *regression) split() {
	count, side := min(shares, len(r.x)), r.dim+1
	for k := range count {
		a := part{from: k * len(r.x) / count, to: (k + 1) * len(r.x) / count}
		n := a.to - a.from
		a.grad, a.x, a.xt, a.p = make([]float32, side*r.width), make([]float32, n*side), make([]float32, side*n), make([]float32, n*r.width)
		for i := range n {
			row := a.x[i*side : (i+1)*side]
			for k, v := range r.x[a.from+i] {
				row[k] = (v - r.mean[k]) * r.scale
			}
			row[r.dim] = 1
		}
		kernel.Transpose(a.xt, a.x, n, side, n, side)
		r.parts = append(r.parts, a)
	}
}

// loss fills grad with the gradient at table and returns the loss.
func (r *regression) loss(table, grad []float32) float64 {
	gate := make(chan struct{}, r.threads)
	var wg sync.WaitGroup
	for k := range r.parts {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			r.sum(&r.parts[k], table)
		})
	}
	wg.Wait()
	clear(grad)
	var loss float64
	for k := range r.parts {
		loss += r.parts[k].loss
		kernel.Axpy(float32(1/r.total), r.parts[k].grad, grad)
	}
	loss /= r.total
	n := r.dim * r.width // the bias is free
	kernel.Axpy(float32(r.decay), table[:n], grad[:n])
	return loss + r.decay/2*dot(table[:n], table[:n])
}

// sum adds up the loss and the gradient of one part.
func (r *regression) sum(a *part, table []float32) {
	n, side := a.to-a.from, r.dim+1
	kernel.MulAB(a.p, a.x, table, n, side, r.width, r.width, side, r.width)
	a.loss = 0
	for i := range n {
		row := a.p[i*r.width : (i+1)*r.width]
		p, w := row[:r.classes], r.weight[a.from+i]
		kernel.Softmax(p)
		a.loss += float64(w) * r.miss(a.from+i, p)
		for k := range p {
			p[k] *= w
		}
		clear(row[r.classes:])
	}
	kernel.MulAB(a.grad, a.xt, a.p, side, n, r.width, r.width, n, r.width)
}

// miss is the cross entropy of row i; it takes the row's target off p.
func (r *set) miss(i int, p []float32) float64 {
	if t := r.soft[i]; len(t) == len(p) {
		var loss float64
		for k, q := range t {
			loss -= float64(q * kernel.Log(p[k]))
			p[k] -= q
		}
		return loss
	}
	l := r.label[i]
	loss := -float64(kernel.Log(p[l]))
	p[l]--
	return loss
}

// unfold turns weights for centred and scaled vectors into weights for plain
// ones.
func (r *regression) unfold(table []float32) []float32 {
	out := make([]float32, len(table))
	bias := out[r.dim*r.width:]
	copy(bias, table[r.dim*r.width:])
	for k := range r.dim {
		row := table[k*r.width : (k+1)*r.width]
		kernel.Axpy(r.scale, row, out[k*r.width:(k+1)*r.width])
		kernel.Axpy(-r.mean[k]*r.scale, row, bias)
	}
	return out
}
