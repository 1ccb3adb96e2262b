package linear

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"tandem/internal/feature/text"
	"tandem/internal/kernel"
	"tandem/internal/student"
)

const (
	// maxFeatures bounds the rows of the table; the rarest features go first.
	maxFeatures = 1 << 17
	// manyRows is where features found in a single row stop earning one of
	// their own: they double the table and no longer help.
	manyRows = 10000
	// maxSteps bounds the work on many rows, which need fewer passes.
	maxSteps  = 800_000
	minEpochs = 4
	// fewRows is where the learning rate begins to fall with the rows.
	fewRows = 8000

	updatePasses = 2
	updateRate   = 0.5
)

// settings of one training. They were chosen on training and validation
// parts of several data sets and are the same for all of them.
type settings struct {
	blocks  text.Weights
	dropout float32 // share of features left out at each step
	epochs  int
	rate    float32 // first learning rate; it falls linearly
	final   float32 // last learning rate as a share of the first
	models  int     // models averaged
	minDocs int
}

func settingsFor(rows int, opt student.Options) settings {
	s := settings{
		blocks: text.Weights{1, 0.5, 1.2}, dropout: 0.7, epochs: 20, rate: 0.7, final: 0.02,
		models: 4, minDocs: 1,
	}
	if rows < fewRows {
		// Fewer rows are learnt more gently: it costs no accuracy, and the
		// order of the probabilities, which the gate lives on, gets better.
		s.rate *= max(0.5, float32(math.Sqrt(float64(rows)/fewRows)))
	}
	if rows >= manyRows {
		s.minDocs, s.models = 2, 2
	}
	s.epochs = min(s.epochs, max(maxSteps/rows, minEpochs))
	if opt.Quick {
		s.models, s.epochs = 1, min(s.epochs, 15)
	}
	return s
}

// matrix holds the features of all rows, one after another.
type matrix struct {
	start []int // row i is [start[i], start[i+1])
	index []uint32
	value []float32
	tmp   text.Sparse
}

func (m *matrix) add(vocab *text.Vocabulary, v *text.Vector, blocks text.Weights) {
	vocab.Weigh(v, blocks, &m.tmp)
	m.index = append(m.index, m.tmp.Index...)
	m.value = append(m.value, m.tmp.Value...)
	m.start = append(m.start, len(m.index))
}

func (m *matrix) row(i int) ([]uint32, []float32) {
	a, b := m.start[i], m.start[i+1]
	return m.index[a:b], m.value[a:b]
}

// build chooses the vocabulary and weighs all rows.
func build(ctx context.Context, rows []student.Example, set settings) (*text.Vocabulary, *matrix, error) {
	var v text.Vector
	corpus := text.NewCorpus()
	for i := range rows {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		v.Fill(&rows[i].Input)
		corpus.Add(&v)
	}
	vocab := corpus.Vocabulary(set.minDocs, maxFeatures)
	m := &matrix{start: make([]int, 1, len(rows)+1)}
	for i := range rows {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		v.Fill(&rows[i].Input)
		m.add(vocab, &v, set.blocks)
	}
	return vocab, m, nil
}

// average trains the models, at most opt.Threads at a time, and averages
// their tables in a fixed order.
func average(ctx context.Context, m *matrix, rows []student.Example, classes, features int, set settings, opt student.Options) ([]float32, error) {
	report := meter(opt.Progress, set.models*set.epochs)
	tables := make([][]float32, set.models)
	errs := make([]error, set.models)
	gate := make(chan struct{}, max(opt.Threads, 1))
	var wg sync.WaitGroup
	for k := range tables {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			tables[k], errs[k] = train(ctx, m, rows, classes, features, opt.Seed*31+uint64(k), set, report)
		})
	}
	wg.Wait()
	for k, err := range errs {
		if err != nil {
			return nil, err
		}
		if k > 0 {
			kernel.Axpy(1, tables[k], tables[0])
			tables[k] = nil
		}
	}
	for i := range tables[0] {
		tables[0][i] /= float32(set.models)
	}
	return tables[0], nil
}

// meter turns ticks from any goroutine into a progress report.
func meter(progress func(float64), ticks int) func() {
	if progress == nil {
		return func() {}
	}
	var mu sync.Mutex
	done := 0
	return func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		progress(float64(done) / float64(ticks))
	}
}

// descent is stochastic gradient descent on the softmax loss over a table.
type descent struct {
	matrix  *matrix
	rows    []student.Example
	classes int
	bias    uint32 // row of the bias
	table   []float32

	cut   uint32  // a feature is left out when a random word is below
	scale float32 // makes up for what is left out; 0 when nothing is
	state uint64  // xorshift

	grad  []float32
	index []uint32
	value []float32
}

// step learns from one row.
func (d *descent) step(i int, rate float32) {
	if d.grad == nil {
		d.grad = make([]float32, kernel.Pad(d.classes))
	}
	index, value := d.matrix.row(i)
	d.index, d.value = append(d.index[:0], d.bias), append(d.value[:0], 1)
	if d.scale == 0 {
		d.index, d.value = append(d.index, index...), append(d.value, value...)
	} else {
		d.drop(index, value)
	}
	p := d.grad
	clear(p)
	kernel.Gather(p, d.table, d.index, d.value)
	kernel.Softmax(p[:d.classes])
	clear(p[d.classes:])
	rate *= min(d.rows[i].Weight, maxWeight)
	for k := range p[:d.classes] {
		p[k] *= -rate
	}
	p[d.rows[i].Label] += rate
	kernel.Scatter(d.table, p, d.index, d.value)
}

// drop appends the features that stay in this step. Which ones do is random,
// so each is written and the end moves on without a branch to mispredict.
func (d *descent) drop(index []uint32, value []float32) {
	n, x, cut := 1, d.state, uint64(d.cut)
	to := slices.Grow(d.index, len(index))[:1+len(index)]
	val := slices.Grow(d.value, len(index))[:1+len(index)]
	for k, f := range index {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		to[n], val[n] = f, value[k]*d.scale
		n += int(1 - (x>>32-cut)>>63) // 1 when the random word is not below cut
	}
	d.state = x
	d.index, d.value = to[:n], val[:n]
}

// maxWeight keeps one heavy row from throwing the descent off.
const maxWeight = 8

// train fits one model: averaged stochastic gradient descent with feature
// dropout. The average is taken over snapshots in the second half.
func train(ctx context.Context, m *matrix, rows []student.Example, classes, features int, seed uint64, set settings, tick func()) ([]float32, error) {
	r := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	d := descent{
		matrix: m, rows: rows, classes: classes, bias: uint32(features),
		table: make([]float32, (features+1)*kernel.Pad(classes)),
		cut:   uint32(float64(set.dropout) * (1 << 32)), scale: 1 / (1 - set.dropout), state: r.Uint64() | 1,
	}
	sum := make([]float32, len(d.table))
	order := r.Perm(len(rows))
	total := len(rows) * set.epochs
	every := len(rows)
	done, snapshots := 0, 0
	for range set.epochs {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			if done%256 == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			d.step(i, set.rate*(1-(1-set.final)*float32(done)/float32(total)))
			done++
			if done > total/2 && done%every == 0 {
				kernel.Axpy(1, d.table, sum)
				snapshots++
			}
		}
		tick()
	}
	for i := range sum {
		sum[i] /= float32(snapshots)
	}
	return sum, nil
}
