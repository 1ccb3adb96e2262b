package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem"
	"tandem/internal/store"
)

func testRoundTrip(t *testing.T, s store.Store) {
	want := full()
	bare := tandem.Trace{ID: "bare", Task: "support", Time: epoch()}
	write(t, s, store.Batch{Traces: []tandem.Trace{want, bare}})
	for _, w := range []tandem.Trace{want, bare} {
		if got := get(t, s, w.ID); !reflect.DeepEqual(got, w) {
			t.Errorf("got  %+v\nwant %+v", got, w)
		}
	}
	if got := list(t, s, store.Query{Task: "support", Newest: true, Limit: 1}); !reflect.DeepEqual(got[0], want) {
		t.Errorf("listed %+v\nwant %+v", got[0], want)
	}
	_, err := s.Trace(t.Context(), "nobody")
	wantCode(t, err, tandem.NotFound)
	write(t, s, store.Batch{})
}

func testHostileStrings(t *testing.T, s store.Store) {
	for i, text := range []string{
		"a\x00b\x00", "\x00", "\u202eevil\u202c", strings.Repeat("x", 1<<20), "'; DROP TABLE traces; --",
		"\u200b\ufeff", "👩‍👩‍👧‍👦", "line\r\nline", `"\u0000"`, "%s$1?:a@b",
	} {
		tr := full()
		tr.ID = fmt.Sprintf("h%d", i)
		tr.Input = tandem.TextInput(text)
		tr.Answer, tr.Teacher, tr.Feedback, tr.Session, tr.Gold = text, text, text, text, text
		write(t, s, store.Batch{Traces: []tandem.Trace{tr}})
		if got := get(t, s, tr.ID); !reflect.DeepEqual(got, tr) {
			t.Errorf("text %.20q did not survive", text)
		}
		write(t, s, store.Batch{Labels: []store.Label{{TraceID: tr.ID, TeacherAgain: text}}})
		if got := get(t, s, tr.ID); got.TeacherAgain != text {
			t.Errorf("label %.20q did not survive", text)
		}
	}
	for _, id := range []string{"a\x00b", "a", "\u202e", strings.Repeat("i", 4096)} {
		tr := plain("ta\x00sk", 0)
		tr.ID = id
		write(t, s, store.Batch{Traces: []tandem.Trace{tr}})
		if got := get(t, s, id); got.ID != id || got.Task != tr.Task {
			t.Errorf("id %.20q became %.20q", id, got.ID)
		}
	}
	if got := stats(t, s, "ta\x00sk").Traces; got != 4 {
		t.Errorf("%d traces of a task with a NUL in its name, want 4", got)
	}
}

func testUnstorableNumbers(t *testing.T, s store.Store) {
	tr := plain("a", 0)
	tr.Score, tr.CostUSD, tr.SavedUSD, tr.Propensity = math.NaN(), math.Inf(1), math.Inf(-1), math.NaN()
	write(t, s, store.Batch{
		Traces: []tandem.Trace{tr},
		Labels: []store.Label{{TraceID: tr.ID, CostUSD: math.NaN()}},
	})
	got := get(t, s, tr.ID)
	if got.Score != 0 || got.CostUSD != 0 || got.SavedUSD != 0 || got.Propensity != 0 {
		t.Errorf("NaN and infinities became %g %g %g %g, want 0", got.Score, got.CostUSD, got.SavedUSD, got.Propensity)
	}
	if st := stats(t, s, "a"); st.CostUSD != 0 || st.SavedUSD != 0 {
		t.Errorf("totals %+v, want no cost", st)
	}
}

func testMicroseconds(t *testing.T, s store.Store) {
	for i, at := range []time.Time{
		epoch().Add(time.Microsecond), epoch().Add(999999 * time.Microsecond), time.Unix(0, 0).UTC(),
		time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 1000, time.UTC),
		{},
	} {
		tr := plain("a", i)
		tr.Time = at
		write(t, s, store.Batch{Traces: []tandem.Trace{tr}})
		if got := get(t, s, tr.ID).Time; !got.Equal(at) || got.Location() != time.UTC {
			t.Errorf("time %v came back as %v", at, got)
		}
	}
	tr := plain("a", 10)
	tr.Time = epoch().Add(1999 * time.Nanosecond).In(time.FixedZone("far", 9*3600))
	write(t, s, store.Batch{Traces: []tandem.Trace{tr}})
	if got, want := get(t, s, tr.ID).Time, epoch().Add(time.Microsecond); !got.Equal(want) {
		t.Errorf("a time between microseconds became %v, want %v", got, want)
	}
}

