package certify

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Row is one request whose teacher label may have been asked for.
type Row struct {
	Score      float64 // of the step under test, in [0, 1]
	Wrong      bool    // the step's answer differs from the teacher's; meaningless unless Asked
	Propensity float64 // probability with which the label was asked for, in (0, 1]; a row with 0 certifies nothing
	Asked      bool    // the label is known
	// Reserved marks an answer that the gate may not give whatever its score
	// (a never_serve label, an input outside what the step may serve).
	Reserved bool
	// Floor is the lowest propensity that any request could have met when this
	// one arrived: 1 while the gate was closed, the audit rate while it was
	// open. It makes the betting test much sharper. 0: unknown, the lowest
	// propensity among all rows is taken.
	Floor float64
}

// usable reports whether the row says anything about traffic.
func (r *Row) usable() bool { return r.Propensity > 0 && r.Propensity <= 1 }

// accepted reports whether a gate at threshold gives the step's answer.
func (r *Row) accepted(threshold float64) bool {
	return !r.Reserved && r.Score >= threshold && r.Score <= 1
}

// The tests a certificate can rest on.
const (
	Binomial = "binomial"
	Betting  = "betting"
)

// Result is the outcome of Certify.
type Result struct {
	OK        bool
	Threshold float64 // the certified threshold; 0 when refused
	Method    string  // Binomial or Betting
	Rows      int     // labelled rows looked at
	Accepted  int     // of them at or over the threshold (when refused: over the first threshold tested)
	Errors    int     // of those, different from the teacher
	Coverage  float64 // weighted share of traffic accepted, in [0, 1]
	PValue    float64 // at the threshold (when refused: at the first tested); 1 when nothing was tested
	// Needs is about how many more labelled requests could bring a
	// certificate, 0 when it is certified or when more rows of the same kind
	// would not help. It is a forecast for people. It was learnt from the
	// outcomes, so it must not decide when to look again: that is for counts.
	Needs int
	Why   string // the outcome in words
}

// Certify finds the loosest threshold whose selective risk, the share of wrong
// answers among those accepted, is proved to be at most t.Alpha, such that the
// probability of deploying a threshold whose risk exceeds it is at most t.Delta. When the test asks for it, the same holds for what people see of the
// gate: that its answers from the From-th on are within Alpha (see Running).
// Rows are in time order; grid is the order in which thresholds are tested, from
// Grid on other rows.
//
// It tests a fixed sequence (Learn then Test: Angelopoulos et al. 2021,
// arXiv:2110.01052): each threshold in the order given, at level Delta,
// until the first that is not proved; the last one proved is taken. Deploying
// a false one needs the first false hypothesis of the sequence to be rejected,
// which has probability at most Delta however many thresholds are tested.
//
// With every label known the test is the exact binomial one, otherwise a
// betting test (see wealth).
func Certify(rows []Row, grid []float64, t Test) Result {
	if !t.valid() {
		return Result{PValue: 1, Why: fmt.Sprintf("alpha %g and delta %g must lie between 0 and 1", t.Alpha, t.Delta)}
	}
	s := newSample(rows, t)
	res := Result{Method: s.method, Rows: s.asked, PValue: 1}
	for i, tau := range grid {
		if !(tau > 0 && tau <= 1) {
			break
		}
		p := s.pValue(tau)
		ok := p <= t.Delta
		if ok || i == 0 {
			res.OK, res.PValue = ok, p
			res.Accepted, res.Errors, res.Coverage = s.count(tau)
			if ok {
				res.Threshold = tau
			}
		}
		if !ok {
			break
		}
	}
	s.explain(&res, grid)
	return res
}

// sample is a set of certification rows prepared for testing many thresholds.
type sample struct {
	Test
	method string
	rows   []Row     // asked and usable, in time order
	floor  float64   // lowest propensity among them
	asked  int       // len(rows)
	weight float64   // sum of 1/propensity
	scores []float64 // of rows that can be accepted, descending
	errs   []int     // errs[i]: wrong among the first i of them
	mass   []float64 // mass[i]: sum of 1/propensity among the first i of them
}

