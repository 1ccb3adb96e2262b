// Package nearest is the family that remembers labelled examples and lets the
// most similar ones vote. Alone it is weaker than a linear model; beside one
// it says how familiar an input is and whether its neighbours agree.
package nearest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"

	"tandem"
	"tandem/internal/feature/text"
	"tandem/internal/student"
)

// Family makes nearest members. The zero value is ready.
type Family struct{}

// Name is "nearest".
func (Family) Name() string { return "nearest" }

// Fits accepts tasks that take nothing but text.
func (Family) Fits(task tandem.Task) error { return text.Fits(task) }

const (
	// MaxClasses bounds the labels of a member.
	MaxClasses = 1 << 14
	// maxRows bounds the memory; older examples are forgotten first.
	maxRows = 1 << 15
	// maxFeatures bounds the index.
	maxFeatures = 1 << 17
	// maxPostings is how many of the latest examples a feature lists; the
	// artefact counts them in a byte.
	maxPostings = 255
	// budget is how many postings one prediction reads, rarest features first.
	budget = 96
	// maxWeight keeps one heavy example from outvoting all others.
	maxWeight = 8
	// neighbours vote.
	neighbours = 10
)

// blocks are the features compared: words and pairs of words. Pieces of words
// have long lists and add little.
var blocks = text.Weights{1, 0.7, 0}

// Member is an inverted index over the remembered examples.
type Member struct {
	classes int
	vocab   *text.Vocabulary
	labels  []uint16 // by example
	weights []float32
	start   []uint32 // postings of feature f are [start[f], start[f+1])
	posts   []posting
	scratch sync.Pool // *scratch
}

// posting is one example that has a feature, with its weight there.
type posting struct {
	example uint16
	value   uint16 // weight times valueScale
}

// Similarities are summed in fixed point: a weight of the input times a value
// of an example. A sum is at most norm·weightScale·valueScale, under 2³².
const (
	valueScale  = 1<<16 - 1
	weightScale = 1 << 15
)

var (
	_ student.Family  = Family{}
	_ student.Viewer  = (*Member)(nil)
	_ student.Updater = (*Member)(nil)
)

func newMember(classes int, vocab *text.Vocabulary, labels []uint16, weights []float32, start []uint32, posts []posting) *Member {
	return &Member{
		classes: classes, vocab: vocab, labels: labels, weights: weights, start: start, posts: posts,
		scratch: sync.Pool{New: func() any { return new(scratch) }},
	}
}

type scratch struct {
	vector text.Vector
	sparse text.Sparse
	sum    []uint32 // by example, in fixed point, 0 between predictions
	seen   []uint16 // examples with a sum
	order  []uint16 // positions in sparse by length of their lists
}

// Classes is the number of labels.
func (m *Member) Classes() int { return m.classes }

// View is the features of the text.
func (m *Member) View() string { return text.Name }

// NewView makes a vector of features.
func (m *Member) NewView() student.View { return text.NewVector() }

// Predict lets the neighbours vote. Novelty is one minus the similarity of
// the nearest; without any neighbour the member has no opinion.
func (m *Member) Predict(in *tandem.Input, out *student.Output) {
	s := m.scratch.Get().(*scratch)
	s.vector.Fill(in)
	m.predict(&s.vector, s, out)
	m.scratch.Put(s)
}

// PredictView is Predict from features already made.
func (m *Member) PredictView(v student.View, out *student.Output) {
	s := m.scratch.Get().(*scratch)
	m.predict(v.(*text.Vector), s, out)
	m.scratch.Put(s)
}

type neighbour struct {
	similarity float32
	example    uint16
}

func (m *Member) predict(v *text.Vector, s *scratch, out *student.Output) {
	m.vocab.Weigh(v, blocks, &s.sparse)
	if len(s.sum) < len(m.labels) {
		s.sum = make([]uint32, len(m.labels))
	}
	m.accumulate(s)
	var best [neighbours]neighbour
	found := 0
	for _, e := range s.seen {
		n := neighbour{float32(s.sum[e]) * (1 / (weightScale * valueScale * norm)), e}
		s.sum[e] = 0
		if found == neighbours && n.similarity <= best[found-1].similarity {
			continue
		}
		if found < neighbours {
			found++
		}
		at := found - 1
		for at > 0 && best[at-1].similarity < n.similarity {
			best[at] = best[at-1]
			at--
		}
		best[at] = n
	}
	m.vote(best[:found], out)
	out.Unseen = s.sparse.Unseen
}

// accumulate adds up the products of the features with the shortest lists
// until the budget is spent: they are the rarest, and say the most.
func (m *Member) accumulate(s *scratch) {
	// A counting sort by the magnitude of the list's length is fine enough.
	var count [10]uint16
	for _, f := range s.sparse.Index {
		count[bits.Len32(m.start[f+1]-m.start[f])+1]++
	}
	for n := 1; n < len(count); n++ {
		count[n] += count[n-1]
	}
	s.order = slices.Grow(s.order[:0], len(s.sparse.Index))[:len(s.sparse.Index)]
	for k, f := range s.sparse.Index {
		n := bits.Len32(m.start[f+1] - m.start[f])
		s.order[count[n]] = uint16(k)
		count[n]++
	}
	left, n := budget, 0
	s.seen = slices.Grow(s.seen[:0], budget+1)[:budget+1]
	for _, k := range s.order {
		f := s.sparse.Index[k]
		from, to := m.start[f], m.start[f+1]
		if left -= int(to - from); left < 0 {
			break
		}
		w := 1 + uint32(s.sparse.Value[k]*weightScale)
		for _, p := range m.posts[from:to] {
			sum := s.sum[p.example]
			s.seen[n] = p.example
			if sum == 0 {
				n++
			}
			s.sum[p.example] = sum + w*uint32(p.value)
		}
	}
	s.seen = s.seen[:n]
}

