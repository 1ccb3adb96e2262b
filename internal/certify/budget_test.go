package certify

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestBudget(t *testing.T) {
	labelled := func(score float64, wrong bool) Row {
		return Row{Score: score, Wrong: wrong, Propensity: 1, Asked: true}
	}
	var rows []Row
	for i := range 99 {
		rows = append(rows, labelled(float64(i+1)/100, i%10 == 0))
	}
	for _, c := range []struct {
		name string
		rows []Row
		tau  float64
		want float64
	}{
		{"no rows", nil, 0.5, 1},
		{"nothing accepted", rows, 1, 0.01},
		{"half", rows, 0.5, 0.01 + 0.05},  // wrong at 0.51, 0.61, …, 0.91
		{"all", rows, 0.001, 0.01 + 0.10}, // ten wrong
		{"reserved", []Row{{Score: 0.9, Wrong: true, Propensity: 1, Asked: true, Reserved: true}}, 0.1, 0.5},
		{"an audit at a quarter", append([]Row{{Score: 0.9, Wrong: true, Propensity: 0.25, Asked: true}}, rows[:98]...), 0.95, 0.04},
		{"counted fourfold", append([]Row{{Score: 0.99, Wrong: true, Propensity: 0.25, Asked: true}}, rows[:98]...), 0.985, 0.08},
		{"certifies nothing", []Row{{Score: 0.9, Asked: true}}, 0.1, 1},
	} {
		if got := Budget(c.rows, c.tau); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
	for _, beta := range []float64{0.01, 0.02, 0.035, 0.06, 0.1, 0.11, 0.5, 1} {
		tau, ok := BudgetThreshold(rows, beta)
		if !ok {
			t.Errorf("beta %g: no threshold", beta)
			continue
		}
		if got := Budget(rows, tau); got > beta+1e-12 {
			t.Errorf("beta %g: threshold %g has budget %g", beta, tau, got)
		}
		if looser := math.Nextafter(tau, 0); looser > 0 && Budget(rows, looser) <= beta {
			t.Errorf("beta %g: threshold %g is not the loosest", beta, tau)
		}
	}
	for _, c := range []struct {
		rows []Row
		beta float64
	}{{rows, 0.009}, {nil, 0.5}, {rows, math.NaN()}, {[]Row{labelled(1, true), labelled(1, true), labelled(0.1, false)}, 0.5}} {
		if tau, ok := BudgetThreshold(c.rows, c.beta); ok {
			t.Errorf("beta %g: threshold %g out of nothing", c.beta, tau)
		}
	}
}

// TestBudgetHoldsOnAverage draws samples, takes the loosest threshold within
// the budget, and averages its true harm.
func TestBudgetHoldsOnAverage(t *testing.T) {
	runs := scaled(t, 10_000)
	for i, w := range append(askings(), world{name: "all asked", asked: always}) {
		const beta = 0.15
		w.wrong = rising(0.02, 0.8, 1)
		rng := rand.New(rand.NewPCG(13, uint64(i)))
		rows := make([]Row, 150)
		sum, squares := 0.0, 0.0
		for range runs {
			tau, ok := BudgetThreshold(w.sample(rng, rows), beta)
			harm := 0.0
			for l := 1; ok && l <= levels; l++ {
				if s := float64(l) / levels; s >= tau {
					harm += w.wrong(s) / levels
				}
			}
			sum += harm
			squares += harm * harm
		}
		n := float64(runs)
		mean := sum / n
		se := math.Sqrt(max(squares/n-mean*mean, 0) / n)
		t.Logf("%s: harm per request %.4f ± %.4f, budget %g", w.name, mean, se, beta)
		if mean > beta+3*se {
			t.Errorf("%s: harm %.4f exceeds the budget", w.name, mean)
		}
	}
}
