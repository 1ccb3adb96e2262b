package certify

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// violations counts the runs in which Certify takes a threshold whose true
// risk exceeds alpha, and those in which it certifies at all.
func violations(w world, grid []float64, n, runs int, alpha, delta float64, seed uint64, spoil func([]Row)) (bad, ok int, method string) {
	rng := rand.New(rand.NewPCG(seed, 1))
	rows := make([]Row, n)
	for range runs {
		w.sample(rng, rows)
		if spoil != nil {
			spoil(rows)
		}
		res := Certify(rows, grid, Test{Alpha: alpha, Delta: delta})
		method = res.Method
		if !res.OK {
			continue
		}
		ok++
		if w.risk(res.Threshold) > alpha {
			bad++
		}
	}
	return bad, ok, method
}

// edge is a risk a hair over alpha everywhere: every certificate is false.
func edge(alpha float64) func(float64) float64 { return constant(alpha * 1.0001) }

// dip is a risk that is too high at the very top, where the student is
// confidently wrong, and right below; the selective risk is not monotone.
func dip(alpha float64) func(float64) float64 {
	return func(s float64) float64 {
		if s > 0.9 {
			return alpha * 1.05
		}
		return alpha * (0.4 + 2.2*(0.9-s))
	}
}

func TestBinomialCoverage10000Runs(t *testing.T) {
	t.Parallel()
	runs := scaled(t, 10_000)
	for i, c := range []struct {
		name         string
		wrong        func(float64) float64
		n            int
		alpha, delta float64
		from         float64
	}{
		{"edge", edge(0.05), 300, 0.05, 0.1, 0.5},
		{"edge", edge(0.1), 1000, 0.1, 0.1, 0.5},
		{"edge", edge(0.02), 1000, 0.02, 0.05, 0.2},
		{"edge", edge(0.2), 200, 0.2, 0.2, 1},
		{"rising", rising(0.01, 0.25, 2), 600, 0.05, 0.1, 0.7},
		{"rising", rising(0.03, 0.25, 1), 600, 0.1, 0.1, 0.7},
		{"steep", rising(0, 1, 1), 400, 0.2, 0.05, 0.8},
		{"dip", dip(0.1), 800, 0.1, 0.1, 1},
	} {
		bad, ok, method := violations(world{wrong: c.wrong, asked: always}, from(c.from), c.n, runs, c.alpha, c.delta, uint64(i), nil)
		if method != Binomial {
			t.Fatalf("method %s", method)
		}
		atMost(t, fmt.Sprintf("%s n %d alpha %g (certified %.2f)", c.name, c.n, c.alpha, float64(ok)/float64(runs)), bad, runs, c.delta)
	}
}

// askings are ways in which labels come to be asked for.
func askings() []world {
	opened := func(s, time float64) float64 { // closed for a third of the time, then a gate at 0.5
		if time > 1.0/3 && s >= 0.5 {
			return 0.1
		}
		return 1
	}
	return []world{
		{name: "a fifth of all", asked: func(s, _ float64) float64 { return 0.2 }},
		{name: "a gate that opened", asked: opened},
		{name: "a gate that opened, floors told", asked: opened, floor: func(time float64) float64 {
			if time > 1.0/3 {
				return 0.1
			}
			return 1
		}},
		{name: "confident answers asked rarely", asked: func(s, _ float64) float64 { return 1 - 0.9*s }},
		{name: "confident answers asked often", asked: func(s, _ float64) float64 { return 0.1 + 0.9*s*s }},
	}
}

