// Package linear is the family of multinomial logistic regression on hashed
// pieces of text: fast to train, a few microseconds to ask, and hard to beat
// on short texts without a pretrained model.
package linear

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"tandem"
	"tandem/internal/feature/text"
	"tandem/internal/kernel"
	"tandem/internal/student"
)

// Family makes linear members. The zero value is ready.
type Family struct{}

// Name is "linear".
func (Family) Name() string { return "linear" }

// Fits accepts tasks that take nothing but text.
func (Family) Fits(task tandem.Task) error { return text.Fits(task) }

// MaxClasses bounds the labels of a member.
const MaxClasses = 1 << 14

// Member is a trained table of weights: a row for each known feature and a
// last one for the bias.
type Member struct {
	classes int
	width   int // classes padded for the kernel
	blocks  text.Weights
	vocab   *text.Vocabulary
	table   []float32
	scratch sync.Pool // *text.Sparse
}

var (
	_ student.Family  = Family{}
	_ student.Viewer  = (*Member)(nil)
	_ student.Updater = (*Member)(nil)
)

func newMember(classes int, blocks text.Weights, vocab *text.Vocabulary, table []float32) *Member {
	return &Member{
		classes: classes, width: kernel.Pad(classes), blocks: blocks, vocab: vocab, table: table,
		scratch: sync.Pool{New: func() any { return new(scratch) }},
	}
}

type scratch struct {
	vector text.Vector
	sparse text.Sparse
	logits []float32
}

// Classes is the number of labels.
func (m *Member) Classes() int { return m.classes }

// View is the features of the text.
func (m *Member) View() string { return text.Name }

// NewView makes a vector of features.
func (m *Member) NewView() student.View { return text.NewVector() }

// Predict fills the probabilities and the share of unknown features.
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

func (m *Member) predict(v *text.Vector, s *scratch, out *student.Output) {
	m.vocab.Weigh(v, m.blocks, &s.sparse)
	s.logits = append(s.logits[:0], m.table[m.vocab.Len()*m.width:]...)
	kernel.Gather(s.logits, m.table, s.sparse.Index, s.sparse.Value)
	out.Probs = append(out.Probs[:0], s.logits[:m.classes]...)
	kernel.Softmax(out.Probs)
	out.Novelty, out.Unseen = 0, s.sparse.Unseen
}

// Train fits the weights. Several models with different noise are averaged
// into one table, which costs nothing at prediction; they are what threads
// share out, so the result does not depend on their number.
func (Family) Train(ctx context.Context, data student.Dataset, opt student.Options) (student.Member, error) {
	classes := len(data.Labels)
	if classes == 0 || classes > MaxClasses {
		return nil, fmt.Errorf("train linear: %d labels are outside 1 to %d", classes, MaxClasses)
	}
	if len(data.Rows) == 0 {
		return nil, errors.New("train linear: no rows")
	}
	set := settingsFor(len(data.Rows), opt)
	vocab, m, err := build(ctx, data.Rows, set)
	if err != nil {
		return nil, err
	}
	table, err := average(ctx, m, data.Rows, classes, vocab.Len(), set, opt)
	if err != nil {
		return nil, err
	}
	return newMember(classes, set.blocks, vocab, table), nil
}

// Update passes over the rows a few times without noise, starting from the
// current weights, and gives features never seen before a row of their own.
// It costs a copy of the table and about ten microseconds an example.
func (m *Member) Update(rows []student.Example) (student.Member, error) {
	for i := range rows {
		if rows[i].Label < 0 || rows[i].Label >= m.classes {
			return nil, fmt.Errorf("update linear: row %d has label %d of %d", i, rows[i].Label, m.classes)
		}
		if !(rows[i].Weight > 0) || math.IsInf(float64(rows[i].Weight), 0) {
			return nil, fmt.Errorf("update linear: row %d has weight %g, want more than 0", i, rows[i].Weight)
		}
	}
	var v text.Vector
	vocab := m.vocab.Extend(func(yield func(*text.Vector) bool) {
		for i := range rows {
			v.Fill(&rows[i].Input)
			if !yield(&v) {
				return
			}
		}
	}, maxFeatures)
	table := make([]float32, (vocab.Len()+1)*m.width)
	copy(table, m.table[:m.vocab.Len()*m.width])
	copy(table[vocab.Len()*m.width:], m.table[m.vocab.Len()*m.width:])
	x := &matrix{start: []int{0}}
	for i := range rows {
		v.Fill(&rows[i].Input)
		x.add(vocab, &v, m.blocks)
	}
	d := descent{matrix: x, rows: rows, classes: m.classes, bias: uint32(vocab.Len()), table: table}
	for pass := range updatePasses {
		for i := range rows {
			d.step(i, updateRate/float32(pass+1))
		}
	}
	return newMember(m.classes, m.blocks, vocab, table), nil
}
