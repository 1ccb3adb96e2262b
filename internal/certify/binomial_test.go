package certify

import (
	"fmt"
	"math"
	"math/big"
	"testing"
)

// bigTail sums the binomial tail with 400 bits.
func bigTail(n int, p float64, k int) *big.Float {
	const prec = 400
	num := func(x float64) *big.Float { return new(big.Float).SetPrec(prec).SetFloat64(x) }
	q := new(big.Float).SetPrec(prec).Sub(num(1), num(p))
	term := num(1)
	for range n {
		term.Mul(term, q)
	}
	sum := num(0)
	for i := 0; i <= k; i++ {
		sum.Add(sum, term)
		term.Mul(term, num(float64(n-i)))
		term.Mul(term, num(p))
		term.Quo(term, num(float64(i+1)))
		term.Quo(term, q)
	}
	return sum
}

func TestBinomialTailAgainstArbitraryPrecision(t *testing.T) {
	worst := 0.0
	for _, n := range []int{1, 2, 3, 5, 10, 15, 16, 17, 45, 100, 230, 500, 1000, 2000, 5000} {
		for _, p := range []float64{1e-12, 1e-6, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.95, 0.999} {
			mean := float64(n) * p
			sd := math.Sqrt(mean * (1 - p))
			for _, k := range []int{0, 1, 2, n / 10, n / 2, n - 1, int(mean), int(mean) + 1, int(mean - 2*sd), int(mean - 8*sd), int(mean + 3*sd), int(mean + 12*sd)} {
				if k < 0 || k >= n {
					continue
				}
				want, _ := bigTail(n, p, k).Float64()
				if want < 1e-300 {
					continue // not representable with full precision
				}
				got := BinomialTail(n, p, k)
				rel := math.Abs(got-want) / want
				worst = max(worst, rel)
				if !(rel <= 1e-10) {
					t.Errorf("P(Bin(%d, %g) <= %d) = %.17g, want %.17g", n, p, k, got, want)
				}
			}
		}
	}
	t.Logf("largest relative error %.2g", worst)
}

func TestBinomialTailEdges(t *testing.T) {
	for _, c := range []struct {
		n    int
		p    float64
		k    int
		want float64
	}{
		{0, 0.5, 0, 1},
		{10, 0.5, -1, 0},
		{10, 0.5, 10, 1},
		{10, 0.5, 11, 1},
		{10, 0, 0, 1},
		{10, 1, 9, 0},
		{10, 1, 10, 1},
		{1_000_000, 0.5, 0, 0},
		{1_000_000, 1e-300, 0, 1},
	} {
		if got := BinomialTail(c.n, c.p, c.k); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("P(Bin(%d, %g) <= %d) = %g, want %g", c.n, c.p, c.k, got, c.want)
		}
	}
	for _, p := range []float64{-0.1, 1.1, math.NaN()} {
		if got := BinomialTail(5, p, 2); !math.IsNaN(got) {
			t.Errorf("p = %g gives %g, want NaN", p, got)
		}
	}
	for k := 1; k < 400; k++ {
		if a, b := BinomialTail(400, 0.3, k-1), BinomialTail(400, 0.3, k); a > b*(1+1e-12) {
			t.Fatalf("tail falls from %g to %g at k = %d", a, b, k)
		}
	}
}

