// Package encoder turns texts into vectors with BERT-style encoders read
// straight from the files of their authors: config.json, a WordPiece
// vocabulary and model.safetensors, with the pooling that sentence-transformers
// keeps beside them.
package encoder

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"tandem/internal/feature/wordpiece"
)

// Options of an encoder. The zero value reads the model as its files say.
type Options struct {
	// Name is what Name returns; "" stands for the folder's own name.
	Name string
	// Threads is how many processors Embed may use; 0 is 1.
	Threads int
	// MaxTokens cuts longer texts, the tokens around them included; 0 is what
	// the files say. It cannot exceed what the model can read.
	MaxTokens int
	// Prefix stands before every text, as some models want ("query: " for the
	// E5 family). It ends with white space or punctuation.
	Prefix string
	// Int8 keeps the layers' weights in eight-bit integers: a quarter of the
	// memory and less time for slightly different vectors.
	Int8 bool
}

// Encoder turns texts into vectors. It is immutable and safe for concurrent
// use.
type Encoder struct {
	name, digest string
	config       modelConfig
	weights      *weights
	tokens       *wordpiece.Tokenizer
	prefix       []int32
	maxTokens    int
	threads      int
	tail         tail
	idle         chan *scratch
}

// Open reads a model's folder. What the files ask for that is not known is
// refused, never ignored.
func Open(dir string, opt Options) (*Encoder, error) {
	e, err := open(dir, opt)
	if err != nil {
		return nil, fmt.Errorf("open encoder %s: %w", dir, err)
	}
	return e, nil
}

func open(dir string, opt Options) (*Encoder, error) {
	f := &folder{dir: dir}
	e := &Encoder{
		name:    cmp.Or(opt.Name, filepath.Base(dir)),
		threads: max(opt.Threads, 1),
		idle:    make(chan *scratch, 2*runtime.GOMAXPROCS(0)),
	}
	var err error
	if e.config, err = f.config(); err != nil {
		return nil, err
	}
	if e.tail, err = f.modules(); err != nil {
		return nil, err
	}
	if e.tokens, e.maxTokens, err = f.tokenizer(e.config.Positions); err != nil {
		return nil, err
	}
	if e.tokens.Size() > e.config.Vocab {
		return nil, fmt.Errorf("the vocabulary has %d tokens, but the weights have %d", e.tokens.Size(), e.config.Vocab)
	}
	around := len(e.tokens.Encode(nil, "", 0))
	if opt.MaxTokens != 0 {
		if opt.MaxTokens < around+1 || opt.MaxTokens > e.config.Positions {
			return nil, fmt.Errorf("at most %d tokens were asked for; the model can read %d to %d", opt.MaxTokens, around+1, e.config.Positions)
		}
		e.maxTokens = opt.MaxTokens
	}
	if around == 0 || around >= e.maxTokens {
		return nil, fmt.Errorf("texts may have %d tokens, and %d of them stand around every text", e.maxTokens, around)
	}
	if opt.Prefix != "" {
		if r, _ := utf8.DecodeLastRuneInString(opt.Prefix); !unicode.IsSpace(r) && !unicode.IsPunct(r) {
			return nil, fmt.Errorf("prefix %q must end with white space or punctuation", opt.Prefix)
		}
		if e.prefix = e.tokens.Inner(opt.Prefix); len(e.prefix)+around >= e.maxTokens {
			return nil, fmt.Errorf("prefix %q has %d tokens and leaves no room for texts", opt.Prefix, len(e.prefix))
		}
	}
	if e.weights, err = f.weights(e.config, opt.Int8); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("max_tokens=%d prefix=%q int8=%t", e.maxTokens, opt.Prefix, opt.Int8)
	e.digest, err = f.digest(settings)
	return e, err
}

// digest is the SHA-256 over the files that were read and the settings.
func (f *folder) digest(settings string) (string, error) {
	all := sha256.New()
	slices.Sort(f.read)
	for _, name := range f.read {
		one := sha256.New()
		if err := f.hash(one, name); err != nil {
			return "", err
		}
		fmt.Fprintf(all, "%s %x\n", name, one.Sum(nil))
	}
	fmt.Fprintln(all, settings)
	return hex.EncodeToString(all.Sum(nil)), nil
}

