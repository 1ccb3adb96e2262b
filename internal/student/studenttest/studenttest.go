// Package studenttest is the conformance suite of the student.Family contract.
// A family's tests call Run once.
package studenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem"
	"tandem/internal/student"
)

// Run checks a family of text members against the contract.
func Run(t *testing.T, family student.Family) {
	t.Helper()
	for name, f := range map[string]func(*testing.T, student.Family){
		"name and fit":           fits,
		"learns":                 learns,
		"same for any threads":   deterministic,
		"cancellation":           cancelled,
		"progress":               progress,
		"no allocations":         allocations,
		"concurrent predictions": concurrent,
		"view":                   view,
		"round trip":             roundTrip,
		"refuses bad blobs":      corrupted,
		"weights matter":         weights,
		"few labels and rows":    small,
		"odd texts":              odd,
		"refuses bad data":       badData,
		"update":                 update,
	} {
		t.Run(name, func(t *testing.T) { f(t, family) })
	}
}

// Desk is a made-up support desk of four labels, rows in turn.
func Desk(rows int) student.Dataset {
	phrases := [][]string{
		{"where is my parcel", "my package has not arrived yet", "track the delivery of order"},
		{"i want my money back", "please refund order", "how do i get a refund for item"},
		{"cancel my subscription", "stop billing me for plan", "please end my contract"},
		{"i cannot log in", "my password does not work", "reset the login of account"},
	}
	d := student.Dataset{Labels: []string{"delivery", "refund", "cancel", "login"}}
	for i := range rows {
		k := i % len(phrases)
		text := fmt.Sprintf("%s %d", phrases[k][i/len(phrases)%len(phrases[k])], i*7919%97)
		d.Rows = append(d.Rows, student.Example{Input: tandem.TextInput(text), Label: k, Weight: 1})
	}
	return d
}

func train(t *testing.T, f student.Family, d student.Dataset, threads int) student.Member {
	t.Helper()
	m, err := f.Train(context.Background(), d, student.Options{Seed: 7, Threads: threads})
	if err != nil {
		t.Fatalf("train: %v", err)
	}
	if m.Classes() != len(d.Labels) {
		t.Fatalf("%d classes, want %d", m.Classes(), len(d.Labels))
	}
	return m
}

// ask predicts and checks that the output is well formed.
func ask(t *testing.T, m student.Member, text string) student.Output {
	t.Helper()
	in := tandem.TextInput(text)
	var out student.Output
	m.Predict(&in, &out)
	if len(out.Probs) != m.Classes() {
		t.Fatalf("%d probabilities, want %d", len(out.Probs), m.Classes())
	}
	var sum float64
	for k, p := range out.Probs {
		if !(p >= 0 && p <= 1.0001) {
			t.Fatalf("probability %d is %v for %.40q", k, p, text)
		}
		sum += float64(p)
	}
	if sum != 0 && math.Abs(sum-1) > 1e-4 {
		t.Fatalf("probabilities sum to %v for %.40q", sum, text)
	}
	for what, v := range map[string]float32{"novelty": out.Novelty, "unseen": out.Unseen} {
		if !(v >= 0 && v <= 1) {
			t.Fatalf("%s is %v for %.40q", what, v, text)
		}
	}
	return out
}

func best(o student.Output) int {
	k := 0
	for i, p := range o.Probs {
		if p > o.Probs[k] {
			k = i
		}
	}
	return k
}

func equal(a, b student.Output) bool {
	return slices.Equal(a.Probs, b.Probs) && a.Novelty == b.Novelty && a.Unseen == b.Unseen
}

func encode(t *testing.T, m student.Member) []byte {
	t.Helper()
	b, err := m.MarshalBinary()
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return b
}

func fits(t *testing.T, f student.Family) {
	if f.Name() == "" || f.Name() != strings.ToLower(f.Name()) {
		t.Errorf("name %q is not a lower-case word", f.Name())
	}
	if err := f.Fits(tandem.Task{}); err != nil {
		t.Errorf("a text task: %v", err)
	}
	if f.Fits(tandem.Task{Takes: []tandem.Kind{tandem.Text, tandem.Image}}) == nil {
		t.Error("accepts images")
	}
}

func learns(t *testing.T, f student.Family) {
	d := Desk(120)
	m := train(t, f, d, 1)
	for text, want := range map[string]int{
		"my parcel has not arrived":        0,
		"give me a refund, i want money":   1,
		"please cancel the subscription":   2,
		"my login and password don't work": 3,
	} {
		if got := best(ask(t, m, text)); got != want {
			t.Errorf("%q: label %d, want %d", text, got, want)
		}
	}
	known, strange := ask(t, m, "where is my parcel"), ask(t, m, "zwölf Boxkämpfer jagen Viktor")
	if seen := max(strange.Unseen, known.Unseen); seen > 0 && strange.Unseen <= known.Unseen { // 0 of both: no notion of it
		t.Errorf("unseen share is %v for a strange text, %v for a known one", strange.Unseen, known.Unseen)
	}
	if strange.Novelty < known.Novelty {
		t.Errorf("novelty is %v for a strange text, %v for a known one", strange.Novelty, known.Novelty)
	}
}

