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
	// open. It only sharpens the betting test. 0: the lowest propensity among
	// all rows.
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
// answers among those accepted, is proved to be at most alpha, such that the
// probability of deploying a threshold whose risk exceeds alpha is at most
// delta. Rows are in time order; grid is the order in which thresholds are
// tested, from Grid on other rows.
//
// It tests a fixed sequence (Learn then Test: Angelopoulos et al. 2021,
// arXiv:2110.01052): each threshold in the order given, at level delta,
// until the first that is not proved; the last one proved is taken. Deploying
// a false one needs the first false hypothesis of the sequence to be rejected,
// which has probability at most delta however many thresholds are tested.
//
// With every label known the test is the exact binomial one, otherwise a
// betting test (see wealth).
func Certify(rows []Row, grid []float64, alpha, delta float64) Result {
	t := Test{alpha, delta}
	if !t.valid() {
		return Result{PValue: 1, Why: fmt.Sprintf("alpha %g and delta %g must lie between 0 and 1", alpha, delta)}
	}
	s := newSample(rows, t)
	res := Result{Method: s.method, Rows: s.asked, PValue: 1}
	for i, tau := range grid {
		if !(tau > 0 && tau <= 1) {
			break
		}
		p := s.pValue(tau)
		ok := p <= delta
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
	s := &sample{Test: t, method: Binomial, floor: 1}
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
	open := make([]*Row, 0, s.asked)
	for i := range s.rows {
		if s.rows[i].accepted(0) {
			open = append(open, &s.rows[i])
		}
	}
	slices.SortStableFunc(open, func(a, b *Row) int { return cmp.Compare(b.Score, a.Score) })
	s.errs, s.mass = make([]int, 1, len(open)+1), make([]float64, 1, len(open)+1)
	for i, r := range open {
		e := s.errs[i]
		if r.Wrong {
			e++
		}
		s.scores = append(s.scores, r.Score)
		s.errs = append(s.errs, e)
		s.mass = append(s.mass, s.mass[i]+1/r.Propensity)
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

// pValue is a p-value for "the risk at tau exceeds alpha".
func (s *sample) pValue(tau float64) float64 {
	if s.method == Betting {
		return s.bettingP(tau)
	}
	n, e, _ := s.count(tau)
	if n == 0 {
		return 1
	}
	return BinomialTail(n, s.Alpha, e)
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
// supermartingale, and so is an average of such wealths. By Ville's inequality
// it ever reaches 1/delta with probability at most delta (Waudby-Smith and
// Ramdas, arXiv:2010.09686). Rows not asked have Z = 0 and change nothing.
//
// λ is a share of the floor at that time, b·floor with b below 1/(1−alpha), so
// a row asked at the floor moves wealth as a plain labelled row would. It may
// not be a share of the row's own propensity: the propensity depends on the
// request, and such bets would test a risk in which often-asked requests count
// more.
func (s *sample) bettingP(tau float64) float64 {
	bets := bettingGrid(s.Alpha)
	var wealth [bettingBets]float64
	for j := range wealth {
		wealth[j] = 1.0 / bettingBets
	}
	best := 1.0
	for i := range s.rows {
		r := &s.rows[i]
		if !r.accepted(tau) {
			continue
		}
		e := 0.0
		if r.Wrong {
			e = 1
		}
		z := s.floorAt(i) / r.Propensity * (e - s.Alpha)
		sum := 0.0
		for j := range wealth {
			wealth[j] *= 1 - bets[j]*z
			sum += wealth[j]
		}
		best = max(best, sum)
	}
	return 1 / best
}

const bettingBets = 6

// bettingGrid are the bets in units of floor, below 1/(1−alpha).
func bettingGrid(alpha float64) (b [bettingBets]float64) {
	for j := range b {
		b[j] = (float64(j) + 0.9) / bettingBets / (1 - alpha)
	}
	return b
}

// explain fills in Needs and Why.
func (s *sample) explain(res *Result, grid []float64) {
	pct := func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }
	if res.OK {
		res.Why = fmt.Sprintf("certified: %d of %d accepted answers differed from the teacher's; at most %s may; %s of traffic is accepted",
			res.Errors, res.Accepted, pct(s.Alpha), pct(res.Coverage))
		return
	}
	lowest := s.MinRows()
	if s.asked < lowest || len(grid) == 0 {
		res.Needs = max(lowest-s.asked, 0)
		if res.Needs > 0 {
			res.Why = fmt.Sprintf("needs %d more labelled requests", res.Needs)
		} else {
			res.Why = "no threshold looked promising on the training rows"
		}
		return
	}
	bestN, bestRisk, bestCover := 0, 1.0, 0.0
	needs := math.Inf(1)
	for _, tau := range grid {
		n, e, c := s.count(tau)
		if n == 0 {
			continue
		}
		risk := float64(e) / float64(n)
		if more := s.rowsFor(risk) - float64(n); more/c < needs {
			needs = more / c
		}
		if bestN == 0 || risk < bestRisk {
			bestN, bestRisk, bestCover = n, risk, c
		}
	}
	_ = bestCover
	if bestRisk >= s.Alpha || math.IsInf(needs, 1) {
		res.Why = fmt.Sprintf("the student agrees with the teacher on %s of its most confident answers; %s are needed", pct(1-bestRisk), pct(1-s.Alpha))
		return
	}
	res.Needs = int(min(max(math.Ceil(needs), 1), 1e9))
	res.Why = fmt.Sprintf("needs about %d more labelled requests", res.Needs)
}

// rowsFor is about how many accepted rows prove the promise when a share risk
// of them is wrong, +Inf when none does.
func (s *sample) rowsFor(risk float64) float64 {
	if risk >= s.Alpha {
		return math.Inf(1)
	}
	for n := float64(s.MinRows()); n < 1e7; n = math.Ceil(n * 1.05) {
		if float64(s.Allowed(int(n))) >= risk*n {
			return n
		}
	}
	return math.Inf(1)
}