func testWriteTwice(t *testing.T, s store.Store) {
	a, b, c := plain("a", 1), plain("a", 2), plain("a", 3)
	write(t, s, store.Batch{Traces: []tandem.Trace{a, b}})
	changed := b
	changed.Answer = "other"
	write(t, s, store.Batch{Traces: []tandem.Trace{a, changed, c, c}, Labels: []store.Label{{TraceID: c.ID, Gold: "g"}}})
	wantIDs(t, s, store.Query{Task: "a"}, a.ID, b.ID, c.ID)
	if got := get(t, s, b.ID); got.Answer != b.Answer {
		t.Errorf("a second write changed the stored trace to %q", got.Answer)
	}
	if got := get(t, s, c.ID); got.Gold != "g" {
		t.Error("the label of a batch with duplicates was lost")
	}
	if st := stats(t, s, "a"); st.Traces != 3 || st.Labelled != 3 || st.CostUSD != 1.5 {
		t.Errorf("totals %+v count duplicates", st)
	}
}

func testWriteRefused(t *testing.T, s store.Store) {
	good, noID, noTask := plain("a", 1), plain("a", 2), plain("a", 3)
	noID.ID, noTask.Task = "", ""
	wantCode(t, s.Write(t.Context(), store.Batch{Traces: []tandem.Trace{good, noID}}), tandem.InvalidRequest)
	wantCode(t, s.Write(t.Context(), store.Batch{Traces: []tandem.Trace{good, noTask}}), tandem.InvalidRequest)
	wantIDs(t, s, store.Query{})
}

func testLabels(t *testing.T, s store.Store) {
	tr := served("a", "v1", 1)
	tr.Audit = true
	write(t, s, store.Batch{Traces: []tandem.Trace{tr}})
	for _, step := range []struct {
		label store.Label
		apply func(*tandem.Trace)
	}{
		{store.Label{Teacher: "bill", TeacherModel: "m1", CostUSD: 0.5}, func(x *tandem.Trace) {
			x.Labelled, x.Teacher, x.TeacherModel, x.CostUSD = true, "bill", "m1", 0.5
		}},
		{store.Label{TeacherAgain: "refund", CostUSD: 0.25}, func(x *tandem.Trace) { x.TeacherAgain, x.CostUSD = "refund", 0.75 }},
		{store.Label{Gold: "bill"}, func(x *tandem.Trace) { x.Gold = "bill" }},
		{store.Label{Gold: "refund", Feedback: "no, that"}, func(x *tandem.Trace) { x.Gold, x.Feedback = "refund", "no, that" }},
		{store.Label{}, func(*tandem.Trace) {}},
		{store.Label{OutsideSpace: true, TeacherModel: "m2"}, func(x *tandem.Trace) {
			x.Teacher, x.TeacherModel, x.OutsideSpace = "", "m2", true
		}},
		{store.Label{Teacher: "refund", TeacherModel: "m3"}, func(x *tandem.Trace) {
			x.Teacher, x.TeacherModel, x.OutsideSpace = "refund", "m3", false
		}},
	} {
		step.label.TraceID = tr.ID
		write(t, s, store.Batch{Labels: []store.Label{step.label}})
		step.apply(&tr)
		if got := get(t, s, tr.ID); !reflect.DeepEqual(got, tr) {
			t.Fatalf("after %+v\ngot  %+v\nwant %+v", step.label, got, tr)
		}
	}
	if st := stats(t, s, "a"); st.Labelled != 1 || st.CostUSD != 0.75 {
		t.Errorf("totals %+v, want 1 labelled and a cost of 0.75", st)
	}
}

func testLabelsOfTheSameBatch(t *testing.T, s store.Store) {
	tr := served("a", "v1", 1)
	write(t, s, store.Batch{
		Traces: []tandem.Trace{tr},
		Labels: []store.Label{{TraceID: tr.ID, Teacher: "x"}, {TraceID: tr.ID, Gold: "y"}},
	})
	if got := get(t, s, tr.ID); !got.Labelled || got.Teacher != "x" || got.Gold != "y" {
		t.Errorf("labels of the same batch were lost: %+v", got)
	}
}

