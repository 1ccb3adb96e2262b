package trace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tandem"
	"tandem/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a Writer in memory that takes time and fails on demand.
type shelf struct {
	mu      sync.Mutex
	traces  map[string]tandem.Trace
	labels  []store.Label
	batches []int // traces in each
	takes   time.Duration
	fail    func(b store.Batch) error
}

func newShelf() *shelf { return &shelf{traces: map[string]tandem.Trace{}} }

func (s *shelf) Write(ctx context.Context, b store.Batch) error {
	if s.takes > 0 {
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(b); err != nil {
			return err
		}
	}
	for _, t := range b.Traces {
		s.traces[t.ID] = t
	}
	s.labels = append(s.labels, b.Labels...)
	s.batches = append(s.batches, len(b.Traces))
	return nil
}

func (s *shelf) setFail(f func(b store.Batch) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

func (s *shelf) count() (traces, labels int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.traces), len(s.labels)
}

func item(i int) tandem.Trace {
	return tandem.Trace{
		ID: fmt.Sprintf("t%06d", i), Task: "a", Input: tandem.TextInput(fmt.Sprintf("message %d", i)),
		Step: tandem.StudentStep, Reason: tandem.Accepted,
	}
}

// start runs a log inside a synctest bubble; stop ends it and returns what
// Run said.
func start(t *testing.T, w Writer, opt Options) (*Log, func() error) {
	t.Helper()
	if opt.Linger == 0 {
		opt.Linger = -1
	}
	l := New(w, opt)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	var once sync.Once
	var err error
	stop := func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() { stop() })
	return l, stop
}

func TestRecordWaitsUntilDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		w.takes = 10 * time.Millisecond
		l, _ := start(t, w, Options{})
		begin := time.Now()
		if got := l.Record(t.Context(), item(1)); got != tandem.Stored {
			t.Errorf("recorded %s", got)
		}
		if took := time.Since(begin); took != 10*time.Millisecond {
			t.Errorf("a lone record took %s, one write takes 10ms", took)
		}
		if n, _ := w.count(); n != 1 {
			t.Errorf("%d traces stored", n)
		}
		// A deadline shorter than the write: queued now, stored later.
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
		defer cancel()
		if got := l.Record(ctx, item(2)); got != tandem.Queued {
			t.Errorf("recorded %s, want queued", got)
		}
		time.Sleep(time.Second)
		if n, _ := w.count(); n != 2 {
			t.Errorf("%d traces stored, want 2", n)
		}
	})
}

func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		w.takes = 10 * time.Millisecond
		l, stop := start(t, w, Options{Batch: 100})
		begin := time.Now()
		var g sync.WaitGroup
		for i := range 150 {
			g.Go(func() {
				if got := l.Record(t.Context(), item(i)); got != tandem.Stored {
					t.Errorf("recorded %s", got)
				}
			})
		}
		g.Wait()
		if took := time.Since(begin); took > 40*time.Millisecond {
			t.Errorf("150 records took %s, want few transactions of 10ms", took)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, n := range w.batches {
			if n > 100 {
				t.Errorf("a transaction holds %d traces, want at most 100", n)
			}
		}
	})
}

func TestTracesGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		l, stop := start(t, w, Options{Batch: 100, Queue: 1000, Linger: 50 * time.Millisecond})
		stored := func() int { synctest.Wait(); n, _ := w.count(); return n }
		for i := range 10 { // 40 ms
			l.Append(item(i))
			time.Sleep(4 * time.Millisecond)
		}
		if n := stored(); n != 0 {
			t.Errorf("%d traces stored after 40 ms", n)
		}
		time.Sleep(11 * time.Millisecond)
		if n := stored(); n != 10 || len(w.batches) != 1 {
			t.Errorf("%d traces in %d transactions after 51 ms, want 10 in 1", n, len(w.batches))
		}
		// What fills a transaction, or what somebody waits for, goes at once,
		// and takes with it what came before.
		for i := 10; i < 115; i++ {
			l.Append(item(i))
		}
		if n := stored(); n != 110 {
			t.Errorf("%d traces stored, want the 100 of a full transaction beside the first 10", n)
		}
		begin := time.Now()
		if got := l.Record(t.Context(), item(200)); got != tandem.Stored || time.Since(begin) != 0 {
			t.Errorf("recorded %s after %s", got, time.Since(begin))
		}
		if n := stored(); n != 116 {
			t.Errorf("%d traces stored, want 116", n)
		}
		// A queue that fills up does not wait either.
		for i := 300; i < 350; i++ {
			l.Append(item(i))
		}
		if err := stop(); err != nil || stored() != 166 {
			t.Errorf("%d traces stored at the end, want 166 (%v)", stored(), err)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		w.takes = time.Second
		l, stop := start(t, w, Options{Queue: 50, Batch: 10})
		l.Append(item(0))
		synctest.Wait() // Run has taken it and is writing
		queued, dropped := 0, 0
		for i := range 70 {
			switch got := l.Append(item(i + 1)); got {
			case tandem.Queued:
				queued++
			case tandem.Dropped:
				dropped++
			default:
				t.Errorf("append said %s", got)
			}
		}
		if queued != 50 || dropped != 20 {
			t.Errorf("%d queued, %d dropped; want 50 and 20", queued, dropped)
		}
		if got := l.Record(t.Context(), item(99)); got != tandem.Dropped {
			t.Errorf("record on a full queue said %s", got)
		}
		if st := l.Stats(); st.Waiting != 50 || st.Dropped != 21 || st.Queued != 51 {
			t.Errorf("stats %+v", st)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if st := l.Stats(); st.Stored != 51 || st.Waiting != 0 {
			t.Errorf("after the drain %+v", st)
		}
		if got := l.Append(item(100)); got != tandem.Dropped {
			t.Errorf("append to a closed log said %s", got)
		}
		if err := l.Label(t.Context(), store.Label{}); tandem.CodeOf(err) != tandem.Overloaded {
			t.Errorf("label to a closed log: %v", err)
		}
	})
}

func TestQueueBoundsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		w.takes = time.Second
		l, _ := start(t, w, Options{QueueBytes: 1000})
		l.Append(item(9))
		synctest.Wait() // the writer is busy with it
		large := item(0)
		large.Input = tandem.TextInput(strings.Repeat("x", 5000))
		if got := l.Append(large); got != tandem.Queued {
			t.Errorf("one input larger than the bound, on an empty queue: %s", got)
		}
		if got := l.Append(item(1)); got != tandem.Dropped {
			t.Errorf("beyond the bytes: %s", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := l.Append(item(2)); got != tandem.Queued {
			t.Errorf("after the large one was taken: %s", got)
		}
	})
}

func TestLabelsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		w.takes = time.Second
		l, stop := start(t, w, Options{Queue: 8}) // room for 2 labels
		l.Append(item(0))
		synctest.Wait()
		for i := range 8 { // a full queue of traces does not keep labels out
			l.Append(item(i + 1))
		}
		for range 2 {
			if err := l.Label(t.Context(), store.Label{TraceID: "t000000", Gold: "x"}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := l.Label(ctx, store.Label{}); tandem.CodeOf(err) != tandem.Overloaded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no room before the deadline: %v", err)
		}
		begin := time.Now()
		if err := l.Label(t.Context(), store.Label{TraceID: "t000001", Gold: "y"}); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 900*time.Millisecond {
			t.Errorf("waited %s, want until the first write ended (900ms)", took)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if traces, labels := w.count(); traces != 9 || labels != 3 {
			t.Errorf("%d traces and %d labels stored, want 9 and 3", traces, labels)
		}
		if st := l.Stats(); st.Labels != 3 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestClosingWakesLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		w.takes = time.Hour
		l, stop := start(t, w, Options{Queue: 4, Drain: time.Second})
		for range 2 { // one is being written, one waits
			if err := l.Label(t.Context(), store.Label{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		got := make(chan error)
		go func() { got <- l.Label(t.Context(), store.Label{}) }()
		synctest.Wait()
		ended := make(chan error)
		go func() { ended <- stop() }()
		if err := <-got; tandem.CodeOf(err) != tandem.Overloaded {
			t.Errorf("a label waiting at the shutdown got %v", err)
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "0 traces and 2 labels") {
			t.Errorf("run said %v", err)
		}
	})
}

func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &tandem.Error{Code: tandem.StorageFull, Message: "the disk of /data is full"}
		w := newShelf()
		w.setFail(func(store.Batch) error { return full })
		l, stop := start(t, w, Options{Queue: 10, MaxPause: time.Second})
		if l.Err() != nil {
			t.Error("unwell before anything happened")
		}
		l.Append(item(0))
		synctest.Wait()
		if err := l.Err(); tandem.CodeOf(err) != tandem.StorageFull || !strings.Contains(err.Error(), "waiting in memory") {
			t.Errorf("health is %v", err)
		}
		for i := range 15 {
			l.Append(item(i + 1))
		}
		time.Sleep(time.Minute)
		if err := l.Err(); !strings.Contains(err.Error(), "traces are being dropped: the disk of /data is full") {
			t.Errorf("health is %v", err)
		}
		if st := l.Stats(); st.Failures < 60 || st.Failures > 70 || st.Stored != 0 || st.Dropped != 5 {
			t.Errorf("a minute of tries, a second apart: %+v", st)
		}
		w.setFail(nil)
		time.Sleep(time.Second)
		if err := l.Err(); err != nil {
			t.Errorf("still unwell: %v", err)
		}
		if n, _ := w.count(); n != 11 {
			t.Errorf("%d traces stored, want the 11 that were kept", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestUnstorableItems(t *testing.T) {
	for _, code := range []tandem.Code{tandem.InvalidRequest, tandem.Internal} {
		synctest.Test(t, func(t *testing.T) {
			w := newShelf()
			w.takes = time.Millisecond
			w.setFail(func(b store.Batch) error {
				for _, x := range b.Traces {
					if x.ID == "t000005" {
						return tandem.Errorf(code, "no")
					}
				}
				for _, x := range b.Labels {
					if x.Gold == "bad" {
						return tandem.Errorf(code, "no")
					}
				}
				return nil
			})
			var seen int
			l, stop := start(t, w, Options{OnStored: func(b store.Batch) { seen += len(b.Traces) + len(b.Labels) }})
			got := make([]tandem.Recorded, 10)
			var g sync.WaitGroup
			for i := range got {
				g.Go(func() { got[i] = l.Record(t.Context(), item(i)) })
			}
			for _, gold := range []string{"good", "bad", "fine"} {
				if err := l.Label(t.Context(), store.Label{TraceID: "t000001", Gold: gold}); err != nil {
					t.Error(err)
				}
			}
			g.Wait()
			if err := stop(); err != nil {
				t.Error(err)
			}
			for i, r := range got {
				want := tandem.Stored
				if i == 5 {
					want = tandem.Dropped
				}
				if r != want {
					t.Errorf("%s: record %d said %s, want %s", code, i, r, want)
				}
			}
			if traces, labels := w.count(); traces != 9 || labels != 2 || seen != 11 {
				t.Errorf("%s: %d traces and %d labels stored, %d seen", code, traces, labels, seen)
			}
			if st := l.Stats(); st.Refused != 2 || st.Stored != 9 || st.Labels != 2 {
				t.Errorf("%s: stats %+v", code, st)
			}
		})
	}
}

func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		w.setFail(func(store.Batch) error { return errors.New("broken") })
		l, stop := start(t, w, Options{Drain: 3 * time.Second, Batch: 2})
		said := make(chan tandem.Recorded, 1)
		go func() { said <- l.Record(t.Context(), item(0)) }()
		synctest.Wait()
		for i := range 4 {
			l.Append(item(i + 1))
		}
		begin := time.Now()
		err := stop()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("the shutdown took %s, want 3s", took)
		}
		if err == nil || !strings.Contains(err.Error(), "5 traces and 0 labels") || !strings.Contains(err.Error(), "broken") {
			t.Errorf("run said %v", err)
		}
		if got := <-said; got != tandem.Dropped {
			t.Errorf("the waiting record was told %s", got)
		}
		if st := l.Stats(); st.Dropped != 5 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestSampling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		l, stop := start(t, w, Options{SampleServed: 0.25, Queue: 100_000})
		const n = 20_000
		for i := range n {
			l.Append(item(i))
		}
		st := l.Stats()
		if share := float64(st.Queued) / n; share < 0.235 || share > 0.265 {
			t.Errorf("kept %.3f, want about 0.25", share)
		}
		if st.Queued+st.Skipped != n || st.Dropped != 0 {
			t.Errorf("stats %+v", st)
		}
		for i, change := range []func(*tandem.Trace){
			func(x *tandem.Trace) { x.Audit = true },
			func(x *tandem.Trace) { x.Labelled = true },
			func(x *tandem.Trace) { x.Step = tandem.ProviderStep },
			func(x *tandem.Trace) { x.Reason = tandem.TeacherFailed },
		} {
			for k := range 50 {
				x := item(n + 50*i + k)
				change(&x)
				if got := l.Append(x); got != tandem.Queued {
					t.Errorf("change %d: an answer that must be kept was %s", i, got)
				}
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		again := New(w, Options{SampleServed: 0.25})
		for i := range n {
			x := item(i)
			if _, kept := w.traces[x.ID]; kept != again.keeps(&x) {
				t.Errorf("trace %d is decided differently the second time", i)
			}
		}
	})
}

func TestPrivacy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		l, stop := start(t, w, Options{
			StoreInputs: func(task string) bool { return task != "secret" },
			Redact: func(x *tandem.Trace) {
				x.Input = tandem.TextInput(strings.ReplaceAll(x.Input.Text(), "message", "[redacted]"))
			},
		})
		secret := item(1)
		secret.Task = "secret"
		l.Append(secret)
		l.Append(item(2))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got := w.traces["t000001"].Input; len(got.Parts) != 0 {
			t.Errorf("a secret input was stored: %+v", got)
		}
		if got := w.traces["t000002"].Input.Text(); got != "[redacted] 2" {
			t.Errorf("stored %q", got)
		}
	})
}

