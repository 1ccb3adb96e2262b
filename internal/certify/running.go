package certify

import "math"

// Running is the test that people who look at the count of an open gate expect:
// besides "the risk is at most Alpha" it also proves "once the gate has given
// From answers, the share of wrong ones among all it has given never exceeds
// Alpha", each with a probability of being wrong of at most Delta. From is
// requests, the requests that the certificate looks at, or what it takes for
// Alpha to allow twenty wrong answers if that is more: the share among fewer is
// mostly chance.
//
// # Why the risk alone is not enough
//
// A fixed sequence of thresholds ends where the evidence ends, so the risk that
// is deployed lies just under what can be proved. The answers given next
// scatter around that risk, and a gate whose risk is a hair under Alpha is over
// it half of the time. Tests of the risk alone were over Alpha on the next rows
// in 17 % of the splits of a real data set at a Delta of 10 %.
//
// # What is computed
//
// With n accepted rows of which e are wrong, m = From and f = ⌊Alpha·m⌋:
//
//	p = 2·P(X <= e),  X ~ beta-binomial(n; f, m-f+1).
//
// # Why it holds
//
// Let r < Alpha be the risk of a gate and F(t) the wrong ones among its first t
// answers. If F(t) > Alpha·t for some t >= m there is a last such t. Given it and
// F(t), the first m answers are drawn from those t without replacement, so F(m)
// has the mean m·F(t)/t > Alpha·m, and the median of a hypergeometric number is
// at least its mean rounded down (Jogdeo and Samuels 1968, since it is a sum of
// independent indicators). Half of these streams therefore have F(m) >= f, and
//
//	P(F(t) > Alpha·t for some t >= m) <= G(r) = min(1, 2·P(Bin(m, r) >= f)),
//
// which is 1 for r >= Alpha and needs no proof there.
//
// G grows with r, and 2·P(Bin(m, r) >= f) is twice the distribution function of
// Beta(f, m-f+1). Let r_1, r_2, … be the risks along the sequence and R_j their
// running maximum. The gate deployed at j breaks the promise with probability at
// most G(R_j), so in all
//
//	Σ_j (G(R_j) − G(R_{j−1}))·P(the sequence passes j),
//
// where only the j count at which R grows, R_j = r_j. There the sequence passes
// with probability at most h_j(r_j), h_j(r) = P(Bin(n_j, r) <= c_j), c_j being
// the errors allowed; h_j falls with r, so the sum is at most Σ_j ∫ h_j dG, each
// over its own piece (R_{j−1}, R_j]. Looser thresholds accept more rows and
// allow more errors, by at most one for each row, so h_{j+1} − h_j changes its
// sign once, from plus to minus: extending one of two neighbouring pieces over
// the other never makes the sum smaller, and it is at most max_j ∫ h_j dG over
// everything, which the test holds to Delta. n_j may be random, because the
// argument holds for every outcome of the scores.
func (t Test) Running(requests int) Test {
	t.From = max(requests, int(math.Ceil(fewestAllowed/t.Alpha)))
	return t
}

// fewestAllowed is how many wrong answers Alpha allows at least among the
// answers that a running share is promised for.
const fewestAllowed = 20

// pValue is at most Delta when e errors among n accepted rows whose labels were
// all asked for prove the promise: the larger p-value of its two parts, that of
// the risk counting Delta/Spend-fold.
func (t Test) pValue(n, e int) float64 {
	if n < 1 {
		return 1
	}
	p := min(1, BinomialTail(n, t.Alpha, e)*(t.Delta/t.level()))
	if p > t.Delta {
		return p
	}
	return max(p, t.runningP(n, e))
}

// runningP is the p-value of the running share alone, 0 when none is promised.
func (t Test) runningP(n, e int) float64 {
	if t.From <= 0 {
		return 0
	}
	f := math.Floor(t.Alpha*float64(t.From) + 1e-9)
	if f < 1 {
		return 1 // a single wrong answer would be too many
	}
	return min(1, 2*betaBinomialTail(n, f, float64(t.From)-f+1, e))
}

// edge is the alpha that a test of the risk alone needs so that it allows as
// many errors among n rows as this one with all of Delta: Alpha itself when no
// running share is promised, and 0 when n rows can prove nothing.
func (t Test) edge(n int) float64 {
	if t.From <= 0 {
		return t.Alpha
	}
	allowed := Test{Alpha: t.Alpha, Delta: t.Delta, From: t.From}.Allowed(n)
	if allowed < 0 {
		return 0
	}
	// The smallest p with P(Bin(n, p) <= allowed) <= Delta.
	return min(bisect(func(p float64) bool { return BinomialTail(n, p, allowed) >= t.Delta }), t.Alpha)
}