func TestBettingCoverage10000Runs(t *testing.T) {
	t.Parallel()
	runs := scaled(t, 10_000)
	for i, w := range askings() {
		for j, c := range []struct {
			name         string
			wrong        func(float64) float64
			n            int
			alpha, delta float64
			from         float64
		}{
			{"edge", edge(0.1), 600, 0.1, 0.1, 0.2},
			{"edge", edge(0.05), 1200, 0.05, 0.05, 0.2},
			{"rising", rising(0.02, 0.25, 1), 1200, 0.1, 0.2, 0.5},
			{"dip", dip(0.2), 600, 0.2, 0.1, 0.5},
		} {
			w.wrong = c.wrong
			bad, ok, method := violations(w, from(c.from), c.n, runs, c.alpha, c.delta, uint64(100+10*i+j), nil)
			if method != Betting {
				t.Fatalf("method %s", method)
			}
			atMost(t, fmt.Sprintf("%s, %s n %d alpha %g (certified %.2f)", w.name, c.name, c.n, c.alpha, float64(ok)/float64(runs)), bad, runs, c.delta)
		}
	}
}

// TestBettingCoverageWhenTheGateFollowsTheOutcomes lets the gate open after a
// good run and close after a bad one, as alarms do, so that propensities and
// floors depend on the very rows that are tested.
func TestBettingCoverageWhenTheGateFollowsTheOutcomes(t *testing.T) {
	t.Parallel()
	const alpha, delta = 0.1, 0.1
	runs := scaled(t, 10_000)
	rng := rand.New(rand.NewPCG(17, 1))
	bad := 0
	rows := make([]Row, 900)
	for range runs {
		open, recent := false, 0.5
		for i := range rows {
			r := Row{Score: rng.Float64(), Wrong: rng.Float64() < alpha*1.0001, Propensity: 1, Floor: 1}
			if open {
				r.Floor = 0.2
				if r.Score > 0.5 {
					r.Propensity = 0.2
				}
			}
			r.Asked = rng.Float64() < r.Propensity
			if r.Asked {
				e := 0.0
				if r.Wrong {
					e = 1
				}
				recent += 0.05 * (e - recent)
				open = recent < alpha*0.9 || open && recent < alpha*1.3
			}
			rows[i] = r
		}
		if Certify(rows, []float64{0.3, 0.2, 0.1}, Test{Alpha: alpha, Delta: delta}).OK {
			bad++
		}
	}
	atMost(t, "every certificate is false", bad, runs, delta)
	if bad == 0 {
		t.Error("nothing was ever certified; the simulation is too easy")
	}
}

// TestPropensitiesMatter shows that the simulation would notice a test that
// leaves the propensities out: here wrong answers are asked about rarely.
func TestPropensitiesMatter(t *testing.T) {
	runs := scaled(t, 1000)
	w := world{
		wrong: func(s float64) float64 { return 0.5 * s * s },
		asked: func(s, _ float64) float64 { return 1.05 - s },
	}
	grid := []float64{0.05}
	bad, _, _ := violations(w, grid, 1000, runs, 0.15, 0.1, 7, nil)
	atMost(t, "weighted", bad, runs, 0.1)
	bad, _, _ = violations(w, grid, 1000, runs, 0.15, 0.1, 7, func(rows []Row) {
		for i := range rows {
			if !rows[i].Asked {
				rows[i] = Row{} // a row that certifies nothing
			}
			rows[i].Propensity = min(rows[i].Propensity*1e9, 1)
		}
	})
	if share := float64(bad) / float64(runs); share < 0.3 {
		t.Errorf("without propensities only %.2f of the runs broke the promise; the simulation is too easy", share)
	}
}

// TestGridKeepsThePromise certifies with grids fitted to train rows.
func TestGridKeepsThePromise(t *testing.T) {
	runs := scaled(t, 4000)
	for i, c := range []struct {
		wrong        func(float64) float64
		train, n     int
		alpha, delta float64
		ok, coverage float64 // at least, on average
	}{
		{rising(0.02, 0.9, 2), 1200, 600, 0.1, 0.1, 0.9, 0.38},
		{rising(0.005, 0.6, 4), 1200, 600, 0.05, 0.1, 0.98, 0.67},
		{rising(0, 0.3, 1), 600, 300, 0.1, 0.1, 0.75, 0.3},
	} {
		rng := rand.New(rand.NewPCG(11, uint64(i)))
		w := world{wrong: c.wrong, asked: always}
		train, cert := make([]Row, c.train), make([]Row, c.n)
		test := Test{Alpha: c.alpha, Delta: c.delta}
		bad, ok, coverage := 0, 0, 0.0
		for range runs {
			res := Certify(w.sample(rng, cert), Grid(w.sample(rng, train), test, c.n), test)
			if res.OK {
				ok++
				coverage += res.Coverage
				if w.risk(res.Threshold) > c.alpha {
					bad++
				}
			}
		}
		atMost(t, fmt.Sprintf("curve %d", i), bad, runs, c.delta)
		certified, mean := float64(ok)/float64(runs), coverage/float64(runs)
		t.Logf("curve %d: certified %.3f of the runs, %.3f of the traffic on average", i, certified, mean)
		if !raced && !testing.Short() && (certified < c.ok || mean < c.coverage) {
			t.Errorf("curve %d: power is lost: certified %.3f, want %.3f; coverage %.3f, want %.3f", i, certified, c.ok, mean, c.coverage)
		}
	}
}