// A label queued after its trace never overtakes it.
func TestLabelsFollowTheirTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newShelf()
		known := map[string]bool{}
		w.setFail(func(b store.Batch) error {
			for _, x := range b.Traces {
				known[x.ID] = true
			}
			for _, x := range b.Labels {
				if !known[x.TraceID] {
					t.Errorf("the label of %s came before its trace", x.TraceID)
				}
			}
			return nil
		})
		l, stop := start(t, w, Options{Batch: 7, Queue: 1000})
		var g sync.WaitGroup
		for k := range 4 {
			g.Go(func() {
				for i := range 200 {
					x := item(k*200 + i)
					for l.Append(x) != tandem.Queued {
						time.Sleep(time.Millisecond)
					}
					if err := l.Label(t.Context(), store.Label{TraceID: x.ID, Gold: "g"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		g.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if traces, labels := w.count(); traces != 800 || labels != 800 {
			t.Errorf("%d traces, %d labels, want 800 each", traces, labels)
		}
	})
}

// nowhere is a store that is infinitely fast.
type nowhere struct{}

func (nowhere) Write(context.Context, store.Batch) error { return nil }

func TestAppendAllocatesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := New(nowhere{}, Options{})
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	x := item(1)
	for range 10 * 1024 {
		l.Append(x)
	}
	n := testing.AllocsPerRun(20_000, func() { l.Append(x) })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n > 0 {
		t.Errorf("append allocates %.2f times after warm-up", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	l := New(nowhere{}, Options{})
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	x := item(1)
	b.ReportAllocs()
	for b.Loop() {
		l.Append(x)
	}
	b.StopTimer()
	st := l.Stats()
	b.ReportMetric(float64(st.Dropped)/float64(b.N), "dropped/op")
	cancel()
	<-done
}
