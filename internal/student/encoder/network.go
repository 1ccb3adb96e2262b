package encoder

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"

	"tandem"
	"tandem/internal/kernel"
	"tandem/internal/student"
)

// Network is the family of small neural networks on embeddings: one hidden
// layer, several networks whose probabilities are averaged.
type Network struct{ *base }

// Name is "encoder-network".
func (Network) Name() string { return NetworkName }

// hidden is the width of the hidden layer.
const hidden = 256

// layers is one network: tables with a row for each input and a last one for
// the bias.
type layers struct {
	first  []float32 // (dim+1) × hidden
	second []float32 // (hidden+1) × width
}

// networkMember is a few trained networks.
type networkMember struct {
	*base
	classes int
	width   int
	nets    []layers
	each    []uint32
	scratch sync.Pool // *headScratch
}

func newNetwork(b *base, classes int, nets []layers) *networkMember {
	m := &networkMember{base: b, classes: classes, width: kernel.Pad(classes), nets: nets, each: count(max(b.embedder.Dim(), hidden))}
	m.scratch.New = func() any {
		return &headScratch{view: m.NewView().(*view), hidden: make([]float32, hidden), logits: make([]float32, m.width)}
	}
	return m
}

// Classes is the number of labels.
func (m *networkMember) Classes() int { return m.classes }

// NewView makes an empty embedding.
func (m *networkMember) NewView() student.View { return m.newView() }

// Predict embeds the input and fills the probabilities.
func (m *networkMember) Predict(in *tandem.Input, out *student.Output) {
	s := m.scratch.Get().(*headScratch)
	s.view.Fill(in)
	m.predict(s.view.vector, s, out)
	m.scratch.Put(s)
}

// PredictView is Predict for an input embedded already.
func (m *networkMember) PredictView(v student.View, out *student.Output) {
	s := m.scratch.Get().(*headScratch)
	m.predict(v.(*view).vector, s, out)
	m.scratch.Put(s)
}

func (m *networkMember) predict(x []float32, s *headScratch, out *student.Output) {
	if cap(out.Probs) < m.classes {
		out.Probs = make([]float32, m.classes)
	}
	out.Probs = out.Probs[:m.classes]
	clear(out.Probs)
	out.Novelty, out.Unseen = 0, 0
	share := 1 / float32(len(m.nets))
	for i := range m.nets {
		n := &m.nets[i]
		copy(s.hidden, n.first[len(x)*hidden:])
		kernel.Gather(s.hidden, n.first, m.each[:len(x)], x)
		for k, v := range s.hidden {
			s.hidden[k] = max(v, 0)
		}
		copy(s.logits, n.second[hidden*m.width:])
		kernel.Gather(s.logits, n.second, m.each[:hidden], s.hidden)
		p := s.logits[:m.classes]
		kernel.Softmax(p)
		kernel.Axpy(share, p, out.Probs)
	}
}

// The settings of the networks, chosen like those of the regression.
const (
	networks  = 2
	epochs    = 20
	maxSteps  = 400_000
	firstRate = 0.05
	lastShare = 0.02
	dropout   = 0.5
	gain      = 1.5 // of the inputs, after scaling to unit variance over √dim
)

// Train fits the networks, each on one thread with noise of its own.
func (f Network) Train(ctx context.Context, data student.Dataset, opt student.Options) (student.Member, error) {
	s, err := f.learnable(ctx, NetworkName, data, opt)
	if err != nil {
		return nil, err
	}
	r := newRegression(s, 1) // for the mean and the scale
	nets := make([]layers, networks)
	if opt.Quick {
		nets = nets[:1]
	}
	errs := make([]error, len(nets))
	gate := make(chan struct{}, max(opt.Threads, 1))
	var wg sync.WaitGroup
	for k := range nets {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			nets[k], errs[k] = r.network(ctx, opt.Seed*31+uint64(k))
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	if opt.Progress != nil {
		opt.Progress(1)
	}
	return newNetwork(f.base, s.classes, nets), nil
}

// network trains one network by averaged stochastic gradient descent.
func (r *regression) network(ctx context.Context, seed uint64) (layers, error) {
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	scale := r.scale * gain / float32(math.Sqrt(float64(r.dim)))
	n := layers{make([]float32, (r.dim+1)*hidden), make([]float32, (hidden+1)*r.width)}
	for i := range r.dim * hidden {
		n.first[i] = float32(rng.NormFloat64() * math.Sqrt(2))
	}
	sum := layers{make([]float32, len(n.first)), make([]float32, len(n.second))}
	x, h, e, p := make([]float32, r.dim+1), make([]float32, hidden+1), make([]float32, hidden), make([]float32, r.width)
	eachIn, eachHid := count(r.dim+1), count(hidden+1)
	keep := float32(1 - dropout)
	cut := uint32(float64(dropout) * (1 << 32))
	passes := min(epochs, max(maxSteps/len(r.x), 4))
	total, done, snaps := passes*len(r.x), 0, 0
	order := rng.Perm(len(r.x))
	for pass := range passes {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			if done%256 == 0 && ctx.Err() != nil {
				return n, ctx.Err()
			}
			rate := float32(firstRate) * (1 - (1-lastShare)*float32(done)/float32(total))
			for k, v := range r.x[i] {
				x[k] = (v - r.mean[k]) * scale
			}
			x[r.dim] = 1
			clear(h[:hidden])
			kernel.Gather(h[:hidden], n.first, eachIn, x)
			for k := range hidden {
				if h[k] <= 0 || rng.Uint32() < cut {
					h[k] = 0
				} else {
					h[k] /= keep
				}
			}
			h[hidden] = 1
			clear(p)
			kernel.Gather(p, n.second, eachHid, h)
			kernel.Softmax(p[:r.classes])
			clear(p[r.classes:])
			r.miss(i, p[:r.classes])
			step := -rate * r.weight[i]
			for k := range p {
				p[k] *= step
			}
			for k := range hidden {
				e[k] = 0
				if h[k] > 0 {
					e[k] = kernel.Dot(p, n.second[k*r.width:(k+1)*r.width]) / keep
				}
			}
			kernel.Scatter(n.second, p, eachHid, h)
			kernel.Scatter(n.first, e, eachIn, x)
			done++
		}
		if pass >= passes/2 {
			kernel.Axpy(1, n.first, sum.first)
			kernel.Axpy(1, n.second, sum.second)
			snaps++
		}
	}
	for _, t := range [][]float32{sum.first, sum.second} {
		for i := range t {
			t[i] /= float32(snaps)
		}
	}
	return r.plain(sum, scale), nil
}

// plain takes the centring and scaling back.
func (r *regression) plain(n layers, scale float32) layers {
	bias := n.first[r.dim*hidden:]
	for k := range r.dim {
		row := n.first[k*hidden : (k+1)*hidden]
		for i := range row {
			row[i] *= scale
		}
		kernel.Axpy(-r.mean[k], row, bias)
	}
	return n
}
