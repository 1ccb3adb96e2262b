package bench

import (
	"context"
	"errors"
	"math"
	"testing"

	"tandem"
	"tandem/internal/student/all"
)

func coldStart(t *testing.T, rows int) Stream {
	t.Helper()
	return Stream{
		Source: Source{Paths: []string{parcels(t, "rows.csv", rows, 1)}, Text: "text", Teacher: "teacher", Gold: "gold"},
		Alpha:  0.1, Delta: 0.1, Audit: 0.1, Price: 0.002, Lambdas: []float64{0.05, 0.5}, Shuffles: 2, Points: 10,
		Families: all.Families(), Names: []string{"linear"},
	}
}

func TestStreamLearnsFromNothing(t *testing.T) {
	s := coldStart(t, 1500)
	last, total := 0, 0
	s.Progress = func(done, of int) { last, total = done, of }
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if last != 3000 || total != 3000 {
		t.Errorf("progress %d of %d", last, total)
	}
	if r.Rows != 1500 || r.Labels != 3 || r.LeftOut.Unlabeled != 1 || len(r.Curve) != 10 || r.DiscountedAgainst != "gold" {
		t.Errorf("parameters: %+v", r)
	}
	begin, end := r.Curve[0], r.Curve[9]
	if begin.Served != 0 || end.Served < 0.5 || end.Requests != 1500 || end.Calls >= 1 {
		t.Errorf("curve from %+v to %+v", begin, end)
	}
	// Before anything is learnt every request is a call; the first training
	// needs 150 labels.
	if r.FirstServed.Mean < 150 || r.FirstServed.Mean > 1000 || r.Promotions.Mean < 1 {
		t.Errorf("first served after %+v, promotions %+v", r.FirstServed, r.Promotions)
	}
	if r.Disagreement.Mean > 0.1 || r.Agreement.Mean < 1-r.Served.Mean*0.1 {
		t.Errorf("disagreement %+v, agreement %+v", r.Disagreement, r.Agreement)
	}
	// Calls are what was not served, and the audits.
	audits := r.Calls.Mean - (1 - r.Served.Mean)
	if audits < 0.05*r.Served.Mean || audits > 0.2*r.Served.Mean {
		t.Errorf("served %.3f, calls %.3f", r.Served.Mean, r.Calls.Mean)
	}
	if math.Abs(r.CostUSD.Mean-r.Calls.Mean*1500*0.002) > 1e-9 || math.Abs(r.CostUSD.Mean-end.CostUSD) > 1e-9 {
		t.Errorf("cost %g", r.CostUSD.Mean)
	}
	for _, d := range r.Discounted {
		if want := r.Accuracy.Mean - d.Lambda*r.Calls.Mean; math.Abs(d.Tandem.Mean-want) > 1e-9 {
			t.Errorf("discounted at %g: %g, want %g", d.Lambda, d.Tandem.Mean, want)
		}
		if want := r.TeacherGold.Mean - d.Lambda; math.Abs(d.Always-want) > 1e-9 {
			t.Errorf("always asking at %g: %g, want %g", d.Lambda, d.Always, want)
		}
	}
}

func TestStreamRepeatsAndSeeds(t *testing.T) {
	s := coldStart(t, 400)
	s.Shuffles = 1
	plain, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if plain.Calls != again.Calls || plain.Accuracy.Mean != again.Accuracy.Mean || plain.FirstServed != again.FirstServed {
		t.Errorf("two runs differ: %+v, %+v", plain, again)
	}
	s.Seeds, s.SeedLabel = write(t, "seeds.csv", "text,name\nwhere is my parcel,track\nrefund me please,refund\nlogin broken,other\n"), "name"
	seeded, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if seeded.SeedRows != 3 || seeded.Labels != 4 {
		t.Errorf("seeded: %+v", seeded)
	}
}

func TestStreamRefusals(t *testing.T) {
	for name, spoil := range map[string]func(*Stream){
		"alpha":  func(s *Stream) { s.Alpha = 0 },
		"audit":  func(s *Stream) { s.Audit = 0 },
		"none":   func(s *Stream) { s.Shuffles = 0 },
		"price":  func(s *Stream) { s.Price = math.NaN() },
		"seeds":  func(s *Stream) { s.Seeds = "absent.csv" },
		"family": func(s *Stream) { s.Names = []string{"oak"} },
	} {
		s := coldStart(t, 30)
		spoil(&s)
		if _, err := s.Run(t.Context()); tandem.CodeOf(err) != tandem.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := coldStart(t, 30).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