func testLabelOfUnknownTrace(t *testing.T, s store.Store) {
	tr := plain("a", 1)
	write(t, s, store.Batch{
		Traces: []tandem.Trace{tr},
		Labels: []store.Label{{TraceID: "nobody", Teacher: "x", CostUSD: 7}, {TraceID: "", Gold: "y"}, {TraceID: tr.ID, Gold: "z"}},
	})
	if got := get(t, s, tr.ID); got.Gold != "z" {
		t.Error("a label after one of an unknown trace was lost")
	}
	if st := stats(t, s, "a"); st.Traces != 1 || st.CostUSD != 0.5 {
		t.Errorf("totals %+v count a label of an unknown trace", st)
	}
}

func testOrder(t *testing.T, s store.Store) {
	// Two tasks, written out of order, with equal times.
	a1, a2, a3, b1, b2 := plain("a", 1), plain("a", 2), plain("a", 3), plain("b", 1), plain("b", 2)
	a3.Time = a2.Time
	write(t, s, store.Batch{Traces: []tandem.Trace{b2, a3, a1}})
	write(t, s, store.Batch{Traces: []tandem.Trace{a2, b1}})
	wantIDs(t, s, store.Query{Task: "a"}, a1.ID, a2.ID, a3.ID)
	wantIDs(t, s, store.Query{Task: "a", Newest: true}, a3.ID, a2.ID, a1.ID)
	wantIDs(t, s, store.Query{}, a1.ID, b1.ID, a2.ID, a3.ID, b2.ID)
	wantIDs(t, s, store.Query{Newest: true}, b2.ID, a3.ID, a2.ID, b1.ID, a1.ID)
	wantIDs(t, s, store.Query{Newest: true, Limit: 2}, b2.ID, a3.ID)
	wantIDs(t, s, store.Query{Task: "nobody"})
}

func testFilters(t *testing.T, s store.Store) {
	a1, a2, a3, a4 := plain("a", 1), served("a", "v1", 2), plain("a", 3), plain("a", 4)
	write(t, s, store.Batch{Traces: []tandem.Trace{a1, a2, a3, a4}})
	wantIDs(t, s, store.Query{Task: "a", Since: a2.Time}, a2.ID, a3.ID, a4.ID)
	wantIDs(t, s, store.Query{Task: "a", Until: a3.Time}, a1.ID, a2.ID)
	wantIDs(t, s, store.Query{Task: "a", Since: a2.Time, Until: a4.Time}, a2.ID, a3.ID)
	wantIDs(t, s, store.Query{Task: "a", Since: a2.Time, Until: a4.Time, Newest: true}, a3.ID, a2.ID)
	wantIDs(t, s, store.Query{Since: a2.Time, Until: a2.Time})
	wantIDs(t, s, store.Query{Task: "a", Labelled: true}, a1.ID, a3.ID, a4.ID)
	wantIDs(t, s, store.Query{Labelled: true, Newest: true, Limit: 2}, a4.ID, a3.ID)
	wantIDs(t, s, store.Query{Task: "a", After: a3.ID, Since: a2.Time}, a4.ID)
	wantIDs(t, s, store.Query{Task: "a", After: a1.ID, Since: a3.Time}, a3.ID, a4.ID)
	wantIDs(t, s, store.Query{Task: "a", After: a4.ID, Until: a2.Time, Newest: true}, a1.ID)
}

func testPaging(t *testing.T, s store.Store) {
	const n = 900
	var all []tandem.Trace
	for i := range n {
		tr := plain([]string{"a", "b", "c"}[i%3], i/2) // pairs share a time
		tr.ID = fmt.Sprintf("%05d", (i*7919)%n)
		tr.Labelled = i%5 != 0
		all = append(all, tr)
	}
	write(t, s, store.Batch{Traces: all})
	slices.SortFunc(all, func(x, y tandem.Trace) int {
		return 2*x.Time.Compare(y.Time) + strings.Compare(x.ID, y.ID)
	})
	for _, newest := range []bool{false, true} {
		for _, base := range []store.Query{{}, {Task: "b"}, {Labelled: true}, {Task: "c", Labelled: true}} {
			base.Newest = newest
			var want []string
			for _, tr := range all {
				if (base.Task == "" || tr.Task == base.Task) && (!base.Labelled || tr.Labelled) {
					want = append(want, tr.ID)
				}
			}
			if newest {
				slices.Reverse(want)
			}
			if got := ids(list(t, s, base)); !slices.Equal(got, want) {
				t.Errorf("%+v in one go: %d traces or another order, want %d", base, len(got), len(want))
			}
			q, got := base, []string(nil)
			for q.Limit = 71; ; {
				page := ids(list(t, s, q))
				got = append(got, page...)
				if len(page) < q.Limit {
					break
				}
				q.After = page[len(page)-1]
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v in pages: %d traces or another order, want %d", base, len(got), len(want))
			}
		}
	}
	for _, err := range s.Traces(t.Context(), store.Query{After: "nobody"}) {
		wantCode(t, err, tandem.NotFound)
		return
	}
	t.Error("paging after an unknown trace yielded nothing, want an error")
}

