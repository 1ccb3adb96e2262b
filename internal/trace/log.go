// Package trace is the learning log: it takes the records of requests without
// making them wait, stores them in groups, and reads and writes them as files.
package trace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tandem"
	"tandem/internal/store"
)

// Writer stores batches durably; store.Traces is one.
type Writer interface {
	Write(ctx context.Context, b store.Batch) error
}

// Options of a Log. The zero value of a field asks for its default.
type Options struct {
	Queue      int   // traces waiting at most, default 16,384; more are dropped and counted
	QueueBytes int64 // bytes of inputs waiting at most, default 256 MiB
	Batch      int   // traces in one transaction at most, default 1,024
	// Linger is how long traces that nobody waits for gather before they are
	// stored together, default 50 ms, negative for not at all: a transaction
	// costs as much as storing dozens of traces.
	Linger time.Duration

	// SampleServed is the share, in (0, 1], of accepted answers without audit
	// that are stored; 0 means 1. Everything else is always stored. Which ones
	// is decided by a hash of the trace id.
	SampleServed float64
	// StoreInputs says whether the inputs of a task may be kept; nil keeps
	// all. It is called by Run for every trace.
	StoreInputs func(task string) bool
	// Redact may change a trace before it is stored, e.g. to blank out
	// personal data. It is called by Run for every trace that keeps its input.
	// It must not write into the input's Parts, which it replaces instead.
	Redact func(*tandem.Trace)
	// OnStored is called by Run after each commit. The batch is only valid
	// during the call.
	OnStored func(b store.Batch)

	Drain    time.Duration // how long Run may go on storing after its context has ended, default 10 s
	MaxPause time.Duration // longest pause between two tries of a failing store, default 5 s
}

// chunkBytes ends a transaction early when its inputs are large.
const chunkBytes = 16 << 20

// Log is a bounded queue in front of a Writer. Run must be running for
// anything to be stored; all methods are safe for concurrent use.
type Log struct {
	w     Writer
	opt   Options
	wake  chan struct{} // holds a token when an idle Run has work
	hurry chan struct{} // holds a token when a lingering Run should go on

	mu     sync.Mutex
	chunks []*chunk // the oldest first; only the last may grow
	free   []*chunk
	traces int           // in chunks
	labels int           // in chunks
	bytes  int64         // in chunks
	room   chan struct{} // closed when room for labels appears; nil when nobody waits
	closed bool

	queued, stored, labelled, dropped, skipped, failures, refused atomic.Int64

	failing atomic.Pointer[failure]
}

// chunk becomes one transaction.
type chunk struct {
	batch store.Batch
	bytes int64
	fate  *fate // made when the first Record waits
}

// fate is what the Records of a chunk wait for. It outlives the chunk, which
// is used again.
type fate struct {
	done chan struct{}
	// Set before done is closed.
	lost    bool
	refused map[string]bool // trace ids that the store will never take
}

// New makes a log. It starts nothing: the owner calls Run.
func New(w Writer, opt Options) *Log {
	if opt.Queue <= 0 {
		opt.Queue = 16 << 10
	}
	if opt.QueueBytes <= 0 {
		opt.QueueBytes = 256 << 20
	}
	if opt.Batch <= 0 {
		opt.Batch = 1 << 10
	}
	if opt.SampleServed <= 0 || opt.SampleServed > 1 {
		opt.SampleServed = 1
	}
	if opt.Linger == 0 {
		opt.Linger = 50 * time.Millisecond
	}
	if opt.Drain <= 0 {
		opt.Drain = 10 * time.Second
	}
	if opt.MaxPause <= 0 {
		opt.MaxPause = 5 * time.Second
	}
	return &Log{w: w, opt: opt, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
}

// Append queues a trace and returns at once: tandem.Queued, tandem.Skipped
// when sampling leaves it out, or tandem.Dropped when the queue is full. The
// log keeps the trace's input; the caller must not change it afterwards.
func (l *Log) Append(t tandem.Trace) tandem.Recorded {
	state, _ := l.append(&t, false)
	return state
}

// Record queues a trace and waits until it is durable: tandem.Stored. When
// ctx ends first the trace stays queued and tandem.Queued is returned.
func (l *Log) Record(ctx context.Context, t tandem.Trace) tandem.Recorded {
	state, f := l.append(&t, true)
	if f == nil {
		return state
	}
	select {
	case <-f.done:
		if f.lost || f.refused[t.ID] {
			return tandem.Dropped
		}
		return tandem.Stored
	case <-ctx.Done():
		return tandem.Queued
	}
}

func (l *Log) append(t *tandem.Trace, wait bool) (tandem.Recorded, *fate) {
	if !l.keeps(t) {
		l.skipped.Add(1)
		return tandem.Skipped, nil
	}
	size := inputBytes(t)
	l.mu.Lock()
	if l.closed || l.traces >= l.opt.Queue || l.traces > 0 && l.bytes+size > l.opt.QueueBytes {
		l.mu.Unlock()
		l.dropped.Add(1)
		return tandem.Dropped, nil
	}
	idle := len(l.chunks) == 0
	c := l.tail()
	c.batch.Traces = append(c.batch.Traces, *t)
	c.bytes += size
	l.traces++
	l.bytes += size
	var f *fate
	if wait {
		if c.fate == nil {
			c.fate = &fate{done: make(chan struct{})}
		}
		f = c.fate
	}
	pressing := l.pressing()
	l.mu.Unlock()
	l.queued.Add(1)
	l.rouse(idle, pressing)
	return tandem.Queued, f
}

// Label queues what became known about a trace after its reply. Labels are
// never dropped silently: when there is no room Label waits until ctx ends
// and then returns tandem.Overloaded. They have room of their own, a quarter
// of the queue, so that a flood of traces does not keep them out.
func (l *Log) Label(ctx context.Context, label store.Label) error {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return tandem.Errorf(tandem.Overloaded, "tandem is shutting down; send the label again later")
		}
		if l.labels < max(1, l.opt.Queue/4) {
			idle := len(l.chunks) == 0
			c := l.tail()
			c.batch.Labels = append(c.batch.Labels, label)
			l.labels++
			pressing := l.pressing()
			l.mu.Unlock()
			l.rouse(idle, pressing)
			return nil
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return &tandem.Error{
				Code: tandem.Overloaded, Cause: ctx.Err(),
				Message: "the label could not be queued in time; send it again later",
			}
		}
	}
}