func (f *folder) hash(h hash.Hash, name string) error {
	file, err := os.Open(filepath.Join(f.dir, filepath.FromSlash(name)))
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer file.Close()
	if _, err := io.Copy(h, file); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// Dim is the length of a vector.
func (e *Encoder) Dim() int { return e.config.Hidden }

// Name is what the model is called.
func (e *Encoder) Name() string { return e.name }

// Digest is the SHA-256, in hexadecimal, over the model's files and the
// options that change vectors. Encoders of one digest give the same vectors.
func (e *Encoder) Digest() string { return e.digest }

// MaxTokens is how many tokens of a text are read, those around it included.
func (e *Encoder) MaxTokens() int { return e.maxTokens }

// Tokens is how many tokens are read of a text.
func (e *Encoder) Tokens(text string) int {
	s := e.take()
	defer e.give(s)
	e.add(s, text)
	return len(s.ids)
}

// EmbedOne writes the vector of one text to dst, which has Dim numbers. It
// runs on the caller's goroutine and allocates nothing after warm-up.
func (e *Encoder) EmbedOne(text string, dst []float32) {
	if len(dst) != e.Dim() {
		panic("encoder: the vector's length is not the encoder's dimension")
	}
	s := e.take()
	e.add(s, text)
	e.forward(s, 1)
	e.pool(dst, s, 0)
	e.give(s)
}

// batchRows is how many tokens are computed at once: enough that the weights
// are fetched rarely, few enough that the rows stay in the cache. A text is
// never split, so the longest may exceed it.
const batchRows = 192

// Embed writes the vectors of texts to dst, one behind the other. Texts of
// like length are computed together, on as many processors as the options
// allow. It returns ctx.Err() soon after ctx ends; dst is then incomplete.
func (e *Encoder) Embed(ctx context.Context, texts []string, dst []float32) error {
	if len(dst) != len(texts)*e.Dim() {
		return fmt.Errorf("embed %d texts: the result has room for %d numbers, not for %d", len(texts), len(dst), len(texts)*e.Dim())
	}
	batches := e.buckets(texts)
	workers := min(e.threads, len(batches))
	if workers == 0 {
		return ctx.Err()
	}
	inner := max(e.threads/workers, 1)
	if workers == 1 {
		return e.work(ctx, texts, dst, batches, &atomic.Int64{}, inner)
	}
	var next atomic.Int64
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { errs[w] = e.work(ctx, texts, dst, batches, &next, inner) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// work computes batches until none is left.
func (e *Encoder) work(ctx context.Context, texts []string, dst []float32, batches [][]int, next *atomic.Int64, threads int) error {
	s := e.take()
	defer e.give(s)
	dim := e.Dim()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := int(next.Add(1)) - 1
		if b >= len(batches) {
			return nil
		}
		s.reset()
		for _, i := range batches[b] {
			e.add(s, texts[i])
		}
		e.forward(s, threads)
		for n, i := range batches[b] {
			e.pool(dst[i*dim:(i+1)*dim], s, n)
		}
	}
}

// buckets groups texts of like length, the longest first, so that no worker
// is left with a long one at the end.
func (e *Encoder) buckets(texts []string) [][]int {
	s := e.take()
	defer e.give(s)
	lengths, order := make([]int, len(texts)), make([]int, len(texts))
	for i, text := range texts {
		s.reset()
		e.add(s, text)
		lengths[i], order[i] = len(s.ids), i
	}
	slices.SortStableFunc(order, func(a, b int) int { return lengths[b] - lengths[a] })
	total := 0
	for _, n := range lengths {
		total += n
	}
	// Where there are few texts, no worker takes all of them.
	limit := min(batchRows, (total+e.threads-1)/e.threads)
	var batches [][]int
	rows := 0
	for from, i := range order {
		if n := len(batches); n > 0 && rows+lengths[i] <= limit {
			batches[n-1] = order[from-len(batches[n-1]) : from+1]
			rows += lengths[i]
			continue
		}
		batches = append(batches, order[from:from+1])
		rows = lengths[i]
	}
	return batches
}

// add appends a text to the sequences of a scratch.
func (e *Encoder) add(s *scratch, text string) {
	s.ids = e.tokens.EncodeAfter(s.ids, e.prefix, text, e.maxTokens)
	s.ends = append(s.ends, len(s.ids))
}