func testAudited(t *testing.T, s store.Store) {
	labelled := func(tr tandem.Trace) tandem.Trace {
		tr.Audit, tr.Labelled, tr.Teacher = true, true, "refund"
		return tr
	}
	pending := served("a", "v1", 2)
	pending.Audit = true
	feedbackOnly := served("a", "v1", 3) // labelled, but not by chance
	feedbackOnly.Labelled, feedbackOnly.Teacher = true, "refund"
	a1, a4, a5, a6, b7 := labelled(served("a", "v1", 1)), labelled(served("a", "v2", 4)), labelled(served("a", "v1", 5)),
		labelled(served("a", "v1", 6)), labelled(served("b", "v1", 7))
	write(t, s, store.Batch{Traces: []tandem.Trace{b7, a6, a5, a4, feedbackOnly, pending, a1, plain("a", 8)}})
	wantIDs(t, s, store.Query{Task: "a", Audited: "v1"}, a1.ID, a5.ID, a6.ID)
	wantIDs(t, s, store.Query{Task: "a", Audited: "v1", Newest: true}, a6.ID, a5.ID, a1.ID)
	wantIDs(t, s, store.Query{Task: "a", Audited: "v1", After: a1.ID, Limit: 1}, a5.ID)
	wantIDs(t, s, store.Query{Task: "a", Audited: "v1", Since: a5.Time, Until: a6.Time}, a5.ID)
	wantIDs(t, s, store.Query{Task: "a", Audited: "v2"}, a4.ID)
	wantIDs(t, s, store.Query{Audited: "v1"}, a1.ID, a5.ID, a6.ID, b7.ID)
	wantIDs(t, s, store.Query{Task: "a", Audited: "v9"})
	write(t, s, store.Batch{Labels: []store.Label{{TraceID: pending.ID, Teacher: "bill"}}})
	wantIDs(t, s, store.Query{Task: "a", Audited: "v1"}, a1.ID, pending.ID, a5.ID, a6.ID)
}

