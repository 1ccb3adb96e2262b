package encoder

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tandem"
)

// BatchOptions bound a batcher. The zero value is made of the defaults.
type BatchOptions struct {
	Workers int // batches computed at once; 0 is 1
	Queue   int // texts that may wait; 0 is 256. More are refused
	// Rows is how many tokens a batch may have, at most 192; 0 is 96. A
	// longer text is a batch of its own.
	Rows int
	// Wait is how long a text waits for company while nothing else is queued.
	// 0 never waits: under load batches form by themselves, of what arrived
	// while the last one was computed.
	Wait time.Duration
}

// Batcher computes the texts of concurrent requests together, so that the
// weights are fetched from memory once for several of them. Nothing is padded,
// so texts of any length share a batch. On a busy machine it serves more
// texts than EmbedOne, the more the shorter they are; an idle one gains
// nothing.
type Batcher struct {
	e     *Encoder
	opt   BatchOptions
	queue chan *call
	spare chan *call
	ended chan struct{} // closed when Run has returned
}

// call is one text on its way.
type call struct {
	ctx  context.Context // its caller's, so that a batch leaves out what nobody waits for
	ids  []int32
	vec  []float32
	done chan struct{} // receives one value when vec is filled
}

// NewBatcher makes a batcher; Run must be running for it to work.
func NewBatcher(e *Encoder, opt BatchOptions) *Batcher {
	if opt.Workers <= 0 {
		opt.Workers = 1
	}
	if opt.Queue <= 0 {
		opt.Queue = 256
	}
	if opt.Rows <= 0 || opt.Rows > batchRows {
		opt.Rows = batchRows / 2
	}
	return &Batcher{
		e: e, opt: opt,
		queue: make(chan *call, opt.Queue), spare: make(chan *call, opt.Queue), ended: make(chan struct{}),
	}
}

// Run computes until ctx ends. It is called once.
func (b *Batcher) Run(ctx context.Context) error {
	defer close(b.ended)
	var wg sync.WaitGroup
	for range b.opt.Workers {
		wg.Go(func() { b.work(ctx) })
	}
	wg.Wait()
	return nil
}

// Embed writes the vector of a text to dst, which has Dim numbers. It waits
// until the text was computed or ctx ends. A full queue and a batcher that has
// ended are refused with tandem.Overloaded. It allocates nothing after
// warm-up.
func (b *Batcher) Embed(ctx context.Context, text string, dst []float32) error {
	if len(dst) != b.e.Dim() {
		return fmt.Errorf("embed a text: the result has room for %d numbers, not for %d", len(dst), b.e.Dim())
	}
	c := b.take()
	c.ctx = ctx
	c.ids = b.e.tokens.EncodeAfter(c.ids[:0], b.e.prefix, text, b.e.maxTokens)
	select {
	case b.queue <- c:
	default:
		b.give(c)
		return tandem.Errorf(tandem.Overloaded, "too many texts wait for the encoder; try again later")
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return ctx.Err() // a worker may still have c: it is not used again
	case <-b.ended:
		select {
		case <-c.done:
		default:
			return tandem.Errorf(tandem.Overloaded, "the encoder is stopping")
		}
	}
	copy(dst, c.vec)
	b.give(c)
	return nil
}

func (b *Batcher) take() *call {
	select {
	case c := <-b.spare:
		return c
	default:
		return &call{vec: make([]float32, b.e.Dim()), done: make(chan struct{}, 1)}
	}
}

func (b *Batcher) give(c *call) {
	c.ctx = nil
	select {
	case b.spare <- c:
	default:
	}
}

// work computes batches until ctx ends.
func (b *Batcher) work(ctx context.Context) {
	s := b.e.take()
	defer b.e.give(s)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var batch []*call
	var next *call // taken, but did not fit
	for {
		if next == nil {
			select {
			case <-ctx.Done():
				return
			case next = <-b.queue:
			}
		}
		batch, next = b.gather(ctx, timer, s, batch[:0], next)
		if len(batch) == 0 {
			continue // nobody waits any more
		}
		b.e.forward(s, 1)
		for i, c := range batch {
			b.e.pool(c.vec, s, i)
			c.done <- struct{}{}
		}
	}
}

// gather fills a batch, first with one call, then with what waits or arrives
// in time. It returns the call that did not fit.
func (b *Batcher) gather(ctx context.Context, timer *time.Timer, s *scratch, batch []*call, first *call) (full []*call, left *call) {
	s.reset()
	timer.Reset(b.opt.Wait)
	for c := first; ; {
		if c.ctx.Err() == nil {
			if len(batch) > 0 && len(s.ids)+len(c.ids) > b.opt.Rows {
				return batch, c
			}
			s.ids = append(s.ids, c.ids...)
			s.ends = append(s.ends, len(s.ids))
			batch = append(batch, c)
		}
		select {
		case c = <-b.queue:
			continue
		default:
		}
		if b.opt.Wait <= 0 || len(batch) == 0 {
			return batch, nil
		}
		select {
		case c = <-b.queue:
		case <-timer.C:
			return batch, nil
		case <-ctx.Done():
			return batch, nil
		}
	}
}
