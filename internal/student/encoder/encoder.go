// Package encoder holds the families that learn on top of a frozen text
// encoder such as MiniLM: a linear head, a small neural network and the
// nearest neighbours. The encoder reads a text once and all of them share what
// it made of it. Their members name the encoder and never contain it.
package encoder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"tandem"
	"tandem/internal/feature/text"
	"tandem/internal/student"
)

// Embedder turns texts into vectors of length 1. It is safe for concurrent use.
type Embedder interface {
	// Name is the model's, for people.
	Name() string
	// Digest identifies the weights and everything else that changes a vector.
	Digest() string
	// Dim is the length of a vector.
	Dim() int
	// Embed fills dst with the vectors of all texts, one after another.
	Embed(ctx context.Context, texts []string, dst []float32) error
	// EmbedOne fills dst with the vector of one text, on the caller's
	// goroutine and without allocating after warm-up.
	EmbedOne(text string, dst []float32)
}

// The names of the families.
const (
	LinearName  = "encoder"
	NetworkName = "encoder-network"
	NearestName = "encoder-nearest"
)

const (
	// MaxClasses bounds the labels of a member.
	MaxClasses = 1 << 14
	// maxRows bounds what a training reads: a text costs milliseconds.
	maxRows = 1 << 15
	// maxBytes is how much of a text is read; encoders stop earlier.
	maxBytes = 8 << 10
	// maxWeight keeps one heavy row from deciding alone.
	maxWeight = 8
	// maxDim bounds the vectors of an encoder.
	maxDim = 1 << 13
)

// base is what the families of one encoder share.
type base struct {
	embedder Embedder
	absent   error
	cache    *cache
}

// New returns the families on top of e. Without one they keep their place in
// the table, and Fits gives absent, the reason why there is none.
func New(e Embedder, absent error) []student.Family {
	if e == nil && absent == nil {
		absent = errors.New("no encoder is configured")
	}
	b := &base{embedder: e, absent: absent, cache: newCache(cacheRows)}
	return []student.Family{Linear{b}, Network{b}, Nearest{b}}
}

// Fits accepts tasks that take nothing but text, when there is an encoder.
func (b *base) Fits(task tandem.Task) error {
	if b.embedder == nil {
		return b.absent
	}
	return text.Fits(task)
}

// View names the embedding: the name and the weights of the encoder.
func (b *base) View() string {
	if b.embedder == nil {
		return "embedding"
	}
	return "embedding " + b.embedder.Name() + " " + b.embedder.Digest()
}

// Limit bounds the rows that are embedded for one student.
func (b *base) Limit() int { return maxRows }

// Micros estimates the time of one embedding: linear in the length of the
// text, at what a MiniLM of six layers takes for a token on one thread with
// AVX2, and with its multiples for wider ones.
func (b *base) Micros(bytes float64) float64 {
	const perToken, wide, bytesPerToken, special = 250, 384, 4.5, 2
	tokens := min(bytes/bytesPerToken+special, 256)
	size := float64(b.embedder.Dim()) / wide
	return perToken * tokens * size * size
}

// view is the embedding of one input.
type view struct {
	embedder Embedder
	vector   []float32
}

func (b *base) newView() student.View {
	return &view{b.embedder, make([]float32, b.embedder.Dim())}
}

// Fill embeds the text of an input.
func (v *view) Fill(in *tandem.Input) { v.embedder.EmbedOne(textOf(in), v.vector) }

// textOf is what an encoder reads of an input.
func textOf(in *tandem.Input) string {
	s := in.Text()
	return s[:min(len(s), maxBytes)]
}

// chunk is how many texts are embedded between two looks at the context.
const chunk = 256