func TestMinRowsAndAllowed(t *testing.T) {
	for _, c := range []struct {
		Test
		rows int
	}{
		{Test{Alpha: 0.05, Delta: 0.1}, 45},
		{Test{Alpha: 0.01, Delta: 0.1}, 230},
		{Test{Alpha: 0.1, Delta: 0.1}, 22},
		{Test{Alpha: 0.1, Delta: 0.2, Spend: 0.1}, 22},
		{Test{Alpha: 0.5, Delta: 0.5}, 1},
		{Test{Alpha: 0.5, Delta: 0.25}, 2},
		{Test{Alpha: 0.9, Delta: 0.99}, 1},
		{Test{Alpha: 0.05, Delta: 0.1, From: 1000}, 0},
		{Test{Alpha: 0.1, Delta: 0.1, From: 200, Spend: 0.01}, 0},
		{Test{Alpha: 0.1, Delta: 0.1, From: 10}, 0},
	} {
		if got := c.MinRows(); c.rows > 0 && got != c.rows {
			t.Errorf("%+v: MinRows %d, want %d", c.Test, got, c.rows)
		} else if c.rows = got; got > 1<<30 {
			if c.From > 10 {
				t.Errorf("%+v: no number of rows is enough", c.Test)
			}
			continue
		}
		if c.Allowed(c.rows-1) != -1 || c.Allowed(c.rows) < 0 {
			t.Errorf("%+v: MinRows is not the least number of rows", c.Test)
		}
		for _, n := range []int{c.rows, 100, 1000, 50000} {
			k := c.Allowed(n)
			if k >= 0 && c.pValue(n, k) > c.Delta {
				t.Errorf("%+v: %d errors of %d are too many", c.Test, k, n)
			}
			if k < n-1 && c.pValue(n, k+1) <= c.Delta {
				t.Errorf("%+v: %d errors of %d are too few", c.Test, k, n)
			}
			for _, guess := range []int{0, k - 1, k, k + 1, n / 2, n, n + 1} {
				if got := c.allowed(n, guess); got != k {
					t.Errorf("%+v: guessing %d gives %d errors of %d, want %d", c.Test, guess, got, n, k)
				}
			}
		}
	}
}

func TestClopperPearson(t *testing.T) {
	for _, c := range []struct{ k, n int }{{0, 1}, {1, 1}, {0, 45}, {45, 45}, {3, 50}, {1, 1000}, {999, 1000}, {20000, 50000}} {
		for _, delta := range []float64{0.5, 0.1, 0.01, 1e-5} {
			t.Run(fmt.Sprintf("%d of %d at %g", c.k, c.n, delta), func(t *testing.T) {
				lo, hi := ClopperPearson(c.k, c.n, delta)
				share := float64(c.k) / float64(c.n)
				if !(lo <= share && share <= hi) {
					t.Errorf("[%g, %g] misses %g", lo, hi, share)
				}
				if c.k < c.n {
					if p := BinomialTail(c.n, hi, c.k); math.Abs(p/(delta/2)-1) > 1e-6 {
						t.Errorf("P(X <= %d | %g) = %g, want %g", c.k, hi, p, delta/2)
					}
				} else if hi != 1 {
					t.Errorf("hi %g, want 1", hi)
				}
				if c.k > 0 {
					if p := BinomialTail(c.n, 1-lo, c.n-c.k); math.Abs(p/(delta/2)-1) > 1e-6 {
						t.Errorf("P(X >= %d | %g) = %g, want %g", c.k, lo, p, delta/2)
					}
				} else if lo != 0 {
					t.Errorf("lo %g, want 0", lo)
				}
			})
		}
	}
	for _, c := range []struct{ k, n int }{{0, 0}, {-1, 5}, {6, 5}} {
		if lo, hi := ClopperPearson(c.k, c.n, 0.1); lo != 0 || hi != 1 {
			t.Errorf("%d of %d: [%g, %g], want [0, 1]", c.k, c.n, lo, hi)
		}
	}
}

func TestSelfAgreement(t *testing.T) {
	rate, lo, hi := SelfAgreement(83, 100, 0.1)
	if rate != 0.83 || !(lo > 0.75 && lo < 0.77 && hi > 0.88 && hi < 0.90) {
		t.Errorf("83 of 100: %g in [%g, %g]", rate, lo, hi)
	}
	if rate, lo, hi = SelfAgreement(0, 0, 0.1); rate != 0 || lo != 0 || hi != 1 {
		t.Errorf("nothing asked: %g in [%g, %g]", rate, lo, hi)
	}
}
