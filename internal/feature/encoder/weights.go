package encoder

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"tandem/internal/kernel"
)

// matrix multiplies rows from the right: packed weights of 32-bit numbers, or
// of eight-bit ones.
type matrix struct {
	full  *kernel.Packed
	small *kernel.PackedInt8
	bias  []float32
}

// layer is one block of the transformer.
type layer struct {
	qkv, out, up, down matrix
	norm1, norm2       affine
}

// affine scales and shifts normalised rows.
type affine struct{ gamma, beta []float32 }

// weights are all numbers of a model.
type weights struct {
	words     []float32 // vocabulary × hidden
	positions []float32 // positions × hidden, the first token type added
	norm      affine
	layers    []layer
}

// loader reads tensors and remembers the first error.
type loader struct {
	file   *tensorFile
	prefix string
	small  bool // pack into eight-bit integers
	err    error
}

func (l *loader) tensor(name string, shape ...int) []float32 {
	if l.err != nil {
		return nil
	}
	t, err := l.file.read(l.prefix+name, shape...)
	l.err = err
	return t
}

// affine reads a layer norm, which older files name otherwise.
func (l *loader) affine(name string, n int) affine {
	gamma, beta := name+".weight", name+".bias"
	if _, ok := l.file.tensors[l.prefix+gamma]; !ok {
		if _, ok := l.file.tensors[l.prefix+name+".gamma"]; ok {
			gamma, beta = name+".gamma", name+".beta"
		}
	}
	return affine{l.tensor(gamma, n), l.tensor(beta, n)}
}

// linear reads linear layers with one input and lays their outputs side by
// side. The first one's are multiplied by scale.
func (l *loader) linear(scale float32, in, out int, names ...string) matrix {
	var w, bias []float32
	for i, name := range names {
		part, shift := l.tensor(name+".weight", out, in), l.tensor(name+".bias", out)
		if i == 0 && scale != 1 {
			for j := range part {
				part[j] *= scale
			}
			for j := range shift {
				shift[j] *= scale
			}
		}
		if len(names) == 1 {
			w, bias = part, shift
		} else {
			w, bias = append(w, part...), append(bias, shift...)
		}
	}
	if l.err != nil {
		return matrix{}
	}
	if l.small {
		return matrix{small: kernel.PackInt8T(w, out*len(names), in), bias: bias}
	}
	return matrix{full: kernel.PackT(w, out*len(names), in), bias: bias}
}

// load reads the weights that the configuration describes.
func (l *loader) load(c modelConfig) (*weights, error) {
	h := c.Hidden
	w := &weights{
		words:     l.tensor("embeddings.word_embeddings.weight", c.Vocab, h),
		positions: l.tensor("embeddings.position_embeddings.weight", c.Positions, h),
		norm:      l.affine("embeddings.LayerNorm", h),
	}
	types := l.tensor("embeddings.token_type_embeddings.weight", c.TokenTypes, h)
	if l.err != nil {
		return nil, l.err
	}
	for i := range w.positions {
		w.positions[i] += types[i%h]
	}
	scale := float32(1 / math.Sqrt(float64(h/c.Heads)))
	for i := range c.Layers {
		at := fmt.Sprintf("encoder.layer.%d.", i)
		w.layers = append(w.layers, layer{
			qkv:   l.linear(scale, h, h, at+"attention.self.query", at+"attention.self.key", at+"attention.self.value"),
			out:   l.linear(1, h, h, at+"attention.output.dense"),
			norm1: l.affine(at+"attention.output.LayerNorm", h),
			up:    l.linear(1, h, c.Inner, at+"intermediate.dense"),
			down:  l.linear(1, c.Inner, h, at+"output.dense"),
			norm2: l.affine(at+"output.LayerNorm", h),
		})
		if l.err != nil {
			return nil, l.err
		}
	}
	return w, nil
}

// weightsFile is the only format of weights that is read.
const weightsFile = "model.safetensors"

// weights reads model.safetensors.
func (f *folder) weights(c modelConfig, small bool) (w *weights, err error) {
	file, err := os.Open(filepath.Join(f.dir, weightsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s; other formats are converted first, see docs/models.md", weightsFile)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", weightsFile, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("measure %s: %w", weightsFile, err)
	}
	tensors, err := openTensors(file, info.Size())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", weightsFile, err)
	}
	l := &loader{file: tensors, small: small}
	if l.prefix, err = tensors.prefix(); err != nil {
		return nil, fmt.Errorf("read %s: %w", weightsFile, err)
	}
	if w, err = l.load(c); err != nil {
		return nil, fmt.Errorf("read %s: %w", weightsFile, err)
	}
	f.read = append(f.read, weightsFile)
	return w, nil
}