// TestBettingIsAsSharpAsBinomial compares both tests on fully labelled rows.
func TestBettingIsAsSharpAsBinomial(t *testing.T) {
	runs := scaled(t, 2000)
	for i, c := range []struct {
		risk         float64
		n            int
		alpha, delta float64
	}{{0.07, 500, 0.1, 0.1}, {0.02, 150, 0.05, 0.1}, {0.04, 1600, 0.05, 0.1}, {0.012, 1500, 0.02, 0.05}} {
		rng := rand.New(rand.NewPCG(5, uint64(i)))
		w := world{wrong: constant(c.risk), asked: always}
		exact, betting := 0, 0
		rows := make([]Row, c.n)
		for range runs {
			s := newSample(w.sample(rng, rows), Test{Alpha: c.alpha, Delta: c.delta})
			if s.pValue(0.01) <= c.delta {
				exact++
			}
			if s.bettingP(0.01) <= c.delta {
				betting++
			}
		}
		t.Logf("risk %g of alpha %g, %d rows: binomial proves %.3f, betting %.3f", c.risk, c.alpha, c.n, float64(exact)/float64(runs), float64(betting)/float64(runs))
		if float64(betting) < float64(exact)-0.05*float64(runs) {
			t.Errorf("betting proves %d, the exact test %d of %d", betting, exact, runs)
		}
	}
}

// TestFloorsSharpen measures what telling the floors is worth.
func TestFloorsSharpen(t *testing.T) {
	runs := scaled(t, 2000)
	proved := map[bool]float64{}
	for _, w := range askings()[1:3] {
		w.wrong = rising(0.02, 0.2, 2)
		rng := rand.New(rand.NewPCG(19, 1))
		rows := make([]Row, 600)
		for range runs {
			if Certify(w.sample(rng, rows), []float64{0.5}, Test{Alpha: 0.1, Delta: 0.1}).OK {
				proved[w.floor != nil] += 1 / float64(runs)
			}
		}
	}
	t.Logf("risk %.3f of alpha 0.1, 600 rows: proved in %.3f of the runs with floors told, %.3f without",
		world{wrong: rising(0.02, 0.2, 2)}.risk(0.5), proved[true], proved[false])
	if proved[true] < proved[false]+0.05 {
		t.Error("telling the floors buys too little")
	}
}

func BenchmarkCertify(b *testing.B) {
	test := Test{Alpha: 0.05, Delta: 0.1}.Running(10_000)
	w := world{wrong: rising(0.01, 0.3, 2), asked: always}
	for _, asked := range []struct {
		name string
		f    func(float64, float64) float64
	}{{Binomial, always}, {Betting, func(s, _ float64) float64 { return 1 - s/2 }}} {
		b.Run(asked.name, func(b *testing.B) {
			w.asked = asked.f
			rng := rand.New(rand.NewPCG(1, 1))
			train, rows := w.sample(rng, make([]Row, 20_000)), w.sample(rng, make([]Row, 10_000))
			for i := range train {
				train[i].Score -= rng.Float64() / levels
			}
			for b.Loop() {
				Certify(rows, Grid(train, test, len(rows)), test)
			}
		})
	}
}
