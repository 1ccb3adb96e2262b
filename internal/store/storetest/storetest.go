// Package storetest is the conformance suite of store.Store: every
// implementation calls Run from its own tests.
package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/store"
)

// Run checks a store against its contract. open returns a new, empty store
// for each subtest and arranges its closing.
func Run(t *testing.T, open func(*testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"RoundTrip", testRoundTrip},
		{"HostileStrings", testHostileStrings},
		{"UnstorableNumbers", testUnstorableNumbers},
		{"Microseconds", testMicroseconds},
		{"WriteTwice", testWriteTwice},
		{"WriteRefused", testWriteRefused},
		{"Labels", testLabels},
		{"LabelsOfTheSameBatch", testLabelsOfTheSameBatch},
		{"LabelOfUnknownTrace", testLabelOfUnknownTrace},
		{"Order", testOrder},
		{"Filters", testFilters},
		{"Paging", testPaging},
		{"Audited", testAudited},
		{"StopEarly", testStopEarly},
		{"LargeInputs", testLargeInputs},
		{"Stats", testStats},
		{"Expire", testExpire},
		{"ConcurrentTraces", testConcurrentTraces},
		{"EndedContext", testEndedContext},
		{"Versions", testVersions},
		{"VersionNames", testVersionNames},
		{"Artefacts", testArtefacts},
		{"DropArtefacts", testDropArtefacts},
		{"SetStages", testSetStages},
		{"SetStagesAllOrNothing", testSetStagesAllOrNothing},
		{"OneServes", testOneServes},
		{"ConcurrentVersions", testConcurrentVersions},
		{"Events", testEvents},
		{"Settings", testSettings},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// epoch is when the test traces begin.
func epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// plain is the i-th trace of a task, a second after the one before, answered
// by the teacher.
func plain(task string, i int) tandem.Trace {
	return tandem.Trace{
		ID: fmt.Sprintf("%s-%06d", task, i), Task: task, Time: epoch().Add(time.Duration(i) * time.Second),
		Input: tandem.TextInput(fmt.Sprintf("message %d", i)), Source: tandem.Live,
		Answer: "refund", Step: tandem.ProviderStep, Model: "large", Reason: tandem.LastStep, Score: 1,
		Certified: true, CostUSD: 0.5, Propensity: 1, Labelled: true, Teacher: "refund", TeacherModel: "large-1",
	}
}

// served is the i-th trace of a task, answered by a student.
func served(task, version string, i int) tandem.Trace {
	t := plain(task, i)
	t.Step, t.Model, t.Reason, t.Score = tandem.StudentStep, version, tandem.Accepted, 0.97
	t.Labelled, t.Teacher, t.TeacherModel, t.CostUSD, t.SavedUSD = false, "", "", 0, 0.25
	t.Propensity, t.Student, t.StudentModel = 0.02, "refund", version
	return t
}

// full is a trace with every field set.
func full() tandem.Trace {
	return tandem.Trace{
		ID: "0192f7c4-aaaa-7000-8000-000000000001", Task: "support", Time: epoch().Add(123456 * time.Microsecond),
		Session: "5e551", Source: tandem.Imported,
		Input: tandem.Input{Parts: []tandem.Part{
			{Kind: tandem.Text, Text: "is this a duck?"},
			{Kind: tandem.Image, MIME: "image/png", Data: []byte{0, 1, 2, 255}},
			{Kind: tandem.Image, URL: "https://example.com/duck.png"},
			{Kind: tandem.Audio, MIME: "audio/wav", Data: []byte("RIFF")},
			{Kind: "smell", Text: "pond"},
		}},
		Answer: "duck", Step: tandem.StudentStep, Model: "v3", Score: 0.875, Certified: true, Reason: tandem.Accepted,
		CostUSD: 0.125, SavedUSD: 0.0625, Took: 1234567 * time.Nanosecond, Student: "duck", StudentModel: "v3",
		Propensity: 0.03125, Audit: true, Labelled: true, Teacher: "goose", TeacherModel: "large-1",
		OutsideSpace: true, TeacherAgain: "duck", Gold: "duck", Feedback: "it quacks",
	}
}

func write(t *testing.T, s store.Store, b store.Batch) {
	t.Helper()
	if err := s.Write(t.Context(), b); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func get(t *testing.T, s store.Store, id string) tandem.Trace {
	t.Helper()
	tr, err := s.Trace(t.Context(), id)
	if err != nil {
		t.Fatalf("read trace %.40q: %v", id, err)
	}
	return tr
}

func list(t *testing.T, s store.Store, q store.Query) []tandem.Trace {
	t.Helper()
	var out []tandem.Trace
	for tr, err := range s.Traces(t.Context(), q) {
		if err != nil {
			t.Fatalf("list %+v: %v", q, err)
		}
		out = append(out, tr)
	}
	return out
}

func ids(traces []tandem.Trace) []string {
	out := make([]string, len(traces))
	for i := range traces {
		out[i] = traces[i].ID
	}
	return out
}

func wantIDs(t *testing.T, s store.Store, q store.Query, want ...string) {
	t.Helper()
	if got := ids(list(t, s, q)); !slices.Equal(got, want) {
		t.Errorf("list %+v:\n got %s\nwant %s", q, strings.Join(got, " "), strings.Join(want, " "))
	}
}

func wantCode(t *testing.T, err error, code tandem.Code) {
	t.Helper()
	if got := tandem.CodeOf(err); got != code {
		t.Errorf("got error %v (code %q), want code %q", err, got, code)
	}
}

func stats(t *testing.T, s store.Store, task string) store.TaskStats {
	t.Helper()
	st, err := s.Stats(t.Context(), task)
	if err != nil {
		t.Fatalf("stats of %s: %v", task, err)
	}
	return st
}