func newSample(rows []Row, t Test) *sample {
	s := &sample{Test: t, method: Binomial, floor: 1, rows: make([]Row, 0, len(rows))}
	for i := range rows {
		r := &rows[i]
		if !r.usable() {
			continue
		}
		s.floor = min(s.floor, r.Propensity)
		if r.Asked {
			s.rows = append(s.rows, *r)
			s.weight += 1 / r.Propensity
		} else {
			s.method = Betting // a label is missing
		}
	}
	if s.floor < 1 {
		s.method = Betting
	}
	s.asked = len(s.rows)
	type answer struct {
		score, weight float64
		wrong         int
	}
	open := make([]answer, 0, s.asked)
	for i := range s.rows {
		if r := &s.rows[i]; r.accepted(0) {
			a := answer{score: r.Score, weight: 1 / r.Propensity}
			if r.Wrong {
				a.wrong = 1
			}
			open = append(open, a)
		}
	}
	slices.SortFunc(open, func(a, b answer) int { return cmp.Compare(b.score, a.score) })
	s.scores = make([]float64, len(open))
	s.errs, s.mass = make([]int, len(open)+1), make([]float64, len(open)+1)
	for i, a := range open {
		s.scores[i] = a.score
		s.errs[i+1] = s.errs[i] + a.wrong
		s.mass[i+1] = s.mass[i] + a.weight
	}
	return s
}

// count is how many labelled rows a threshold accepts, how many of those are
// wrong, and the weighted share of traffic accepted.
func (s *sample) count(tau float64) (accepted, errors int, coverage float64) {
	n, _ := slices.BinarySearchFunc(s.scores, tau, func(score, tau float64) int {
		if score >= tau {
			return -1
		}
		return 1
	})
	if s.weight > 0 {
		coverage = min(s.mass[n]/s.weight, 1)
	}
	return n, s.errs[n], coverage
}

// pValue is a p-value for "the promise does not hold at tau".
func (s *sample) pValue(tau float64) float64 {
	if s.method == Betting {
		return s.bettingP(tau)
	}
	n, e, _ := s.count(tau)
	return s.Test.pValue(n, e)
}

// floorAt is the predictable lower bound of the propensity at row i.
func (s *sample) floorAt(i int) float64 {
	if f := s.rows[i].Floor; f > 0 && f <= s.rows[i].Propensity {
		return f
	}
	return s.floor
}

// bettingP plays the betting test on the rows accepted at tau and returns the
// inverse of the highest wealth reached.
//
// Let Z = (A/π)·(e−alpha) for an accepted row and 0 for another, where A says
// that the label was asked for. Given the past, E[Z] = E[e−alpha; accepted],
// which is positive when the risk exceeds alpha: the inverse propensity makes
// up for hard requests being asked more often. A wealth that starts at 1 and is
// multiplied by 1−λZ, where λ is fixed before the row is seen, never negative
// and at most floor/(1−alpha) so that wealth stays non-negative, is then a
// supermartingale. By Ville's inequality it ever reaches 1/delta with
// probability at most delta (Waudby-Smith and Ramdas, arXiv:2010.09686). Rows
// not asked have Z = 0 and change nothing.
//
// λ is a share of the floor at that time, b·floor with b below 1/(1−alpha), so
// a row asked at the floor moves wealth as a plain labelled row would. It may
// not be a share of the row's own propensity: the propensity depends on the
// request, and such bets would test a risk in which often-asked requests count
// more.
//
// Any predictable b is valid; this one aims at being just rich enough when the
// rows run out (Voráček and Orabona 2025, "STaR-Bets"). To gain G = ln(goal/
// wealth) from rows whose variances still add up to V, b = √(2G/V) needs the
// least deviation from alpha. V is forecast from the rows left, the share of
// those before that counted, and the variance alpha·(1−alpha) at the edge of the
// hypothesis. The factor 1.3 was chosen by simulation; with all propensities 1
// the test then finds as much as the exact binomial one (docs/guarantee.md),
// where bets that ignore the horizon find about a third less. Rows told to have
// come while every label was asked for are bet on as if 0.4 of the forecast
// were to follow: a label is missing somewhere, so a gate has opened since and
// the rows to come are worth less.
//
// A promise about the running share is tested with an alpha moved down to where
// the test of the risk alone allows as many errors as the exact test of both
// (edge), for as many plain rows as the accepted ones are worth. The bets know
// nothing of it and are driven by the wealth against Alpha itself, which is
// never smaller: so the proof about the risk stays exact. That about the running
// share holds as far as the wealth behaves like a count of that many plain rows,
// which simulations check.
func (s *sample) bettingP(tau float64) float64 {
	const caution, discount, seenBefore, nearly, least = 1.3, 0.4, 5.0, 0.995, 0.1
	unit, limit := s.Alpha*(1-s.Alpha)*caution, nearly/(1-s.Alpha)
	goal, goalRisk := -math.Log(s.Delta), -math.Log(s.level())
	aim, alpha := goalRisk, s.Alpha
	if s.From > 0 {
		if alpha = s.edge(s.worth(tau)); alpha == 0 {
			return 1
		}
		limit = nearly
		aim = max(aim, goal*s.effort())
	}
	// Logarithms of the wealth against Alpha and against alpha, and the highest.
	var risk, running, bestRisk, bestRunning float64
	square, seen := seenBefore/2, seenBefore // a prior: half of the rows count in full
	for i := range s.rows {
		r := &s.rows[i]
		if r.accepted(tau) {
			left := float64(len(s.rows)-i) * square / seen * unit
			if r.Floor == 1 {
				left *= discount
			}
			b := min(math.Sqrt(2*max(aim-risk, least)/left), limit)
			w := s.floorAt(i) / r.Propensity
			if r.Wrong {
				risk += math.Log1p(-b * w * (1 - s.Alpha))
				running += math.Log1p(-b * w * (1 - alpha))
			} else {
				risk += math.Log1p(b * w * s.Alpha)
				running += math.Log1p(b * w * alpha)
			}
			bestRisk, bestRunning = max(bestRisk, risk), max(bestRunning, running)
			if bestRisk >= goalRisk && bestRunning >= goal {
				break
			}
			square += w * w
		}
		seen++
	}
	p := math.Exp(goalRisk - goal - bestRisk) // Delta/Spend-fold
	if s.From > 0 {
		p = max(p, math.Exp(-bestRunning))
	}
	return min(p, 1)
}

