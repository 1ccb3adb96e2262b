package encoder

import (
	"context"
	"math"
	"slices"
	"strconv"
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

// What bounds the optimiser: steps, and the share of the loss that a step must
// still gain. To choose a penalty rough solutions of some of the rows will do.
const (
	rounds, precise    = 60, 1e-6
	tryRounds, roughly = 25, 1e-4
	tryRows            = 6000
)

// decays are the L2 penalties tried, divided by the weight of all rows, from
// strong to weak. Which is best depends on how noisy the teacher is: 16 on
// clean labels, ten times as much where one in three is wrong.
func decays() []float64 { return []float64{256, 128, 64, 32, 16, 8} }

const (
	fewDecay = 8  // the penalty where there are too few rows to try
	fewRows  = 60 // how many that is
	holdEach = 5  // one row in so many is held out to choose
)

// Train fits the weights by L-BFGS (Nocedal and Wright, Numerical
// Optimization, 2006, algorithm 7.5). The penalty, and how sharp the
// probabilities are, are chosen on rows held out, then everything is learnt.
// Rows are summed in fixed parts, so that any number of threads gives the same
// member.
func (f Linear) Train(ctx context.Context, data student.Dataset, opt student.Options) (student.Member, error) {
	s, err := f.learnable(ctx, LinearName, data, opt)
	if err != nil {
		return nil, err
	}
	r := newRegression(s, opt.Threads)
	table := make([]float32, (s.dim+1)*r.width)
	best, sharp := float64(fewDecay), float32(1)
	if learn, held := r.holdOut(); held != nil {
		if best, sharp, err = r.try(ctx, learn, held, table); err != nil {
			return nil, err
		}
	}
	r.use(nil, best)
	if err := minimise(ctx, r, table, rounds, precise, opt.Progress); err != nil {
		return nil, err
	}
	for i := range table {
		table[i] *= sharp
	}
	return newLinear(f.base, s.classes, r.unfold(table)), nil
}

// holdOut deals the rows: most to learn from, some to choose by, none when
// there are too few. Rows of one group stay together.
func (r *regression) holdOut() (learn, held []int) {
	if len(r.x) < fewRows {
		return nil, nil
	}
	order := map[string]int{}
	for i := max(len(r.x)-tryRows, 0); i < len(r.x); i++ {
		n := len(order)
		if g := r.group[i]; g != "" {
			if at, ok := order[g]; ok {
				n = at
			}
			order[g] = n
		} else {
			order[strconv.Itoa(i)] = n
		}
		if n%holdEach == holdEach-1 {
			held = append(held, i)
		} else {
			learn = append(learn, i)
		}
	}
	if len(held) == 0 || len(learn) == 0 {
		return nil, nil
	}
	return learn, held
}

// try learns with ever weaker penalties, each from where the one before ended,
// until the rows held out like it less. It returns the best, and by how much
// its logits should be multiplied; table is then near its solution.
func (r *regression) try(ctx context.Context, learn, held []int, table []float32) (best float64, sharp float32, err error) {
	lowest := math.Inf(1)
	at := slices.Clone(table)
	for _, d := range decays() {
		r.use(learn, d)
		if err := minimise(ctx, r, at, tryRounds, roughly, nil); err != nil {
			return 0, 0, err
		}
		loss, factor := r.sharpness(held, at)
		if loss >= lowest {
			break
		}
		lowest, best, sharp = loss, d, factor
		copy(table, at)
	}
	return best, sharp, nil
}

// sharpness is the factor of the logits that rows held out like best, and
// their loss with it.
func (r *regression) sharpness(held []int, table []float32) (loss float64, factor float32) {
	logits := make([]float32, len(held)*r.width)
	x := make([]float32, r.dim+1)
	each := count(r.dim + 1)
	for n, i := range held {
		r.standard(i, x)
		kernel.Gather(logits[n*r.width:(n+1)*r.width], table, each, x)
	}
	loss = math.Inf(1)
	p := make([]float32, r.classes)
	for power := -2; power <= 6; power++ {
		f := float32(math.Pow(2, float64(power)/2))
		var sum float64
		for n, i := range held {
			for k := range p {
				p[k] = f * logits[n*r.width+k]
			}
			kernel.Softmax(p)
			sum += float64(r.weight[i]) * r.miss(i, p)
		}
		if sum < loss {
			loss, factor = sum, f
		}
	}
	return loss, factor
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
	all     float64 // weight of all rows
	total   float64 // weight of the rows in use
	decay   float64
	rows    int // in use
	parts   []part
}

// part is a fixed share of the rows.
type part struct {
	rows []int
	loss float64
	grad []float32
	x    []float32 // vectors, centred and scaled, with a 1 for the bias: a row each
	xt   []float32 // the same, a column each
	p    []float32 // a row of labels for each vector
}

// shares is how many parts there are, whatever the number of threads.
const shares = 8

func newRegression(s *set, threads int) *regression {
	r := &regression{set: s, width: kernel.Pad(s.classes), threads: max(threads, 1), mean: make([]float32, s.dim)}
	for i, x := range s.x {
		kernel.Axpy(s.weight[i], x, r.mean)
		r.all += float64(s.weight[i])
	}
	for i := range r.mean {
		r.mean[i] /= float32(r.all)
	}
	var spread float64
	for i, x := range s.x {
		for k, v := range x {
			d := float64(v - r.mean[k])
			spread += float64(s.weight[i]) * d * d
		}
	}
	r.scale = float32(1 / math.Sqrt(max(spread/r.all/float64(s.dim), 1e-6)))
	return r
}

// standard fills x with the centred and scaled vector of row i, and a 1.
func (r *regression) standard(i int, x []float32) {
	for k, v := range r.x[i] {
		x[k] = (v - r.mean[k]) * r.scale
	}
	x[r.dim] = 1
}

// use sets the rows to learn from, nil for all, and the penalty.
func (r *regression) use(rows []int, decay float64) {
	if rows == nil {
		rows = make([]int, len(r.x))
		for i := range rows {
			rows[i] = i
		}
	}
	if len(r.parts) == 0 || r.rows != len(rows) {
		r.split(rows)
	}
	r.decay = decay / r.total
}

// split copies the vectors of some rows into parts.
func (r *regression) split(rows []int) {
	r.rows, r.parts, r.total = len(rows), nil, 0
	for _, i := range rows {
		r.total += float64(r.weight[i])
	}
	count, side := min(shares, len(rows)), r.dim+1
	for k := range count {
		a := part{rows: rows[k*len(rows)/count : (k+1)*len(rows)/count]}
		n := len(a.rows)
		a.grad, a.x, a.xt, a.p = make([]float32, side*r.width), make([]float32, n*side), make([]float32, side*n), make([]float32, n*r.width)
		for at, i := range a.rows {
			r.standard(i, a.x[at*side:(at+1)*side])
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
	n, side := len(a.rows), r.dim+1
	kernel.MulAB(a.p, a.x, table, n, side, r.width, r.width, side, r.width)
	a.loss = 0
	for at, i := range a.rows {
		row := a.p[at*r.width : (at+1)*r.width]
		p, w := row[:r.classes], r.weight[i]
		kernel.Softmax(p)
		a.loss += float64(w) * r.miss(i, p)
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
