package trace

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/store"
	"tandem/internal/store/sqlite"
)

// TestOnSQLite joins the log with the real database: a record is durable when
// it says so, a file imported twice is stored once, and an export of it
// imports unchanged into an empty database.
func TestOnSQLite(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := New(s, Options{})
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()

	deadline, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	x := item(1)
	x.Time = time.UnixMicro(1_772_366_400_000_000).UTC()
	if got := l.Record(deadline, x); got != tandem.Stored {
		t.Errorf("recorded %s", got)
	}
	if _, err := s.Trace(t.Context(), x.ID); err != nil {
		t.Errorf("a stored trace is not there: %v", err)
	}
	if err := l.Label(deadline, store.Label{TraceID: x.ID, Teacher: "refund"}); err != nil {
		t.Error(err)
	}
	file := strings.Repeat(`{"input":"where is my money?","teacher":"refund"}`+"\n", 2500)
	for range 2 {
		rows, rep := read(t, desk(), ReadOptions{Start: time.UnixMicro(1_772_366_400_000_000)}, file)
		if rep.Err() != nil {
			t.Fatal(rep.Err())
		}
		for _, row := range rows {
			if got := l.Append(row); got != tandem.Queued {
				t.Fatalf("append said %s", got)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if st, err := s.Stats(t.Context(), "desk"); err != nil || st.Traces != 2500 || st.Labelled != 2500 {
		t.Errorf("stored %+v, %v; want 2,500 traces", st, err)
	}
	if got, err := s.Trace(t.Context(), x.ID); err != nil || got.Teacher != "refund" {
		t.Errorf("the label is lost: %+v, %v", got, err)
	}
	var out bytes.Buffer
	if n, err := Export(&out, s.Traces(t.Context(), store.Query{Task: "desk"})); err != nil || n != 2500 {
		t.Errorf("exported %d, %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copied, rep := read(t, desk(), ReadOptions{}, out.String())
	if rep.Err() != nil || len(copied) != 2500 || !copied[7].Time.Equal(time.UnixMicro(1_772_366_400_000_007)) {
		t.Errorf("imported %d, %v", len(copied), rep.Err())
	}
}
