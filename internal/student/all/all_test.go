package all_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"tandem"
	"tandem/internal/student"
	"tandem/internal/student/all"
)

// desk is a small support desk: rows rows over four labels.
func desk(rows int) student.Dataset {
	parts := [][]string{
		{"where is my parcel", "my package has not arrived", "track the delivery of order"},
		{"i want my money back", "please refund order", "how do i get a refund for"},
		{"cancel my subscription", "stop billing me for plan", "please end my contract"},
		{"i cannot log in", "my password does not work", "reset the login for account"},
	}
	d := student.Dataset{Labels: []string{"delivery", "refund", "cancel", "login"}}
	for i := range rows {
		k := i % len(parts)
		text := fmt.Sprintf("%s %d", parts[k][i/4%3], i*7919%97)
		d.Rows = append(d.Rows, student.Example{Input: tandem.TextInput(text), Label: k, Weight: 1})
	}
	return d
}

func fit(t *testing.T, d student.Dataset, threads int) (*student.Student, student.Report) {
	t.Helper()
	var fams []student.Family
	for _, name := range []string{"linear", "nearest"} {
		fams = append(fams, all.Families()[name])
	}
	s, rep, err := student.Fit(context.Background(), fams, d, student.Options{Seed: 1, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	return s, rep
}

func TestFitPredictLoad(t *testing.T) {
	d := desk(200)
	s, rep := fit(t, d, 2)
	if rep.Agree < 0.95 {
		t.Fatalf("agree %v", rep.Agree)
	}
	in := tandem.TextInput("please give me a refund")
	p := s.Predict(&in)
	if s.Labels()[p.Label] != "refund" || p.Score < 0.5 || p.Score > 1 {
		t.Fatalf("prediction %+v", p)
	}
	blob, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back, err := student.Load(all.Families(), blob)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Rows {
		if a, b := s.Predict(&d.Rows[i].Input), back.Predict(&d.Rows[i].Input); a != b {
			t.Fatalf("row %d: %+v before, %+v after", i, a, b)
		}
	}
	again, rep2 := fit(t, d, 1)
	other, _ := again.MarshalBinary()
	if !slices.Equal(blob, other) || !slices.Equal(rep.Scores, rep2.Scores) {
		t.Fatal("one thread and two give different students")
	}
	if n := testing.AllocsPerRun(100, func() { s.Predict(&in) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
