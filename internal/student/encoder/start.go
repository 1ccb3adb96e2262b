package encoder

import (
	"context"
	"fmt"
	"math"
	"strings"
	"unicode"

	"tandem"
	"tandem/internal/kernel"
	"tandem/internal/student"
)

var _ student.Starter = Linear{}

// warmth is how sharply a prototype's probability falls with the distance:
// between that of texts of one label and of different ones in MiniLM.
const warmth = 14

// Start makes a member whose weights are the embeddings of what the task says
// about each label: its name in words, and its description. What all labels
// have in common is taken off.
func (f Linear) Start(ctx context.Context, task tandem.Task) (student.Member, error) {
	classes := len(task.Labels)
	switch {
	case f.embedder == nil:
		return nil, fmt.Errorf("start %s: %w", LinearName, f.absent)
	case classes == 0 || classes > MaxClasses:
		return nil, fmt.Errorf("start %s: %d labels are outside 1 to %d", LinearName, classes, MaxClasses)
	}
	var texts []string
	for _, l := range task.Labels {
		texts = append(texts, spoken(l.Name), described(l))
	}
	dim, width := f.embedder.Dim(), kernel.Pad(classes)
	x := make([]float32, len(texts)*dim)
	if err := f.embed(ctx, texts, x, 1); err != nil {
		return nil, err
	}
	mean := make([]float32, dim)
	for k := range classes {
		p := x[2*k*dim : (2*k+1)*dim]
		kernel.Axpy(1, x[(2*k+1)*dim:(2*k+2)*dim], p)
		unit(p)
		kernel.Axpy(1/float32(classes), p, mean)
	}
	table := make([]float32, (dim+1)*width)
	for k := range classes {
		p := x[2*k*dim : (2*k+1)*dim]
		kernel.Axpy(-1, mean, p)
		unit(p)
		for i, v := range p {
			table[i*width+k] = warmth * v
			table[dim*width+k] -= warmth * v * mean[i]
		}
	}
	return newLinear(f.base, classes, table), nil
}

// unit scales a vector to length 1.
func unit(x []float32) {
	if n := kernel.Dot(x, x); n > 0 {
		s := float32(1 / math.Sqrt(float64(n)))
		for i := range x {
			x[i] *= s
		}
	}
}

// spoken is the name of a label in words: "card_lost" and "cardLost" are
// "card lost".
func spoken(name string) string {
	var b strings.Builder
	before := ' '
	for _, r := range name {
		switch {
		case r == '_' || r == '-' || r == '.' || r == '/' || r == ':':
			r = ' '
		case unicode.IsUpper(r) && unicode.IsLower(before):
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		before = r
	}
	return strings.ToLower(strings.Join(strings.Fields(b.String()), " "))
}

func described(l tandem.Label) string {
	if l.Description == "" {
		return spoken(l.Name)
	}
	return l.Description
}
