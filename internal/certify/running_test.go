package certify

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// TestRunningAgainstExactArithmetic computes the beta-binomial tail as what it
// is, the chance that of n+m exchangeable answers at most e of the first n are
// wrong when the f-th wrong one of the others is met last, with fractions.
func TestRunningAgainstExactArithmetic(t *testing.T) {
	choose := func(n, k int) *big.Rat {
		return new(big.Rat).SetInt(new(big.Int).Binomial(int64(n), int64(k)))
	}
	for _, c := range []struct {
		alpha float64
		from  int
		n     int
	}{{0.05, 400, 100}, {0.1, 200, 60}, {0.1, 667, 667}, {0.2, 100, 1000}, {0.02, 1000, 300}} {
		test := Test{Alpha: c.alpha, Delta: 0.99, From: c.from}
		f := int(c.alpha*float64(c.from) + 1e-9)
		sum := new(big.Rat)
		for e := 0; e <= c.n/5; e++ {
			// C(f-1+e, e)·C(m-f+n-e, n-e) of C(n+m, n) orders.
			term := new(big.Rat).Mul(choose(f-1+e, e), choose(c.from-f+c.n-e, c.n-e))
			sum.Add(sum, term.Quo(term, choose(c.n+c.from, c.n)))
			tail, _ := sum.Float64()
			plain := BinomialTail(c.n, c.alpha, e)
			want := max(plain, min(1, 2*tail))
			if plain > test.Delta {
				want = plain
			}
			if got := test.pValue(c.n, e); math.Abs(got-want) > 1e-7*want {
				t.Errorf("alpha %g, from %d: %d errors of %d give %.10g, want %.10g", c.alpha, c.from, e, c.n, got, want)
			}
		}
	}
}

func TestRunningCases(t *testing.T) {
	plain := Test{Alpha: 0.05, Delta: 0.1}
	if got := plain.Running(1000).From; got != 1000 {
		t.Errorf("1000 requests: from %d", got)
	}
	if got := plain.Running(30).From; got != 400 {
		t.Errorf("30 requests: from %d, want the 400 of which 20 may be wrong", got)
	}
	if got := (Test{Alpha: 0.05, Delta: 0.1, From: 10}).pValue(1000, 0); got != 1 {
		t.Errorf("a share among ten answers that one error breaks was promised with p = %g", got)
	}
	for _, n := range []int{100, 500, 2000} {
		// A longer stretch scatters less, and endless ones leave the factor two.
		last := -2
		for _, from := range []int{400, 1000, 10_000, 1_000_000} {
			test := plain
			test.From = from
			k := test.Allowed(n)
			if k < last || k > plain.Allowed(n) {
				t.Errorf("%d rows, from %d: %d errors allowed, %d for a shorter stretch, %d for the risk alone", n, from, k, last, plain.Allowed(n))
			}
			last = k
			if edge := test.edge(n); k >= 0 && (Test{Alpha: edge, Delta: 0.1}).Allowed(n) != k {
				t.Errorf("%d rows, from %d: a test at %g does not allow %d errors", n, from, edge, k)
			}
		}
		if half := (Test{Alpha: 0.05, Delta: 0.05}).Allowed(n); last < half-1 || last > half {
			t.Errorf("%d rows, from a million: %d errors allowed, %d at half of delta", n, last, half)
		}
	}
	if plain.edge(500) != plain.Alpha || plain.Running(0).edge(3) != 0 {
		t.Error("edge of the risk alone, or of too few rows, is wrong")
	}
}

// stretch is traffic with continuous scores: the risk of the answers at a score
// rises along a curve, so that the selective risk at a threshold is known.
type stretch struct {
	name  string
	alpha float64
	n     int
	risk  func(covered float64) float64 // selective risk when this share is accepted
	asked func(covered, time float64) float64
	floor func(time float64) float64
}

// wrong is the risk at the point that is accepted when the share is covered.
func (w stretch) wrong(covered float64) float64 {
	const d = 1e-4
	return ((covered+d)*w.risk(covered+d) - covered*w.risk(covered)) / d
}