// effort is how many times the evidence against Alpha that the risk alone takes
// a running share takes as well, for as many answers as were tested: twice the
// square of the ratio of the quantiles.
func (t Test) effort() float64 {
	alone, running := math.Erfinv(1-2*t.Delta), math.Erfinv(1-t.Delta)
	if !(alone > 0) {
		return 1
	}
	return min(2*running*running/(alone*alone), 10)
}

// worth is how many plain labelled rows the rows accepted at tau are worth.
func (s *sample) worth(tau float64) int {
	sum := 0.0
	for i := range s.rows {
		if s.rows[i].accepted(tau) {
			sum += s.floorAt(i) / s.rows[i].Propensity
		}
	}
	return int(sum + 0.5)
}

// explain fills in Needs and Why.
func (s *sample) explain(res *Result, grid []float64) {
	if res.OK {
		res.Why = fmt.Sprintf("%d of %d accepted answers differed from the teacher's; at most %s may; about %s of requests are accepted",
			res.Errors, res.Accepted, limit(s.Alpha), measured(res.Coverage))
		return
	}
	if res.Needs = s.MinRows() - s.asked; res.Needs > 0 {
		res.Why = fmt.Sprintf("needs %d more labelled requests", res.Needs)
		return
	}
	res.Needs = 0
	agree, needs := -1.0, math.Inf(1)
	for _, tau := range grid {
		n, e, share := s.count(tau)
		if n == 0 {
			continue
		}
		agree = max(agree, 1-float64(e)/float64(n))
		more := s.rowsFor(n, e) - float64(n)
		if e > 0 {
			more = max(more, float64(n)/10) // enough to be another sample
		}
		needs = min(needs, max(more, 1)/share)
	}
	switch {
	case agree < 0:
		res.Why = "the student is not confident enough of any answer it may give"
	case needs > mostNeeds:
		res.Why = fmt.Sprintf("the student agrees with the teacher on %s of its most confident answers; more than %s is needed", measured(agree), limit(1-s.Alpha))
	default:
		res.Needs = int(math.Ceil(needs))
		res.Why = fmt.Sprintf("needs about %d more labelled requests: the student agrees with the teacher on %s of its most confident answers, too few of them yet to promise %s",
			res.Needs, measured(agree), limit(1-s.Alpha))
	}
}

// mostNeeds is the forecast beyond which more rows are no honest advice.
const mostNeeds = 1e6

// rowsFor is about how many accepted rows would prove the promise, given that
// e of n were wrong: where alpha·N − z·√(alpha(1−alpha)N), the errors allowed
// among N rows, meets the errors expected; +Inf when it never does.
func (s *sample) rowsFor(n, e int) float64 {
	if e == 0 {
		return float64(s.MinRows())
	}
	gap := s.Alpha - (float64(e)+1)/(float64(n)+2) // a little pessimistic for few rows
	if gap <= 0 {
		gap = s.Alpha - float64(e)/float64(n)
	}
	if gap <= 0 {
		return math.Inf(1)
	}
	z := math.Sqrt2 * math.Erfinv(1-2*s.Delta)
	if s.From > 0 {
		// Half of delta, and the scatter of as many answers to come.
		z = 2 * math.Erfinv(1-s.Delta)
	}
	root := max(z, 0) * math.Sqrt(s.Alpha*(1-s.Alpha)) / gap
	return max(root*root, float64(s.MinRows()))
}

// measured writes a share that was counted, as "81.2 %".
func measured(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// limit writes a share that was set, as "5 %".
func limit(share float64) string { return fmt.Sprintf("%.4g %%", 100*share) }