// Prepare embeds the rows, except those whose vectors are remembered.
func (b *base) Prepare(ctx context.Context, rows []student.Example, opt student.Options) ([]student.View, error) {
	if b.embedder == nil {
		return nil, b.absent
	}
	dim := b.embedder.Dim()
	all := make([]float32, len(rows)*dim)
	views := make([]student.View, len(rows))
	at := make(map[[sha256.Size]byte][]int, len(rows)) // rows of each text still to embed
	var keys [][sha256.Size]byte
	var texts []string
	for i := range rows {
		v := &view{b.embedder, all[i*dim : (i+1)*dim : (i+1)*dim]}
		views[i] = v
		t := textOf(&rows[i].Input)
		key := sha256.Sum256([]byte(t))
		if b.cache.get(key, v.vector) {
			continue
		}
		if at[key] == nil {
			keys, texts = append(keys, key), append(texts, t)
		}
		at[key] = append(at[key], i)
	}
	dst := make([]float32, min(chunk*max(opt.Threads, 1), max(len(texts), 1))*dim)
	for from := 0; from < len(texts); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		to := min(from+len(dst)/dim, len(texts))
		if err := b.embed(ctx, texts[from:to], dst, opt.Threads); err != nil {
			return nil, err
		}
		for k, key := range keys[from:to] {
			x := dst[k*dim : (k+1)*dim]
			for _, i := range at[key] {
				copy(views[i].(*view).vector, x)
			}
			b.cache.put(key, x)
		}
		from = to
		if opt.Progress != nil {
			opt.Progress(float64(to) / float64(len(texts)))
		}
	}
	return views, nil
}

// embed shares the texts out among threads.
func (b *base) embed(ctx context.Context, texts []string, dst []float32, threads int) error {
	dim := b.embedder.Dim()
	threads = min(max(threads, 1), len(texts))
	errs := make([]error, threads)
	var wg sync.WaitGroup
	for t := range threads {
		from, to := t*len(texts)/threads, (t+1)*len(texts)/threads
		wg.Go(func() { errs[t] = b.embedder.Embed(ctx, texts[from:to], dst[from*dim:to*dim]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("embed texts with %s: %w", b.embedder.Name(), err)
	}
	return nil
}

// set is a data set ready for a head: vectors, labels and weights, the newest
// maxRows of them.
type set struct {
	dim, classes int
	x            [][]float32
	label        []int
	weight       []float32
	group        []string
	soft         [][]float32 // by row: the teacher's probabilities, nil for none
}

// learnable checks the data of a training and takes what it reads.
func (b *base) learnable(ctx context.Context, what string, data student.Dataset, opt student.Options) (*set, error) {
	classes := len(data.Labels)
	switch {
	case b.embedder == nil:
		return nil, fmt.Errorf("train %s: %w", what, b.absent)
	case classes == 0 || classes > MaxClasses:
		return nil, fmt.Errorf("train %s: %d labels are outside 1 to %d", what, classes, MaxClasses)
	case len(data.Rows) == 0:
		return nil, fmt.Errorf("train %s: no rows", what)
	case data.Views != nil && len(data.Views) != len(data.Rows):
		return nil, fmt.Errorf("train %s: %d views of %d rows", what, len(data.Views), len(data.Rows))
	}
	skip := max(len(data.Rows)-maxRows, 0)
	rows, views := data.Rows[skip:], data.Views
	if views == nil {
		var err error
		if views, err = b.Prepare(ctx, rows, student.Options{Threads: opt.Threads}); err != nil {
			return nil, err
		}
	} else {
		views = views[skip:]
	}
	s := &set{dim: b.embedder.Dim(), classes: classes}
	for i := range rows {
		v, ok := views[i].(*view)
		if !ok || len(v.vector) != s.dim {
			return nil, fmt.Errorf("train %s: row %d has the view of another family", what, i)
		}
		s.x = append(s.x, v.vector)
		s.label = append(s.label, rows[i].Label)
		s.weight = append(s.weight, min(rows[i].Weight, maxWeight))
		s.soft, s.group = append(s.soft, rows[i].Soft), append(s.group, rows[i].Group)
	}
	return s, nil
}