func deterministic(t *testing.T, f student.Family) {
	d := Desk(150)
	one, four := encode(t, train(t, f, d, 1)), encode(t, train(t, f, d, 4))
	if !bytes.Equal(one, four) {
		t.Error("one thread and four give different members")
	}
	if !bytes.Equal(one, encode(t, train(t, f, d, 1))) {
		t.Error("two trainings give different members")
	}
}

func cancelled(t *testing.T, f student.Family) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Train(ctx, Desk(2000), student.Options{Threads: 2}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func progress(t *testing.T, f student.Family) {
	last, busy := 0.0, false // unguarded on purpose: the race detector watches
	opt := student.Options{Threads: 4, Progress: func(done float64) {
		if busy {
			t.Error("progress is told by two goroutines at a time")
		}
		busy = true
		if done < last || done > 1 {
			t.Errorf("progress goes from %v to %v", last, done)
		}
		last, busy = done, false
	}}
	if _, err := f.Train(context.Background(), Desk(100), opt); err != nil {
		t.Fatal(err)
	}
	if last < 0.999 {
		t.Errorf("progress ends at %v", last)
	}
}

func allocations(t *testing.T, f student.Family) {
	m := train(t, f, Desk(100), 1)
	in := tandem.TextInput("please refund the parcel that never arrived")
	var out student.Output
	m.Predict(&in, &out)
	// A collection during the run may empty a pool once; more than that is
	// an allocation per prediction.
	if n := testing.AllocsPerRun(1000, func() { m.Predict(&in, &out) }); n >= 1 && !Race {
		t.Errorf("%v allocations per prediction", n)
	}
}

func concurrent(t *testing.T, f student.Family) {
	d := Desk(100)
	m := train(t, f, d, 1)
	want := make([]student.Output, len(d.Rows))
	for i := range d.Rows {
		m.Predict(&d.Rows[i].Input, &want[i])
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			var out student.Output
			for i := range d.Rows {
				i = (i + w*13) % len(d.Rows)
				m.Predict(&d.Rows[i].Input, &out)
				if !equal(out, want[i]) {
					t.Errorf("row %d differs when asked by many", i)
					return
				}
			}
		})
	}
	wg.Wait()
}

func view(t *testing.T, f student.Family) {
	d := Desk(60)
	m, ok := train(t, f, d, 1).(student.Viewer)
	if !ok {
		t.Skip("the family shares no view")
	}
	v := m.NewView()
	for i := range d.Rows {
		var direct, shared student.Output
		m.Predict(&d.Rows[i].Input, &direct)
		v.Fill(&d.Rows[i].Input)
		m.PredictView(v, &shared)
		if !equal(direct, shared) {
			t.Fatalf("row %d differs through the view", i)
		}
	}
}

func roundTrip(t *testing.T, f student.Family) {
	d := Desk(80)
	m := train(t, f, d, 1)
	blob := encode(t, m)
	back, err := f.Load(blob)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	for _, text := range append(oddTexts(), "where is my parcel", "refund it") {
		if a, b := ask(t, m, text), ask(t, back, text); !equal(a, b) {
			t.Errorf("%.40q: %+v before, %+v after", text, a, b)
		}
	}
	if !bytes.Equal(blob, encode(t, back)) {
		t.Error("encoding again gives different bytes")
	}
}

// corrupted checks that damage is an error or a working member, never a
// panic. (The artefact's checksum catches what a family cannot see.)
func corrupted(t *testing.T, f student.Family) {
	blob := encode(t, train(t, f, Desk(20), 1))
	for n := 0; n < len(blob); n += 1 + n/16 {
		if _, err := f.Load(blob[:n]); err == nil {
			t.Fatalf("loads the first %d of %d bytes", n, len(blob))
		}
	}
	if _, err := f.Load(append(slices.Clone(blob), 0)); err == nil {
		t.Error("loads with a byte left over")
	}
	for at := 0; at < len(blob); at += 1 + at/64 {
		for _, b := range []byte{0, 0x7f, 0xff} {
			bad := slices.Clone(blob)
			bad[at] = b
			if m, err := f.Load(bad); err == nil {
				in := tandem.TextInput("where is my parcel")
				var out student.Output
				m.Predict(&in, &out)
			}
		}
	}
	huge := slices.Clone(blob)
	for i := range min(len(huge), 64) {
		huge[i] = 0xff
	}
	if _, err := f.Load(huge); err == nil {
		t.Error("loads absurd sizes")
	}
}

func weights(t *testing.T, f student.Family) {
	d := student.Dataset{Labels: []string{"no", "yes"}}
	for range 6 {
		d.Rows = append(d.Rows,
			student.Example{Input: tandem.TextInput("is it so"), Label: 0, Weight: 4},
			student.Example{Input: tandem.TextInput("is it so"), Label: 1, Weight: 0.25})
	}
	if got := ask(t, train(t, f, d, 1), "is it so"); got.Probs[0] <= 0.7 {
		t.Errorf("heavy rows say no, the member gives it %v", got.Probs[0])
	}
	for i := range d.Rows {
		d.Rows[i].Weight = 4.25 - d.Rows[i].Weight
	}
	if got := ask(t, train(t, f, d, 1), "is it so"); got.Probs[1] <= 0.7 {
		t.Errorf("heavy rows say yes, the member gives it %v", got.Probs[1])
	}
}

