package trace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem"
	"tandem/internal/store"
)

const (
	firstPause   = 50 * time.Millisecond
	isolateAfter = 3 // failed tries after which a batch is suspected of holding something unstorable
)

// Run stores what is queued, a transaction after the other, until ctx ends: at
// once when a Record waits, after Options.Linger otherwise. Then it refuses
// new traces and stores the rest within Options.Drain. The error says how much
// was lost.
func (l *Log) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		l.gather(ctx, timer)
		c := l.take()
		if c == nil {
			select {
			case <-l.wake:
			case <-ctx.Done():
			}
			continue
		}
		if !l.store(ctx, c) {
			return l.drain(ctx, c)
		}
	}
	return l.drain(ctx, l.take())
}

// gather lets traces come together while nobody waits for them.
func (l *Log) gather(ctx context.Context, timer *time.Timer) {
	if l.opt.Linger < 0 {
		return
	}
	timer.Reset(l.opt.Linger)
	for {
		l.mu.Lock()
		linger := len(l.chunks) > 0 && !l.pressing()
		l.mu.Unlock()
		if !linger {
			return
		}
		select {
		case <-l.hurry:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// drain closes the log and stores c and what else is queued.
func (l *Log) drain(ctx context.Context, c *chunk) error {
	l.mu.Lock()
	l.closed = true
	l.makeRoom()
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.opt.Drain)
	defer cancel()
	traces, labels := 0, 0
	for ; c != nil; c = l.take() {
		if ctx.Err() == nil && l.store(ctx, c) {
			continue
		}
		traces += len(c.batch.Traces)
		labels += len(c.batch.Labels)
		l.dropped.Add(int64(len(c.batch.Traces)))
		if c.fate != nil {
			c.fate.lost = true
			close(c.fate.done)
		}
	}
	if traces+labels == 0 {
		return nil
	}
	err := fmt.Errorf("%d traces and %d labels could not be stored within %s of the shutdown", traces, labels, l.opt.Drain)
	if f := l.failing.Load(); f != nil {
		err = fmt.Errorf("%w: %w", err, f.err)
	}
	return err
}

// take removes the oldest chunk, full or not, and makes it fit for storing.
func (l *Log) take() *chunk {
	l.mu.Lock()
	if len(l.chunks) == 0 {
		l.mu.Unlock()
		return nil
	}
	c := l.chunks[0]
	n := copy(l.chunks, l.chunks[1:])
	l.chunks[n] = nil
	l.chunks = l.chunks[:n]
	l.traces -= len(c.batch.Traces)
	l.bytes -= c.bytes
	if len(c.batch.Labels) > 0 {
		l.labels -= len(c.batch.Labels)
		l.makeRoom()
	}
	l.mu.Unlock()

	for i := range c.batch.Traces {
		t := &c.batch.Traces[i]
		switch {
		case l.opt.StoreInputs != nil && !l.opt.StoreInputs(t.Task):
			t.Input = tandem.Input{}
		case l.opt.Redact != nil:
			l.opt.Redact(t)
		}
	}
	return c
}

// makeRoom wakes the labels that wait. The caller holds l.mu.
func (l *Log) makeRoom() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

// store tries until the chunk is durable, and gives up only when ctx ends.
// The chunk is the writer's memory of what must not be lost; meanwhile the
// queue behind it fills up to its bound.
func (l *Log) store(ctx context.Context, c *chunk) bool {
	pause := firstPause
	for try := 1; ; try++ {
		err := l.w.Write(ctx, c.batch)
		if err == nil {
			l.settle(c, c.batch)
			return true
		}
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return false
		}
		l.failed(err)
		if (permanent(err) || try >= isolateAfter) && !outside(err) && l.isolate(ctx, c) {
			return true
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		pause = min(2*pause, l.opt.MaxPause)
	}
}

// failed counts a failure and remembers the trouble.
func (l *Log) failed(err error) {
	l.failures.Add(1)
	f := &failure{err: err, dropped: l.dropped.Load()}
	if now := l.failing.Load(); now != nil {
		f.dropped = now.dropped
	}
	l.failing.Store(f)
}

// permanent reports whether the batch itself is at fault.
func permanent(err error) bool {
	code := tandem.CodeOf(err)
	return code == tandem.InvalidRequest || code == tandem.InputTooLarge
}

// outside reports whether certainly something else than the batch is at fault.
func outside(err error) bool {
	code := tandem.CodeOf(err)
	return code == tandem.StorageFull || code == tandem.Overloaded
}

// isolate stores the items of a failing batch one by one, so that a single
// unstorable one does not stop the log for ever. It reports false when it
// looks as if the store, not an item, were at fault; then nothing is given up.
func (l *Log) isolate(ctx context.Context, c *chunk) bool {
	var stored store.Batch
	refused := map[string]bool{}
	guilty := 0
	try := func(b store.Batch) (ok, goOn bool) {
		err := l.w.Write(ctx, b)
		switch {
		case err == nil:
			return true, true
		case outside(err), ctx.Err() != nil:
			return false, false
		case permanent(err):
			guilty++
		}
		return false, true
	}
	for i := range c.batch.Traces {
		one := c.batch.Traces[i : i+1]
		ok, goOn := try(store.Batch{Traces: one})
		if !goOn {
			return false
		}
		if ok {
			stored.Traces = append(stored.Traces, one...)
		} else {
			refused[one[0].ID] = true
		}
	}
	bad := 0
	for i := range c.batch.Labels {
		one := c.batch.Labels[i : i+1]
		ok, goOn := try(store.Batch{Labels: one})
		if !goOn {
			// Unlike a trace, a label stored twice would count its cost twice.
			c.batch.Labels = c.batch.Labels[i:]
			l.labelled.Add(int64(len(stored.Labels)))
			return false
		}
		if ok {
			stored.Labels = append(stored.Labels, one...)
		} else {
			bad++
		}
	}
	if len(stored.Traces)+len(stored.Labels) == 0 && guilty == 0 {
		return false
	}
	l.refused.Add(int64(len(refused) + bad))
	if c.fate != nil {
		c.fate.refused = refused
	}
	l.settle(c, stored)
	return true
}

// settle tells everyone that wants to know that a chunk is durable, and keeps
// the chunk for use again.
func (l *Log) settle(c *chunk, stored store.Batch) {
	l.failing.Store(nil)
	l.stored.Add(int64(len(stored.Traces)))
	l.labelled.Add(int64(len(stored.Labels)))
	if c.fate != nil {
		close(c.fate.done)
		c.fate = nil
	}
	if l.opt.OnStored != nil {
		l.opt.OnStored(stored)
	}
	clear(c.batch.Traces)
	clear(c.batch.Labels)
	c.batch.Traces, c.batch.Labels, c.bytes = c.batch.Traces[:0], c.batch.Labels[:0], 0
	l.mu.Lock()
	if len(l.free) < l.opt.Queue/l.opt.Batch+2 { // what a full queue needs
		l.free = append(l.free, c)
	}
	l.mu.Unlock()
}

func asTandem(err error) (*tandem.Error, bool) { return errors.AsType[*tandem.Error](err) }