// norm is the squared length of a weighed text: 1² + 0.7².
const norm = 1.49

func (m *Member) vote(best []neighbour, out *student.Output) {
	if cap(out.Probs) < m.classes {
		out.Probs = make([]float32, m.classes)
	}
	out.Probs = out.Probs[:m.classes]
	clear(out.Probs)
	out.Novelty = 1
	var votes [neighbours]float32
	var total float32
	for i, n := range best {
		square := n.similarity * n.similarity
		votes[i] = square * square * m.weights[n.example]
		total += votes[i]
	}
	if total <= 0 {
		return
	}
	out.Novelty = 1 - min(best[0].similarity, 1)
	for i, n := range best {
		out.Probs[m.labels[n.example]] += votes[i] / total
	}
}

// Train remembers the latest rows.
func (Family) Train(ctx context.Context, data student.Dataset, opt student.Options) (student.Member, error) {
	classes := len(data.Labels)
	if classes == 0 || classes > MaxClasses {
		return nil, fmt.Errorf("train nearest: %d labels are outside 1 to %d", classes, MaxClasses)
	}
	if len(data.Rows) == 0 {
		return nil, errors.New("train nearest: no rows")
	}
	rows := data.Rows[max(len(data.Rows)-maxRows, 0):]
	var v text.Vector
	corpus := text.NewCorpus()
	for i := range rows {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		v.Fill(&rows[i].Input)
		corpus.Add(&v)
	}
	m := empty(classes, corpus.Vocabulary(1, maxFeatures))
	if err := m.remember(ctx, rows); err != nil {
		return nil, err
	}
	if opt.Progress != nil {
		opt.Progress(1)
	}
	return m.member(), nil
}

// Update remembers more rows and forgets the oldest when there are too many.
func (m *Member) Update(rows []student.Example) (student.Member, error) {
	for i := range rows {
		if rows[i].Label < 0 || rows[i].Label >= m.classes {
			return nil, fmt.Errorf("update nearest: row %d has label %d of %d", i, rows[i].Label, m.classes)
		}
		if !(rows[i].Weight > 0) || math.IsInf(float64(rows[i].Weight), 0) {
			return nil, fmt.Errorf("update nearest: row %d has weight %g, want more than 0", i, rows[i].Weight)
		}
	}
	rows = rows[max(len(rows)-maxRows, 0):]
	var v text.Vector
	b := empty(m.classes, m.vocab.Extend(func(yield func(*text.Vector) bool) {
		for i := range rows {
			v.Fill(&rows[i].Input)
			if !yield(&v) {
				return
			}
		}
	}, maxFeatures))
	gone := max(len(m.labels)+len(rows)-maxRows, 0)
	b.labels = append(b.labels, m.labels[gone:]...)
	b.weights = append(b.weights, m.weights[gone:]...)
	for f := range m.vocab.Len() {
		for _, p := range m.posts[m.start[f]:m.start[f+1]] {
			if int(p.example) >= gone {
				p.example -= uint16(gone)
				b.lists[f] = append(b.lists[f], p)
			}
		}
	}
	if err := b.remember(context.Background(), rows); err != nil {
		return nil, err
	}
	return b.member(), nil
}

// builder is an index under construction.
type builder struct {
	classes int
	vocab   *text.Vocabulary
	labels  []uint16
	weights []float32
	lists   [][]posting
}

func empty(classes int, vocab *text.Vocabulary) *builder {
	return &builder{classes: classes, vocab: vocab, lists: make([][]posting, vocab.Len())}
}

// remember appends rows; there must be room for them.
func (b *builder) remember(ctx context.Context, rows []student.Example) error {
	var v text.Vector
	var s text.Sparse
	for i := range rows {
		if i%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		at := uint16(len(b.labels))
		b.labels = append(b.labels, uint16(rows[i].Label))
		b.weights = append(b.weights, min(rows[i].Weight, maxWeight))
		v.Fill(&rows[i].Input)
		b.vocab.Weigh(&v, blocks, &s)
		for k, f := range s.Index {
			l := b.lists[f]
			if len(l) == maxPostings {
				copy(l, l[1:])
				l = l[:maxPostings-1]
			}
			b.lists[f] = append(l, posting{at, quantise(s.Value[k])})
		}
	}
	return nil
}

func (b *builder) member() *Member {
	start := make([]uint32, 1, len(b.lists)+1)
	total := 0
	for _, l := range b.lists {
		total += len(l)
		start = append(start, uint32(total))
	}
	posts := make([]posting, 0, total)
	for _, l := range b.lists {
		posts = append(posts, l...)
	}
	return newMember(b.classes, b.vocab, b.labels, b.weights, start, posts)
}

func quantise(v float32) uint16 {
	return uint16(max(1, math.Round(float64(min(max(v, 0), 1))*valueScale)))
}
