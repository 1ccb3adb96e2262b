package certify

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// labelled makes n fully labelled rows of one score, wrong of them wrong.
func labelled(score float64, n, wrong int) []Row {
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = Row{Score: score, Propensity: 1, Asked: true, Wrong: i < wrong}
	}
	return rows
}

func TestCertifyCases(t *testing.T) {
	two := slices.Concat(labelled(0.9, 100, 1), labelled(0.5, 100, 5), labelled(0.1, 100, 60))
	reserved := labelled(0.9, 100, 0)
	for i := range reserved {
		reserved[i].Reserved = true
	}
	for _, c := range []struct {
		name             string
		rows             []Row
		grid             []float64
		alpha, delta     float64
		ok               bool
		tau              float64
		accepted, errors int
		needs            int    // -1: some
		why              string // part of it
	}{
		{"no rows", nil, []float64{0.5}, 0.05, 0.1, false, 0, 0, 0, 45, "needs 45 more labelled requests"},
		{"no grid", labelled(0.9, 8, 0), nil, 0.05, 0.1, false, 0, 0, 0, 37, "needs 37 more labelled requests"},
		{"no grid, many rows", two, nil, 0.05, 0.1, false, 0, 0, 0, 0, "not confident enough"},
		{"one row short", labelled(0.9, 44, 0), []float64{0.5}, 0.05, 0.1, false, 0, 44, 0, 1, "needs 1 more"},
		{"just enough", labelled(0.9, 45, 0), []float64{0.5}, 0.05, 0.1, true, 0.5, 45, 0, 0, "0 of 45"},
		{"first only", two, []float64{0.9, 0.5, 0.1}, 0.05, 0.1, true, 0.9, 100, 1, 0, "1 of 100"},
		{"two", two, []float64{0.9, 0.5, 0.1}, 0.06, 0.1, true, 0.5, 200, 6, 0, "66.7 %"},
		{"in the given order, which is the caller's", two, []float64{0.1, 0.9}, 0.05, 0.1, false, 0, 300, 66, -1, ""},
		{"all wrong", labelled(0.9, 500, 500), []float64{0.5}, 0.05, 0.1, false, 0, 500, 500, 0, "0.0 %"},
		{"hopeless", labelled(0.9, 1000, 188), []float64{0.5}, 0.05, 0.1, false, 0, 1000, 188, 0, "81.2 % of its most confident answers; more than 95 % is needed"},
		{"promising", labelled(0.9, 100, 3), []float64{0.5}, 0.05, 0.1, false, 0, 100, 3, -1, "more labelled requests"},
		{"reserved", reserved, []float64{0.5}, 0.05, 0.1, false, 0, 0, 0, 0, "not confident enough"},
		{"alpha towards 0", labelled(0.9, 1000, 0), []float64{0.5}, 1e-9, 0.1, false, 0, 0, 0, -1, "more labelled requests"},
		{"alpha 0", two, []float64{0.5}, 0, 0.1, false, 0, 0, 0, 0, "between 0 and 1"},
		{"delta 1", two, []float64{0.5}, 0.1, 1, false, 0, 0, 0, 0, "between 0 and 1"},
		{"threshold out of range", two, []float64{0, 0.9}, 0.05, 0.1, false, 0, 0, 0, -2, ""},
		{"propensity 0 certifies nothing", []Row{{Score: 0.9, Asked: true}}, []float64{0.5}, 0.5, 0.5, false, 0, 0, 0, 1, "needs 1 more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Certify(c.rows, c.grid, Test{Alpha: c.alpha, Delta: c.delta})
			if r.OK != c.ok || r.Threshold != c.tau {
				t.Fatalf("%+v", r)
			}
			if c.alpha > 1e-6 && (r.Accepted != c.accepted || r.Errors != c.errors) {
				t.Errorf("%d errors of %d, want %d of %d", r.Errors, r.Accepted, c.errors, c.accepted)
			}
			if c.needs >= 0 && r.Needs != c.needs || c.needs == -1 && r.Needs <= 0 {
				t.Errorf("needs %d, want %d", r.Needs, c.needs)
			}
			if !strings.Contains(r.Why, c.why) || r.Why == "" || strings.Contains(r.Why, "NaN") {
				t.Errorf("why %q, want %q in it", r.Why, c.why)
			}
			if r.OK && (r.PValue > c.delta || r.Coverage <= 0) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestCoverageIsWeighted(t *testing.T) {
	// A hundred deferred requests, all labelled, and a hundred accepted ones of
	// which ten were audited: half of the traffic is over the threshold.
	rows := labelled(0.2, 100, 30)
	for i := range 100 {
		rows = append(rows, Row{Score: 0.9, Propensity: 0.1, Asked: i%10 == 0})
	}
	r := Certify(rows, []float64{0.5}, Test{Alpha: 0.3, Delta: 0.1})
	if !r.OK || r.Method != Betting || r.Rows != 110 || r.Accepted != 10 || math.Abs(r.Coverage-0.5) > 1e-12 {
		t.Errorf("%+v", r)
	}
}

func TestRowsNotAskedSayNothing(t *testing.T) {
	rows := labelled(0.9, 60, 0)
	for i := range rows {
		rows[i].Propensity = 0.5
	}
	with := slices.Clone(rows)
	for range 500 {
		with = append(with, Row{Score: 0.9, Wrong: true, Propensity: 0.5})
	}
	a, b := Certify(rows, []float64{0.5}, Test{Alpha: 0.05, Delta: 0.1}), Certify(with, []float64{0.5}, Test{Alpha: 0.05, Delta: 0.1})
	if a != b || !a.OK {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestGrid(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	rows := make([]Row, 3000)
	for i := range rows {
		u := rng.Float64()
		rows[i] = Row{Score: 1 - u, Wrong: rng.Float64() < 0.01+0.5*u*u, Propensity: 1, Asked: true}
	}
	test := Test{Alpha: 0.05, Delta: 0.1}
	grid := Grid(rows, test, 1000)
	if len(grid) < 5 {
		t.Fatalf("only %d thresholds", len(grid))
	}
	for i, tau := range grid {
		if !(tau > 0 && tau <= 1) || i > 0 && tau >= grid[i-1] {
			t.Fatalf("thresholds out of order at %d: %v", i, grid)
		}
	}
	if share := 1 - grid[0]; share < 0.1 || share > 0.4 {
		t.Errorf("starts at the top %.2f of traffic; a sensible start is between 0.1 and 0.4", share)
	}
	shuffled := slices.Clone(rows)
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if !slices.Equal(grid, Grid(shuffled, test, 1000)) {
		t.Error("the grid depends on the order of the train rows")
	}
	for _, c := range []struct {
		name string
		rows []Row
		a, d float64
		n    int
		want int
	}{
		{"no rows", nil, 0.05, 0.1, 1000, 0},
		{"too few to come", rows, 0.05, 0.1, 44, 0},
		{"alpha 0", rows, 0, 0.1, 1000, 0},
		{"one score", labelled(0.7, 100, 1), 0.05, 0.1, 1000, 1},
		{"hopeless, yet something to report on", labelled(0.7, 100, 90), 0.05, 0.1, 1000, 1},
		{"score 0 is no threshold", labelled(0, 100, 1), 0.05, 0.1, 1000, 0},
	} {
		if got := Grid(c.rows, Test{Alpha: c.a, Delta: c.d}, c.n); len(got) != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestBetaBinomialTail(t *testing.T) {
	// A uniform risk makes every count equally likely.
	for _, c := range []struct{ n, k int }{{10, 0}, {10, 3}, {10, 9}, {10, 10}, {1000, 37}, {1000, 900}} {
		want := float64(c.k+1) / float64(c.n+1)
		if got := betaBinomialTail(c.n, 1, 1, c.k); math.Abs(got-want) > 1e-6 {
			t.Errorf("n %d k %d: %g, want %g", c.n, c.k, got, want)
		}
	}
	// A sharp one is a binomial.
	for _, k := range []int{0, 20, 50, 80} {
		got, want := betaBinomialTail(1000, 5e7, 95e7, k), BinomialTail(1000, 0.05, k)
		if math.Abs(got-want) > 1e-4 {
			t.Errorf("k %d: %g, want %g", k, got, want)
		}
	}
	if betaBinomialTail(10, 1, 1, -1) != 0 {
		t.Error("below 0 has mass")
	}
}

// fuzzRows reads rows of 4 bytes: score, propensity, floor, flags; some values
// are special.
func fuzzRows(data []byte) []Row {
	number := func(b byte) float64 {
		switch b {
		case 255:
			return math.NaN()
		case 254:
			return math.Inf(1)
		case 253:
			return -0.5
		case 252:
			return 1e-12
		}
		return float64(b) / 200
	}
	var rows []Row
	for ; len(data) >= 4; data = data[4:] {
		rows = append(rows, Row{
			Score: number(data[0]), Propensity: number(data[1]), Floor: number(data[2]),
			Wrong: data[3]&1 != 0, Asked: data[3]&2 != 0, Reserved: data[3]&4 != 0,
		})
	}
	return rows
}

func FuzzCertify(f *testing.F) {
	f.Add([]byte{}, uint16(100), uint16(100))
	f.Add([]byte{180, 200, 0, 2, 180, 20, 20, 2, 255, 255, 255, 3, 252, 252, 254, 3}, uint16(3000), uint16(6000))
	many := []byte{}
	for i := range 200 {
		many = append(many, byte(i), 200, 0, byte(2+i%19/18))
	}
	f.Add(many, uint16(10000), uint16(10000))
	f.Fuzz(func(t *testing.T, data []byte, a, d uint16) {
		rows := fuzzRows(data)
		alpha, delta := float64(a)/65535, float64(d)/65535
		half := len(rows) / 2
		test := Test{Alpha: alpha, Delta: delta}
		if a%2 == 1 {
			test.From = int(d)
		}
		grid := Grid(rows[:half], test, max(len(rows)-half, 50))
		for i, tau := range grid {
			if !(tau > 0 && tau <= 1) || i > 0 && tau >= grid[i-1] {
				t.Fatalf("grid %v", grid)
			}
		}
		if len(data) >= 8 {
			grid = append(grid, math.Float64frombits(binary.LittleEndian.Uint64(data)), 0.5)
		}
		r := Certify(rows[half:], grid, test)
		for _, x := range []float64{r.PValue, r.Coverage, r.Threshold} {
			if !(x >= 0 && x <= 1) {
				t.Fatalf("%+v", r)
			}
		}
		if r.OK != (r.Threshold > 0) || r.OK && (r.PValue > delta || r.Accepted < 1 || r.Needs != 0) || r.Needs < 0 || r.Errors > r.Accepted || r.Why == "" {
			t.Fatalf("%+v", r)
		}
		if b := Budget(rows, alpha); !(b >= 0 && b <= 1) {
			t.Fatalf("budget %g", b)
		}
		if tau, ok := BudgetThreshold(rows, delta); ok && (!(tau > 0 && tau <= 1) || Budget(rows, tau) > delta*(1+1e-9)) {
			t.Fatalf("budget threshold %g", tau)
		}
		m := NewMonitor(alpha, delta, 0.01)
		for i := range rows {
			m.SetFloor(rows[i].Floor)
			m.Observe(rows[i].Propensity, rows[i].Wrong)
			lo, hi := m.Interval()
			if e := m.Evidence(); math.IsNaN(e) || math.IsInf(e, 0) || !(lo >= 0 && lo <= hi && hi <= 1) {
				t.Fatalf("evidence %g, interval [%g, %g]", e, lo, hi)
			}
		}
	})
}