// tail is the chunk that grows. The caller holds l.mu.
func (l *Log) tail() *chunk {
	if n := len(l.chunks); n > 0 {
		c := l.chunks[n-1]
		if !c.full(l.opt.Batch) {
			return c
		}
	}
	var c *chunk
	if n := len(l.free); n > 0 {
		c, l.free = l.free[n-1], l.free[:n-1]
	} else {
		c = &chunk{}
	}
	l.chunks = append(l.chunks, c)
	return c
}

// full says whether a chunk is as large as a transaction of so many items may
// be.
func (c *chunk) full(batch int) bool {
	return len(c.batch.Traces) >= batch || len(c.batch.Labels) >= batch || c.bytes >= chunkBytes
}

// pressing says whether what is queued should not wait for more to come with
// it: somebody waits for it, it fills a transaction, or the queue fills up.
// The caller holds l.mu.
func (l *Log) pressing() bool {
	switch len(l.chunks) {
	case 0:
		return false
	case 1:
		c := l.chunks[0]
		return c.fate != nil || c.full(l.opt.Batch) ||
			2*l.traces >= l.opt.Queue || 8*l.labels >= l.opt.Queue || 2*l.bytes >= l.opt.QueueBytes
	default:
		return true
	}
}

// rouse wakes a Run that was idle, and hurries one that lingers.
func (l *Log) rouse(idle, pressing bool) {
	if idle {
		signal(l.wake)
	}
	if pressing {
		signal(l.hurry)
	}
}

// signal puts a token into the channel if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keeps decides by a hash of the id whether sampling keeps the trace, so that
// every node and every later look agrees.
func (l *Log) keeps(t *tandem.Trace) bool {
	if l.opt.SampleServed >= 1 || t.Step != tandem.StudentStep || t.Reason != tandem.Accepted || t.Audit || t.Labelled {
		return true
	}
	return hash01(t.ID) < l.opt.SampleServed
}

// hash01 maps a string evenly to [0, 1), the same in every process: FNV-1a
// with the finalizer of MurmurHash3, since FNV alone leaves the high bits of
// similar ids alike.
func hash01(s string) float64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return float64((h^h>>33)>>11) / (1 << 53)
}

func inputBytes(t *tandem.Trace) int64 {
	n := 0
	for i := range t.Input.Parts {
		p := &t.Input.Parts[i]
		n += len(p.Text) + len(p.Data) + len(p.URL)
	}
	return int64(n)
}

// Stats counts what has become of traces since the start of the process.
type Stats struct {
	Queued   int64 // taken into the queue
	Stored   int64 // traces stored durably
	Labels   int64 // labels stored durably
	Dropped  int64 // traces lost: the queue was full or the shutdown too short
	Skipped  int64 // left out by sampling
	Refused  int64 // traces and labels that the store will never take
	Failures int64 // failed tries to store a batch
	Waiting  int   // traces in the queue now
}

// Stats returns the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	waiting := l.traces
	l.mu.Unlock()
	return Stats{
		Queued: l.queued.Load(), Stored: l.stored.Load(), Labels: l.labelled.Load(), Dropped: l.dropped.Load(),
		Skipped: l.skipped.Load(), Refused: l.refused.Load(), Failures: l.failures.Load(), Waiting: waiting,
	}
}

// failure is the present trouble of the store.
type failure struct {
	err     error
	dropped int64 // what the counter said when the trouble began
}

// Err is nil while traces are being stored, and otherwise a *tandem.Error
// that says in words what is wrong.
func (l *Log) Err() error {
	f := l.failing.Load()
	if f == nil {
		return nil
	}
	what := "traces are waiting in memory"
	if l.dropped.Load() > f.dropped {
		what = "traces are being dropped"
	}
	why := "the store fails"
	if e, ok := asTandem(f.err); ok {
		why = e.Message
	}
	return &tandem.Error{Code: tandem.CodeOf(f.err), Cause: f.err, Message: "degraded: " + what + ": " + why}
}
