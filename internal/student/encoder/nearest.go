package encoder

import (
	"context"
	"fmt"
	"math"
	"sync"

	"tandem"
	"tandem/internal/kernel"
	"tandem/internal/student"
)

// Nearest is the family that remembers the embeddings of labelled examples
// and lets the most similar ones vote. The search is exact: it compares with
// every example, so its time grows with their number, which is why only the
// latest are kept. At 16,384 examples of 384 numbers a member takes 25 MB of
// memory, 6 MB in an artefact, and about as long to ask as a small encoder
// takes for one short text.
type Nearest struct{ *base }

// Name is "encoder-nearest".
func (Nearest) Name() string { return NearestName }

const (
	// maxExamples bounds the memory and the time; the oldest are forgotten.
	maxExamples = 1 << 14
	// neighbours vote.
	neighbours = 16
	// sharpness is how fast a vote falls with the distance.
	sharpness = 12
)

// nearestMember is a list of vectors, in fixed point with a scale for each so
// that an artefact is small, and as numbers for the search.
type nearestMember struct {
	*base
	classes int
	codes   []int8    // example after example
	scales  []float32 // by example: the value of 1 in its codes
	labels  []uint16
	weights []float32
	vectors []float32 // codes times scales
	scratch sync.Pool // *view
}

var (
	_ student.Viewer  = (*nearestMember)(nil)
	_ student.Updater = (*nearestMember)(nil)
)

// empty makes a member without examples.
func (b *base) empty(classes, room int) *nearestMember {
	m := &nearestMember{base: b, classes: classes}
	m.codes, m.vectors = make([]int8, 0, room*b.embedder.Dim()), make([]float32, 0, room*b.embedder.Dim())
	m.scratch.New = func() any { return m.NewView() }
	return m
}

// add remembers one example.
func (m *nearestMember) add(x []float32, label uint16, weight float32) {
	var top float32
	for _, v := range x {
		top = max(top, v, -v)
	}
	scale := max(top/127, 1e-9)
	for _, v := range x {
		m.codes = append(m.codes, int8(math.RoundToEven(float64(v/scale))))
	}
	m.expand(scale, label, weight)
}

// expand notes the example whose codes are there already.
func (m *nearestMember) expand(scale float32, label uint16, weight float32) {
	for _, c := range m.codes[len(m.vectors):] {
		m.vectors = append(m.vectors, float32(c)*scale)
	}
	m.scales, m.labels, m.weights = append(m.scales, scale), append(m.labels, label), append(m.weights, weight)
}

// Classes is the number of labels.
func (m *nearestMember) Classes() int { return m.classes }

// NewView makes an empty embedding.
func (m *nearestMember) NewView() student.View { return m.newView() }

// Predict embeds the input and lets its neighbours vote. Novelty is half of
// one minus the cosine to the nearest.
func (m *nearestMember) Predict(in *tandem.Input, out *student.Output) {
	v := m.scratch.Get().(*view)
	v.Fill(in)
	m.predict(v.vector, out)
	m.scratch.Put(v)
}

// PredictView is Predict for an input embedded already.
func (m *nearestMember) PredictView(v student.View, out *student.Output) {
	m.predict(v.(*view).vector, out)
}

type neighbour struct {
	cosine  float32
	example int
}

func (m *nearestMember) predict(x []float32, out *student.Output) {
	var best [neighbours]neighbour
	found, dim := 0, len(x)
	for e := range m.labels {
		n := neighbour{kernel.Dot(x, m.vectors[e*dim:(e+1)*dim]), e}
		if found == neighbours && n.cosine <= best[found-1].cosine {
			continue
		}
		if found < neighbours {
			found++
		}
		at := found - 1
		for at > 0 && best[at-1].cosine < n.cosine {
			best[at] = best[at-1]
			at--
		}
		best[at] = n
	}
	m.vote(best[:found], out)
}

func (m *nearestMember) vote(best []neighbour, out *student.Output) {
	if cap(out.Probs) < m.classes {
		out.Probs = make([]float32, m.classes)
	}
	out.Probs = out.Probs[:m.classes]
	clear(out.Probs)
	out.Novelty, out.Unseen = 1, 0
	if len(best) == 0 {
		return
	}
	out.Novelty = min(max((1-best[0].cosine)/2, 0), 1)
	var total float32
	for _, n := range best {
		v := kernel.Exp(sharpness*(n.cosine-best[0].cosine)) * m.weights[n.example]
		out.Probs[m.labels[n.example]] += v
		total += v
	}
	for k := range out.Probs {
		out.Probs[k] /= total
	}
}

// Train remembers the latest rows.
func (f Nearest) Train(ctx context.Context, data student.Dataset, opt student.Options) (student.Member, error) {
	if n := len(data.Rows) - maxExamples; n > 0 {
		data.Rows = data.Rows[n:]
		if data.Views != nil {
			data.Views = data.Views[n:]
		}
	}
	s, err := f.learnable(ctx, NearestName, data, opt)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := f.empty(s.classes, len(s.x))
	for i, x := range s.x {
		m.add(x, uint16(s.label[i]), s.weight[i])
	}
	if opt.Progress != nil {
		opt.Progress(1)
	}
	return m, nil
}

// Update remembers more rows and forgets the oldest when there are too many.
func (m *nearestMember) Update(rows []student.Example) (student.Member, error) {
	for i := range rows {
		if rows[i].Label < 0 || rows[i].Label >= m.classes {
			return nil, fmt.Errorf("update %s: row %d has label %d of %d", NearestName, i, rows[i].Label, m.classes)
		}
		if !(rows[i].Weight > 0) || math.IsInf(float64(rows[i].Weight), 0) {
			return nil, fmt.Errorf("update %s: row %d has weight %g, want more than 0", NearestName, i, rows[i].Weight)
		}
	}
	rows = rows[max(len(rows)-maxExamples, 0):]
	views, err := m.Prepare(context.Background(), rows, student.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	dim := m.embedder.Dim()
	gone := max(len(m.labels)+len(rows)-maxExamples, 0)
	next := m.empty(m.classes, len(m.labels)-gone+len(rows))
	for e := gone; e < len(m.labels); e++ {
		next.codes = append(next.codes, m.codes[e*dim:(e+1)*dim]...)
		next.expand(m.scales[e], m.labels[e], m.weights[e])
	}
	for i := range rows {
		next.add(views[i].(*view).vector, uint16(rows[i].Label), min(rows[i].Weight, maxWeight))
	}
	return next, nil
}