func testStopEarly(t *testing.T, s store.Store) {
	var b store.Batch
	for i := range 500 {
		b.Traces = append(b.Traces, plain("a", i))
	}
	write(t, s, b)
	// More abandoned readers than any pool has connections, and a writer that
	// must not wait for them.
	for range 50 {
		for _, err := range s.Traces(t.Context(), store.Query{Task: "a"}) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	i := 500
	for tr, err := range s.Traces(t.Context(), store.Query{Task: "a", Limit: 400}) {
		if err != nil {
			t.Fatal(err)
		}
		if i < 520 {
			write(t, s, store.Batch{Traces: []tandem.Trace{plain("a", i)}, Labels: []store.Label{{TraceID: tr.ID, Gold: "x"}}})
			i++
		}
	}
}

func testLargeInputs(t *testing.T, s store.Store) {
	var b store.Batch
	for i := range 16 {
		tr := plain("a", i)
		tr.Input = tandem.Input{Parts: []tandem.Part{{Kind: tandem.Image, MIME: "image/png", Data: make([]byte, 1<<20)}}}
		tr.Input.Parts[0].Data[0] = byte(i)
		b.Traces = append(b.Traces, tr)
	}
	write(t, s, b)
	n := 0
	for tr, err := range s.Traces(t.Context(), store.Query{Task: "a"}) {
		if err != nil {
			t.Fatal(err)
		}
		if d := tr.Input.Parts[0].Data; len(d) != 1<<20 || d[0] != byte(n) {
			t.Fatalf("image %d came back with %d bytes", n, len(d))
		}
		n++
	}
	if n != 16 {
		t.Errorf("%d large traces, want 16", n)
	}
}

func testStats(t *testing.T, s store.Store) {
	if st := stats(t, s, "a"); st != (store.TaskStats{}) {
		t.Errorf("an unknown task has %+v", st)
	}
	uncertified := served("a", "v1", 3)
	uncertified.Certified = false
	write(t, s, store.Batch{Traces: []tandem.Trace{plain("a", 1), served("a", "v1", 2), uncertified, plain("b", 1)}})
	want := store.TaskStats{Traces: 3, Labelled: 1, Served: 2, Certified: 2, SavedUSD: 0.5, CostUSD: 0.5}
	if st := stats(t, s, "a"); st != want {
		t.Errorf("got %+v, want %+v", st, want)
	}
	write(t, s, store.Batch{Labels: []store.Label{{TraceID: uncertified.ID, Teacher: "x", CostUSD: 0.25}}})
	want.Labelled, want.CostUSD = 2, 0.75
	if st := stats(t, s, "a"); st != want {
		t.Errorf("after a label %+v, want %+v", st, want)
	}
}

func testExpire(t *testing.T, s store.Store) {
	var b store.Batch
	for i := range 10 {
		b.Traces = append(b.Traces, plain("a", i), served("b", "v1", i))
	}
	write(t, s, b)
	expire := func(task string, before time.Time, limit, want int) {
		t.Helper()
		n, err := s.Expire(t.Context(), task, before, limit)
		if err != nil || n != want {
			t.Errorf("expired %d traces (%v), want %d", n, err, want)
		}
	}
	at := func(i int) time.Time { return epoch().Add(time.Duration(i) * time.Second) }
	expire("a", at(0), 100, 0) // exclusive
	expire("a", at(6), 4, 4)
	wantIDs(t, s, store.Query{Task: "a", Limit: 1}, plain("a", 4).ID) // the oldest went first
	expire("a", at(6), 4, 2)
	expire("a", at(6), 4, 0)
	expire("a", at(100), 0, 0)
	expire("nobody", at(100), 100, 0)
	if st := stats(t, s, "a"); st.Traces != 4 || st.Labelled != 4 || st.CostUSD != 2 {
		t.Errorf("totals after expiry %+v", st)
	}
	if st := stats(t, s, "b"); st.Traces != 10 || st.Served != 10 {
		t.Errorf("expiry touched another task: %+v", st)
	}
	expire("a", at(100), 100, 4)
	if st := stats(t, s, "a"); st != (store.TaskStats{}) {
		t.Errorf("totals of an emptied task %+v", st)
	}
	_, err := s.Trace(t.Context(), plain("a", 0).ID)
	wantCode(t, err, tandem.NotFound)
}

func testConcurrentTraces(t *testing.T, s store.Store) {
	const writers, batches, size = 3, 10, 20
	var g sync.WaitGroup
	for w := range writers {
		g.Go(func() {
			for i := range batches {
				var b store.Batch
				for k := range size {
					tr := served("a", "v1", (i*size+k)*writers+w)
					b.Traces = append(b.Traces, tr)
					b.Labels = append(b.Labels, store.Label{TraceID: tr.ID, Teacher: "x"})
				}
				if err := s.Write(t.Context(), b); err != nil {
					t.Errorf("concurrent write: %v", err)
					return
				}
			}
		})
		g.Go(func() {
			for range batches {
				last := ""
				for tr, err := range s.Traces(t.Context(), store.Query{Task: "a"}) {
					if err != nil {
						t.Errorf("concurrent read: %v", err)
						return
					}
					if tr.ID <= last {
						t.Errorf("%s came after %s", tr.ID, last)
						return
					}
					if !tr.Labelled {
						t.Errorf("half of a batch is visible: %s has no label", tr.ID)
						return
					}
					last = tr.ID
				}
			}
		})
	}
	g.Wait()
	if st := stats(t, s, "a"); st.Traces != writers*batches*size || st.Labelled != st.Traces {
		t.Errorf("totals %+v, want %d traces, all labelled", st, writers*batches*size)
	}
}

func testEndedContext(t *testing.T, s store.Store) {
	write(t, s, store.Batch{Traces: []tandem.Trace{plain("a", 1)}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Trace(ctx, plain("a", 1).ID); !errors.Is(err, context.Canceled) {
		t.Errorf("a read with an ended context returned %v", err)
	}
	seen := error(nil)
	for _, err := range s.Traces(ctx, store.Query{}) {
		seen = err
	}
	if !errors.Is(seen, context.Canceled) {
		t.Errorf("a listing with an ended context returned %v", seen)
	}
	// A write with an ended context either fails or is stored, never half.
	err := s.Write(ctx, store.Batch{Traces: []tandem.Trace{plain("a", 2), plain("a", 3)}})
	want := 1
	if err == nil {
		want = 3
	}
	if got := stats(t, s, "a").Traces; got != want {
		t.Errorf("write said %v and %d traces are stored", err, got)
	}
}
