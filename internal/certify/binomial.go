package certify

import "math"

// BinomialTail is P(X <= k) for X ~ Bin(n, p), with a relative error below
// 1e-10 wherever the result is representable. It is 0 for k < 0 and 1 for
// k >= n; a p that is no probability gives NaN.
//
// The probability of k itself comes from Loader's saddle-point form ("Fast and
// accurate computation of binomial probabilities", 2000), which does not lose
// digits for large n as differences of log-gammas do; the tail is that times a
// series of ratios, always summed on the side where it shrinks.
func BinomialTail(n int, p float64, k int) float64 {
	switch {
	case math.IsNaN(p) || p < 0 || p > 1:
		return math.NaN()
	case k < 0:
		return 0
	case k >= n || p == 0:
		return 1
	case p == 1:
		return 0
	}
	q := 1 - p
	if float64(k) <= float64(n)*p {
		return math.Exp(logBinomial(n, k, p, q) + math.Log(ratios(k, n-k, q/p)))
	}
	// P(X > k) = P(Bin(n, 1-p) <= n-k-1) is the smaller side.
	return 1 - math.Exp(logBinomial(n, k+1, p, q)+math.Log(ratios(n-k-1, k+1, p/q)))
}

// ratios sums 1 + a/(b+1)·odds + a(a-1)/((b+1)(b+2))·odds² + …: a tail of a
// binomial in units of its nearest term, walking a down to 0.
func ratios(a, b int, odds float64) float64 {
	sum, term := 1.0, 1.0
	for a > 0 {
		b++
		term *= float64(a) / float64(b) * odds
		a--
		sum += term
		if term < sum*1e-17 {
			break
		}
	}
	return sum
}

// logBinomial is the logarithm of P(X = k), 0 <= k <= n, 0 < p < 1, q = 1-p.
func logBinomial(n, k int, p, q float64) float64 {
	switch k {
	case 0:
		return float64(n) * log1m(p, q)
	case n:
		return float64(n) * log1m(q, p)
	}
	x, m := float64(k), float64(n)
	return stirling(m) - stirling(x) - stirling(m-x) -
		deviance(x, m*p) - deviance(m-x, m*q) +
		0.5*math.Log(m/(2*math.Pi*x*(m-x)))
}

// log1m is log(1-p) given both p and q = 1-p, exact for small p.
func log1m(p, q float64) float64 {
	if p < 0.5 {
		return math.Log1p(-p)
	}
	return math.Log(q)
}

// stirling is log(n!) minus Stirling's approximation of it.
func stirling(n float64) float64 {
	if n < 16 {
		lg, _ := math.Lgamma(n + 1)
		return lg - (n+0.5)*math.Log(n) + n - 0.5*math.Log(2*math.Pi)
	}
	nn := n * n
	return (1.0/12 - (1.0/360-(1.0/1260-(1.0/1680-1.0/1188/nn)/nn)/nn)/nn) / n
}

// deviance is x·log(x/m) + m - x without cancellation when x is near m.
func deviance(x, m float64) float64 {
	if math.Abs(x-m) >= 0.1*(x+m) {
		return x*math.Log(x/m) + m - x
	}
	v := (x - m) / (x + m)
	s := (x - m) * v
	e := 2 * x * v
	v *= v
	for j := 1; ; j++ {
		e *= v
		next := s + e/float64(2*j+1)
		if next == s {
			return s
		}
		s = next
	}
}

// Test is the question whether a risk is at most Alpha, asked so that a wrong
// yes has probability at most Delta. Both are in (0, 1).
type Test struct {
	Alpha, Delta float64
	// From, when positive, makes the promise one about the answers themselves as
	// well: see Running. 0: about the risk only.
	From int
	// Spend is the part of Delta that the risk itself may be misjudged with at
	// this look; see SpendDelta. 0: the whole.
	Spend float64
}

// level is the level at which the risk itself is tested.
func (t Test) level() float64 {
	if t.Spend > 0 && t.Spend < t.Delta {
		return t.Spend
	}
	return t.Delta
}

// MinRows is the smallest number of accepted, labelled rows with which the
// promise can be proved at all, namely without a single error. For the risk
// alone it is ⌈ln delta / ln(1-alpha)⌉. It is most when no number of rows up to
// it is enough.
func (t Test) MinRows() int {
	const most = 1 << 40
	lo, hi := 0, 1 // lo rows are too few
	for hi < most && t.pValue(hi, 0) > t.Delta {
		lo, hi = hi, 2*hi
	}
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; t.pValue(mid, 0) > t.Delta {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// Allowed is the largest number of errors among n rows with which the promise
// is still proved, -1 when n is below MinRows.
func (t Test) Allowed(n int) int { return t.allowed(n, 0) }

// allowed is Allowed, quicker when guess is a little below it.
func (t Test) allowed(n, guess int) int {
	proved := func(errors int) bool { return t.pValue(n, errors) <= t.Delta }
	if n < 1 || guess < 0 || guess > n || !proved(guess) {
		if guess = 0; n < 1 || !proved(0) {
			return -1
		}
	}
	lo, step := guess, 1 // lo is allowed
	for lo+step < n && proved(lo+step) {
		lo += step
		step *= 2
	}
	for hi := min(lo+step, n); hi-lo > 1; { // hi is not
		if mid := lo + (hi-lo)/2; proved(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// valid reports whether both numbers lie strictly between 0 and 1.
func (t Test) valid() bool {
	return t.Alpha > 0 && t.Alpha < 1 && t.Delta > 0 && t.Delta < 1
}

// ClopperPearson is the exact interval for a probability after k successes in
// n trials: it misses the truth with probability at most delta, half of it on
// either side. Without trials it is [0, 1].
func ClopperPearson(k, n int, delta float64) (lo, hi float64) {
	if n <= 0 || k < 0 || k > n || !(delta > 0 && delta < 1) {
		return 0, 1
	}
	hi = 1
	if k < n {
		// The largest p with P(X <= k) >= delta/2.
		hi = bisect(func(p float64) bool { return BinomialTail(n, p, k) >= delta/2 })
	}
	if k > 0 {
		// The same for failures: P(X >= k | p) = P(Bin(n, 1-p) <= n-k).
		lo = 1 - bisect(func(q float64) bool { return BinomialTail(n, q, n-k) >= delta/2 })
	}
	return lo, hi
}

// bisect finds the largest p in [0, 1] for which yes holds, when yes holds up
// to some p and not after.
func bisect(yes func(p float64) bool) float64 {
	lo, hi := 0.0, 1.0
	for range 60 {
		if mid := (lo + hi) / 2; yes(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}