func small(t *testing.T, f student.Family) {
	one := student.Dataset{Labels: []string{"only"}, Rows: []student.Example{{Input: tandem.TextInput("hello"), Weight: 1}}}
	if got := ask(t, train(t, f, one, 2), "hello"); got.Probs[0] < 0.99 {
		t.Errorf("the only label has probability %v", got.Probs[0])
	}
	rare := Desk(41)
	rare.Labels = append(rare.Labels, "once", "never")
	rare.Rows[40] = student.Example{Input: tandem.TextInput("sing me a song"), Label: 4, Weight: 1}
	m := train(t, f, rare, 2)
	if got := best(ask(t, m, "sing me a song")); got != 4 {
		t.Errorf("a label with one row is not recognised: %d", got)
	}
	if got := ask(t, m, "where is my parcel"); best(got) != 0 {
		t.Errorf("label %d", best(got))
	}
}

// oddTexts are texts that break careless code.
func oddTexts() []string {
	return []string{
		"", " ", "\x00", "a", "?!", "🙂", "🙂🙂🙂 👩‍👩‍👧‍👦 e\u0301\u0301\u0301", "\xff\xfe\xc3(", "日本語のテキスト",
		"İSTANBUL ǅ ﬁ ß ẞ", "'''", "don't", strings.Repeat("a", 1<<20), strings.Repeat("parcel ", 1<<17),
		strings.Repeat("\xf0\x9f\x99", 5000), strings.Repeat("x\n\t ", 10000), "\u202eright to left\u202c",
	}
}

func odd(t *testing.T, f student.Family) {
	m := train(t, f, Desk(40), 1)
	for _, text := range oddTexts() {
		if a, b := ask(t, m, text), ask(t, m, text); !equal(a, b) {
			t.Errorf("%.40q: two answers", text)
		}
	}
	var out student.Output
	for _, in := range []tandem.Input{
		{},
		{Parts: []tandem.Part{{Kind: tandem.Image, Data: []byte{1}}}},
		{Parts: []tandem.Part{{Kind: tandem.Text, Text: "where is"}, {Kind: tandem.Text, Text: "my parcel"}}},
	} {
		m.Predict(&in, &out)
		if len(out.Probs) != m.Classes() {
			t.Errorf("%d probabilities", len(out.Probs))
		}
	}
	if best(out) != 0 {
		t.Error("two text parts are not read together")
	}
	d := Desk(20)
	for i, text := range oddTexts() {
		d.Rows = append(d.Rows, student.Example{Input: tandem.TextInput(text), Label: i % 4, Weight: 1})
	}
	train(t, f, d, 2)
}

func badData(t *testing.T, f student.Family) {
	ctx := context.Background()
	if _, err := f.Train(ctx, student.Dataset{}, student.Options{Threads: 1}); err == nil {
		t.Error("trains on nothing")
	}
	if _, err := f.Train(ctx, student.Dataset{Labels: []string{"a"}}, student.Options{Threads: 1}); err == nil {
		t.Error("trains without rows")
	}
}

func update(t *testing.T, f student.Family) {
	d := Desk(40)
	m, ok := train(t, f, d, 1).(student.Updater)
	if !ok {
		t.Skip("the family cannot learn from single rows")
	}
	before := encode(t, m)
	rows := []student.Example{}
	for range 8 {
		rows = append(rows, student.Example{Input: tandem.TextInput("quantum flux overheats"), Label: 3, Weight: 1})
	}
	next, err := m.Update(rows)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	if !bytes.Equal(before, encode(t, m)) {
		t.Error("the receiver changed")
	}
	if got := ask(t, next, "quantum flux overheats"); best(got) != 3 || got.Unseen > 0.01 {
		t.Errorf("the new rows are not learnt: %+v", got)
	}
	if got := best(ask(t, next, "where is my parcel")); got != 0 {
		t.Errorf("the old rows are forgotten: label %d", got)
	}
	if back, err := f.Load(encode(t, next)); err != nil || !equal(ask(t, back, "quantum"), ask(t, next, "quantum")) {
		t.Errorf("an updated member does not survive its encoding: %v", err)
	}
	for name, row := range map[string]student.Example{
		"label":  {Input: tandem.TextInput("x"), Label: 4, Weight: 1},
		"minus":  {Input: tandem.TextInput("x"), Label: -1, Weight: 1},
		"weight": {Input: tandem.TextInput("x"), Label: 0},
	} {
		if _, err := m.Update([]student.Example{row}); err == nil {
			t.Errorf("%s: a bad row is accepted", name)
		}
	}
	if same, err := m.Update(nil); err != nil || same.Classes() != 4 {
		t.Errorf("update with no rows: %v", err)
	}
}
