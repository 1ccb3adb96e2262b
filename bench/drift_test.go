package bench

import (
	"math/rand/v2"
	"testing"

	"tandem"
)

func TestDriftSimulated(t *testing.T) {
	d := Drift{Alpha: 0.05, Delta: 0.1, Drift: 0.001, Rate: 0.5, Replays: 200, Audits: 400, Before: 200, Jump: 0.10, Seed: 1}
	var last, total int
	d.Progress = func(done, of int) { last, total = done, of }
	results, err := d.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 8 || last != 400 || total != 400 {
		t.Fatalf("%d results, progress %d of %d", len(results), last, total)
	}
	for _, r := range results {
		t.Logf("%s %s: false %.3f, delay %v", r.Stream, r.Detector, r.FalseAlarms, r.DelayMedian)
		switch {
		case r.Detector == "tandem alarm" && r.FalseAlarms > d.Delta+3*0.0212:
			t.Errorf("%s: false alarms %.3f exceed delta beyond three standard errors", r.Stream, r.FalseAlarms)
		case r.Stream == "null" && r.Detector == "z test" && r.FalseAlarms < 0.3:
			// What the baseline is there to show: peeking breaks it.
			t.Errorf("the peeked z test raised only %.3f false alarms", r.FalseAlarms)
		case r.Stream == "jump" && r.Detector == "tandem alarm" && (*r.Found < 0.95 || *r.DelayMedian > 200):
			t.Errorf("jump found in %.2f of replays, median delay %.0f", *r.Found, *r.DelayMedian)
		}
		if r.Stream == "null" && (r.Found != nil || r.RiskAfter != 0) || r.Stream == "jump" && r.RiskAfter != d.Alpha+d.Jump {
			t.Errorf("parameters of %s: %+v", r.Stream, r)
		}
	}
	again, err := d.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		if again[i].FalseAlarms != results[i].FalseAlarms || again[i].RiskAfter > 0 && *again[i].ExcessErrors != *results[i].ExcessErrors {
			t.Errorf("a second run differs: %+v, %+v", results[i], again[i])
		}
	}
}

func TestReplayCountsFromTheChange(t *testing.T) {
	d := Drift{Alpha: 0.1, Rate: 1}
	s := stream{audits: 10, lead: 5}
	p := pools{before: pool{risk: 0}, after: pool{risk: 1}}
	third := func() detector {
		n := 0
		return func(wrong bool) bool { n += one(wrong); return n == 3 }
	}
	never := func(bool) bool { return false }
	always := func(bool) bool { return true }
	got := d.replay(s, p, []detector{third(), never, always}, rand.New(rand.NewPCG(1, 1)))
	want := []outcome{{found: true, delay: 3, excess: 3 * 0.9}, {delay: 10, excess: 10 * 0.9}, {early: true, delay: -4}}
	for i := range want {
		if got[i].early != want[i].early || got[i].found != want[i].found || got[i].delay != want[i].delay || got[i].excess-want[i].excess > 1e-9 {
			t.Errorf("outcome %d = %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestDriftRefusesBadParameters(t *testing.T) {
	good := Drift{Alpha: 0.05, Delta: 0.1, Drift: 0.001, Rate: 0.5, Replays: 1, Audits: 1, Jump: 0.1}
	for name, spoil := range map[string]func(*Drift){
		"alpha":  func(d *Drift) { d.Alpha = 0 },
		"rate":   func(d *Drift) { d.Rate = 2 },
		"jump":   func(d *Drift) { d.Jump = 0.96 },
		"none":   func(d *Drift) { d.Replays = 0 },
		"splits": func(d *Drift) { d.Splits = -1 },
		"both":   func(d *Drift) { d.Change, d.Source.After = []string{"x.csv"}, "y" },
		"absent": func(d *Drift) { d.Source.Paths = []string{"absent.csv"} },
	} {
		d := good
		spoil(&d)
		if _, err := d.Run(t.Context()); tandem.CodeOf(err) != tandem.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}