// broken draws certification rows, certifies, and reports whether the gate is
// ever over alpha from the given answer on, and whether it opened.
func (w stretch) broken(rng *rand.Rand, rows []Row, grid []float64, test Test, from int) (broken, opened bool) {
	for i := range rows {
		u := rng.Float64()
		r := Row{Score: 1 - u, Wrong: rng.Float64() < w.wrong(u), Propensity: 1, Asked: true}
		if w.asked != nil {
			time := float64(i) / float64(len(rows))
			r.Propensity, r.Floor = w.asked(u, time), w.floor(time)
			r.Asked = rng.Float64() < r.Propensity
		}
		rows[i] = r
	}
	res := Certify(rows, grid, test)
	if !res.OK {
		return false, false
	}
	risk := w.risk(1 - res.Threshold)
	wrong := 0
	for t := 1; t <= 4*from; t++ {
		if rng.Float64() < risk {
			wrong++
		}
		if t >= from && float64(wrong) > test.Alpha*float64(t) {
			return true, true
		}
	}
	return false, true
}

// TestRunningCoverage plays what people see: after the certificate the gate
// answers, and the share of wrong answers is looked at after every one from the
// promised one on.
func TestRunningCoverage(t *testing.T) {
	t.Parallel()
	runs := scaled(t, 4000)
	line := func(from, to float64) func(float64) float64 {
		return func(covered float64) float64 { return from + (to-from)*covered }
	}
	var fine []float64
	for covered := 0.3; covered < 1; covered *= 1.005 {
		fine = append(fine, 1-covered)
	}
	opened := func(covered, time float64) float64 {
		if time > 0.3 && covered < 0.5 {
			return 0.2
		}
		return 1
	}
	floor := func(time float64) float64 {
		if time > 0.3 {
			return 0.2
		}
		return 1
	}
	for i, w := range []stretch{
		{name: "slow rise", alpha: 0.1, n: 1200, risk: line(0.04, 0.14)},
		{name: "steep rise", alpha: 0.1, n: 600, risk: line(0, 0.2)},
		{name: "few rows", alpha: 0.1, n: 150, risk: line(0, 0.2)},
		{name: "small alpha", alpha: 0.02, n: 2000, risk: line(0, 0.03)},
		{name: "a step", alpha: 0.05, n: 1000, risk: func(covered float64) float64 {
			if covered < 0.5 {
				return 0.02
			}
			return 0.02 + 0.06*(covered-0.5)/covered
		}},
		{name: "flat at the edge", alpha: 0.1, n: 600, risk: line(0.095, 0.1)},
		{name: "a gate that opened", alpha: 0.1, n: 1500, risk: line(0.02, 0.16), asked: opened, floor: floor},
	} {
		test := Test{Alpha: w.alpha, Delta: 0.1}
		from := test.Running(w.n).From
		rng := rand.New(rand.NewPCG(23, uint64(i)))
		rows := make([]Row, w.n)
		count := func(test Test, runs int) (bad, open int) {
			for range runs {
				b, o := w.broken(rng, rows, fine, test, from)
				if b {
					bad++
				}
				if o {
					open++
				}
			}
			return bad, open
		}
		bad, open := count(test.Running(w.n), runs)
		atMost(t, fmt.Sprintf("%s, alpha %g, n %d (opened %.2f): running share ever over alpha", w.name, w.alpha, w.n, float64(open)/float64(runs)), bad, runs, test.Delta)
		few := max(runs/10, 40)
		alone, _ := count(test, few)
		t.Logf("%s: the test of the risk alone breaks it in %.3f of %d runs", w.name, float64(alone)/float64(few), few)
		if w.name == "slow rise" && !raced && !testing.Short() && float64(alone) < 1.4*test.Delta*float64(few) {
			t.Errorf("without the running test only %d of %d runs are over alpha; the simulation is too easy", alone, few)
		}
	}
}
