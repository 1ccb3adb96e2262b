package student_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem"
	"tandem/internal/student"
	"tandem/internal/student/all"
	"tandem/internal/student/studenttest"
)

func families() []student.Family {
	return []student.Family{all.Families()["linear"], all.Families()["nearest"]}
}

func fit(t testing.TB, d student.Dataset, threads int) (*student.Student, student.Report) {
	t.Helper()
	s, rep, err := student.Fit(context.Background(), families(), d, student.Options{Seed: 1, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	return s, rep
}

func encode(t testing.TB, s *student.Student) []byte {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFitPredicts(t *testing.T) {
	d := studenttest.Desk(200)
	s, rep := fit(t, d, 2)
	if rep.Agree < 0.95 {
		t.Errorf("agree %v", rep.Agree)
	}
	if len(rep.Scores) != 200 || len(rep.Labels) != 200 || len(rep.Correct) != 200 || rep.Seconds <= 0 {
		t.Errorf("report of %d scores, %d labels, %d marks", len(rep.Scores), len(rep.Labels), len(rep.Correct))
	}
	for i := range d.Rows {
		if rep.Correct[i] != (rep.Labels[i] == d.Rows[i].Label) {
			t.Fatalf("row %d is marked %v", i, rep.Correct[i])
		}
	}
	if !slices.Equal(s.Labels(), d.Labels) || !slices.Equal(s.Families(), []string{"linear", "nearest"}) {
		t.Errorf("labels %v, families %v", s.Labels(), s.Families())
	}
	in := tandem.TextInput("please refund order")
	p := s.Predict(&in)
	if s.Labels()[p.Label] != "refund" || p.Score < 0.5 || p.Score > 1 {
		t.Errorf("prediction %+v", p)
	}
	odd := tandem.TextInput("kqzx wvvu ggh")
	if q := s.Predict(&odd); !(q.Score >= 0 && q.Score < p.Score) {
		t.Errorf("a strange text scores %v, a plain one %v", q.Score, p.Score)
	}
}

func TestFitIsTheSameForAnyThreads(t *testing.T) {
	d := studenttest.Desk(90)
	one, a := fit(t, d, 1)
	four, b := fit(t, d, 4)
	if !bytes.Equal(encode(t, one), encode(t, four)) || !slices.Equal(a.Scores, b.Scores) {
		t.Error("one thread and four give different students")
	}
}

// noisy swaps the label of every nth row.
func noisy(d student.Dataset, n int) student.Dataset {
	for i := range d.Rows {
		if i%n == 0 {
			d.Rows[i].Label = (d.Rows[i].Label + 1) % len(d.Labels)
		}
	}
	return d
}

func TestScoreIsCalibratedOutOfFold(t *testing.T) {
	_, rep := fit(t, noisy(studenttest.Desk(600), 7), 2)
	var said, was float64
	for i, s := range rep.Scores {
		said += s
		if rep.Correct[i] {
			was++
		}
	}
	if n := float64(len(rep.Scores)); math.Abs(said-was)/n > 0.03 {
		t.Errorf("scores average %.3f, agreement is %.3f", said/n, was/n)
	}
}

func TestFitTinyData(t *testing.T) {
	row := func(text string, label int) student.Example {
		return student.Example{Input: tandem.TextInput(text), Label: label, Weight: 1}
	}
	for name, d := range map[string]student.Dataset{
		"one row":     {Labels: []string{"a"}, Rows: []student.Example{row("x", 0)}},
		"two rows":    {Labels: []string{"a", "b"}, Rows: []student.Example{row("x", 0), row("y", 1)}},
		"one label":   {Labels: []string{"a"}, Rows: []student.Example{row("x", 0), row("y", 0), row("z", 0)}},
		"same texts":  {Labels: []string{"a", "b"}, Rows: []student.Example{row("x", 0), row("x", 1), row("x", 0), row("x", 1)}},
		"empty texts": {Labels: []string{"a", "b"}, Rows: []student.Example{row("", 0), row("", 1), row("", 0)}},
		"one group": {Labels: []string{"a", "b"}, Rows: []student.Example{
			{Input: tandem.TextInput("x"), Label: 0, Weight: 1, Group: "g"},
			{Input: tandem.TextInput("y"), Label: 1, Weight: 1, Group: "g"},
		}},
		"rare label": {Labels: []string{"a", "b", "unused"}, Rows: []student.Example{
			row("one", 0), row("two", 0), row("three", 0), row("four", 0), row("five", 0),
			row("six", 0), row("seven", 0), row("eight", 0), row("nine", 0), row("odd one out", 1),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, rep := fit(t, d, 2)
			for i := range d.Rows {
				if sc := rep.Scores[i]; !(sc >= 0 && sc <= 1) {
					t.Errorf("score %v", sc)
				}
				if p := s.Predict(&d.Rows[i].Input); !(p.Score >= 0 && p.Score <= 1) {
					t.Errorf("prediction %+v", p)
				}
			}
			if _, err := student.Load(all.Families(), encode(t, s)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGroupsStayTogether hides the label in a word that only one group has:
// out of fold such rows cannot be predicted.
func TestGroupsStayTogether(t *testing.T) {
	d := student.Dataset{Labels: []string{"a", "b"}}
	for g := range 40 {
		for range 5 {
			d.Rows = append(d.Rows, student.Example{
				Input: tandem.TextInput(fmt.Sprintf("q%dz%dx", g*7919, g*104729)), Label: g * 31 % 7 % 2, Weight: 1,
				Group: fmt.Sprint("session ", g),
			})
		}
	}
	_, together := fit(t, d, 1)
	for i := range d.Rows {
		d.Rows[i].Group = ""
	}
	_, apart := fit(t, d, 1)
	if apart.Agree < 0.95 || together.Agree > 0.8 {
		t.Errorf("agreement %v with groups, %v without", together.Agree, apart.Agree)
	}
}

func TestFitRefuses(t *testing.T) {
	good := studenttest.Desk(8)
	bad := func(f func(e *student.Example)) student.Dataset {
		d := student.Dataset{Labels: good.Labels, Rows: slices.Clone(good.Rows)}
		f(&d.Rows[3])
		return d
	}
	for name, d := range map[string]student.Dataset{
		"no rows":   {Labels: []string{"a"}},
		"no labels": {Rows: good.Rows},
		"label":     bad(func(e *student.Example) { e.Label = 4 }),
		"minus":     bad(func(e *student.Example) { e.Label = -1 }),
		"weight":    bad(func(e *student.Example) { e.Weight = 0 }),
		"nan":       bad(func(e *student.Example) { e.Weight = float32(math.NaN()) }),
	} {
		if _, _, err := student.Fit(context.Background(), families(), d, student.Options{Threads: 1}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, _, err := student.Fit(context.Background(), nil, good, student.Options{Threads: 1}); err == nil {
		t.Error("no families: no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := student.Fit(ctx, families(), studenttest.Desk(3000), student.Options{Threads: 2}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestFitReportsProgress(t *testing.T) {
	last := 0.0
	opt := student.Options{Threads: 2, Progress: func(done float64) {
		if done < last || done > 1 {
			t.Errorf("progress goes from %v to %v", last, done)
		}
		last = done
	}}
	if _, _, err := student.Fit(context.Background(), families(), studenttest.Desk(100), opt); err != nil {
		t.Fatal(err)
	}
	if last != 1 {
		t.Errorf("progress ends at %v", last)
	}
}

func TestPredictAllocatesNothing(t *testing.T) {
	s, _ := fit(t, studenttest.Desk(100), 1)
	in := tandem.TextInput("please refund the parcel that never arrived")
	s.Predict(&in)
	if n := testing.AllocsPerRun(1000, func() { s.Predict(&in) }); n >= 1 && !studenttest.Race {
		t.Errorf("%v allocations", n)
	}
}

func TestPredictByMany(t *testing.T) {
	d := studenttest.Desk(60)
	s, _ := fit(t, d, 1)
	want := make([]student.Prediction, len(d.Rows))
	for i := range want {
		want[i] = s.Predict(&d.Rows[i].Input)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range want {
				if got := s.Predict(&d.Rows[i].Input); got != want[i] {
					t.Errorf("row %d: %+v, want %+v", i, got, want[i])
				}
			}
		})
	}
	wg.Wait()
}

func TestUpdateKeepsTheReceiver(t *testing.T) {
	s, _ := fit(t, studenttest.Desk(80), 1)
	before := encode(t, s)
	in := tandem.TextInput("quantum flux overheats")
	var rows []student.Example
	for range 10 {
		rows = append(rows, student.Example{Input: in, Label: 2, Weight: 1})
	}
	next, err := s.Update(rows)
	if err != nil {
		t.Fatal(err)
	}
	if next.Predict(&in).Label != 2 {
		t.Errorf("not learnt: %+v", next.Predict(&in))
	}
	if !bytes.Equal(before, encode(t, s)) {
		t.Error("the receiver changed")
	}
	if _, err := s.Update([]student.Example{{Input: in, Label: 99, Weight: 1}}); err == nil {
		t.Error("an unknown label is accepted")
	}
}

func TestArtefactRoundTrip(t *testing.T) {
	d := studenttest.Desk(90)
	s, _ := fit(t, d, 1)
	blob := encode(t, s)
	back, err := student.Load(all.Families(), blob)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Rows {
		if a, b := s.Predict(&d.Rows[i].Input), back.Predict(&d.Rows[i].Input); a != b {
			t.Fatalf("row %d: %+v before, %+v after", i, a, b)
		}
	}
	if !bytes.Equal(blob, encode(t, back)) {
		t.Error("encoding again gives different bytes")
	}
}

// seal gives damaged content a matching length and checksum.
func seal(b []byte) []byte {
	b = slices.Clone(b[:len(b)-sha256.Size])
	binary.LittleEndian.PutUint64(b[16:], uint64(len(b)-24))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func TestLoadRefuses(t *testing.T) {
	s, _ := fit(t, studenttest.Desk(20), 1)
	blob := encode(t, s)
	edit := func(f func(b []byte)) []byte { b := slices.Clone(blob); f(b); return b }
	for name, c := range map[string]struct {
		blob []byte
		want string
	}{
		"nothing":      {nil, "too few"},
		"cut":          {blob[:len(blob)/2], "cut short"},
		"longer":       {append(slices.Clone(blob), 1), "cut short"},
		"other file":   {edit(func(b []byte) { b[0] = 'X' }), "not a student"},
		"version":      {edit(func(b []byte) { b[8] = 9 }), "version 9"},
		"reserved":     {edit(func(b []byte) { b[12] = 1 }), "reserved"},
		"length":       {edit(func(b []byte) { b[23] = 0xff }), "announced"},
		"flipped bit":  {edit(func(b []byte) { b[len(b)/2] ^= 4 }), "checksum"},
		"no labels":    {seal(edit(func(b []byte) { b[24] = 0 })), "labels"},
		"many labels":  {seal(edit(func(b []byte) { b[27] = 0xff })), "labels"},
		"sealed, cut":  {seal(blob[:len(blob)-40]), "cut short"},
		"sealed, long": {seal(append(slices.Clone(blob), make([]byte, 40)...)), "left over"},
	} {
		_, err := student.Load(all.Families(), c.blob)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if _, err := student.Load(map[string]student.Family{}, blob); err == nil || !strings.Contains(err.Error(), `"linear"`) {
		t.Errorf("a missing family: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	s, _, err := student.Fit(context.Background(), families(), studenttest.Desk(12), student.Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	blob, err := s.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Add(blob[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 24+sha256.Size {
			b = seal(b) // let the fuzzer past the checksum
			copy(b, blob[:16])
			b = seal(b)
		}
		s, err := student.Load(all.Families(), b)
		if err != nil {
			return
		}
		in := tandem.TextInput("where is my parcel")
		if p := s.Predict(&in); p.Label < 0 || p.Label >= len(s.Labels()) || !(p.Score >= 0 && p.Score <= 1) {
			t.Fatalf("prediction %+v", p)
		}
	})
}

func BenchmarkPredict(b *testing.B) {
	s, _ := fit(b, studenttest.Desk(400), 1)
	in := tandem.TextInput("where is my parcel, i ordered it two weeks ago")
	b.ReportAllocs()
	for b.Loop() {
		s.Predict(&in)
	}
}

func BenchmarkFit(b *testing.B) {
	d := studenttest.Desk(400)
	for b.Loop() {
		fit(b, d, 2)
	}
}
