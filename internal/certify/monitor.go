package certify

import (
	"fmt"
	"math"
)

// Verdict is what one audit led to.
type Verdict struct {
	// Alarm says that the risk of the gate has exceeded alpha at some time;
	// the probability that this is ever said wrongly is at most delta. Once
	// raised it stays: the gate must close until a new certificate.
	Alarm bool
	// Drift says that recent audits look worse than alpha. It comes earlier
	// than an alarm after a long good past, and wrongly on average at most
	// once in 1/driftDelta audits. It is said once; then the detector starts
	// afresh.
	Drift bool
	Why   string // in words, "" when there is nothing to say
}

// Monitor watches one deployed gate through its audits. It has one writer, is
// not safe for concurrent use, and allocates only when it has something to
// say. Fed the same audits in the same order it comes to the same state, so it
// is rebuilt from the traces after a restart.
//
// # Why the alarm is valid at every moment
//
// The hypothesis is that at every audit the risk of an accepted answer, given
// the past, is at most alpha. An audit with propensity π at which no request
// could have met less than the floor φ (known before the request) multiplies a
// wealth by
//
//	1 + b·(φ/π)·(e − alpha),  0 <= b < 1/alpha, fixed beforehand,
//
// and a request not audited by 1. Averaged over the audit's coin the change is
// b·φ·(e − alpha), so given the past its mean is b·φ·(risk − alpha), at most 0:
// the wealth is a supermartingale that never turns negative, and by Ville's
// inequality it ever reaches 1/delta with probability at most delta. Nothing
// is assumed about the answers being alike or independent. When the rate is the
// same for every request of a moment, φ = π and audits count in full however
// rare they are.
//
// # Why it is still quick after a long good past
//
// A wealth that bets on trouble dwindles while there is none and would first
// have to win that back. So each bet keeps a purse and moves money between purse
// and play. Moving money by a rule that looks at the past alone changes no
// total, so the total is a supermartingale all the same.
//
// An eager bet always has a stake in play and tops it up when it has dwindled: a
// mixture over starting times whose prior weights add up to 1. The stake shrinks
// with the purse as its fourth power, which lasts for ever. After t good audits
// it is of the order of t^(−4/3).
//
// A patient bet, which has most of the money, plays only while the CUSUM of its
// factors is at patience or over, and takes its money back when it falls below.
// That costs the first log(patience) of the evidence after a change. But while
// the risk is well under alpha the CUSUM gets there far more rarely than once in
// 1/patience audits, so that few stakes are lost to a long good past and the
// next is still a large one. After 20,000 audits at half of alpha a jump from 10
// to 20 % is found in 170 audits instead of 290.
//
// Three pairs of such bets, each the best against a certain risk above alpha,
// play side by side. The one against the smallest excess has most of the money:
// the others gather evidence so fast that it hardly matters to them. All
// constants were chosen by simulation; the delays, in docs/guarantee.md, are
// flat around them.
//
// # Drift
//
// The same factors drive a Shiryaev-Roberts e-detector, D ← (D+1)·factor (Shin,
// Ramdas and Rinaldo 2022, arXiv:2203.03532), averaged with the same weights. D
// minus the number of audits is a supermartingale, so the mean time until D
// reaches 1/driftDelta is at least 1/driftDelta. It is never below the CUSUM of
// the same factors.
type Monitor struct {
	alpha, delta, driftDelta float64
	floor                    float64 // declared lowest audit rate; 0: the audit's own
	bets                     [monitorBets]bet
	alarmed                  bool
	why                      string // of the alarm
	audits, errors           int
	mean                     running
}

// bet is one assumed risk above alpha, with an eager and a patient share of the
// money.
type bet struct {
	size    float64 // relative change of wealth by one error, below 1/alpha
	weight  float64 // share of all money
	eager   money
	patient money
	cusum   float64 // of the factors so far, at least that of no audit at all
	recent  float64 // of the drift detector
}

// money is what a bet has in play and what it has not.
type money struct{ play, purse, scale float64 }

// topUp puts the stake into play when there is less. The stake is scale times
// the fourth power of the share of the purse that is left.
func (m *money) topUp(purse float64) {
	share := min(m.purse/purse, 1)
	if stake := m.scale * purse * share * share * share * share; m.play < stake {
		m.purse -= stake - m.play
		m.play = stake
	}
}

const (
	monitorBets  = 3
	eagerMoney   = 0.2   // share of a bet's money
	eagerFirst   = 0.8   // share of that in play at the start
	eagerScale   = 0.02  // later stakes, in shares of the purse at the start
	patientScale = 0.6   // the same of the patient money, which has none in play at the start
	patience     = 7.4   // CUSUM at which patient money begins to play, e²
	mostMoney    = 1e100 // winnings beyond it are thrown away, so that nothing overflows
)

// NewMonitor watches a gate that promises a risk of at most alpha. delta is
// the probability of ever raising a false alarm, driftDelta the inverse of the
// least mean number of audits between false drift signals (0: no drift
// signals). A monitor whose alpha or delta is not in (0, 1) raises the alarm at
// its first audit, because it could not keep a promise.
func NewMonitor(alpha, delta, driftDelta float64) *Monitor {
	m := &Monitor{alpha: alpha, delta: delta, driftDelta: driftDelta, mean: running{delta: delta}}
	if !(Test{Alpha: alpha, Delta: delta}).valid() {
		m.alarmed = true
		m.why = fmt.Sprintf("alpha %g and delta %g must lie between 0 and 1", alpha, delta)
		return m
	}
	odds := alpha / (1 - alpha)
	weights := [monitorBets]float64{0.6, 0.3, 0.1}
	for i, ratio := range [monitorBets]float64{1.6, 2.5, 5} {
		worse := odds * ratio / (1 + odds*ratio) // the risk this bet grows fastest against
		m.bets[i] = bet{size: (worse - alpha) / (alpha * (1 - alpha)), weight: weights[i], cusum: 1}
		m.bets[i].eager = money{play: weights[i] * eagerMoney * eagerFirst, purse: weights[i] * eagerMoney * (1 - eagerFirst), scale: eagerScale}
		m.bets[i].patient = money{purse: weights[i] * (1 - eagerMoney), scale: patientScale}
	}
	return m
}

// SetFloor declares the lowest audit rate that any accepted request can meet
// from now on. It is needed only when the rate depends on the request itself;
// without it the rate of a moment is taken to be the same for all. It must be
// set before the coins are thrown and by a rule that looks at the past alone.
func (m *Monitor) SetFloor(rate float64) { m.floor = rate }

// Observe takes the outcome of one audited accepted answer: the audit rate it
// met, in (0, 1], and whether it differed from the teacher's. An audit with
// another rate is ignored.
func (m *Monitor) Observe(propensity float64, wrong bool) Verdict {
	if propensity > 0 && propensity <= 1 {
		weight := 1.0
		if m.floor > 0 && m.floor < propensity {
			weight = m.floor / propensity
		}
		m.audits++
		if wrong {
			m.errors++
		}
		m.mean.observe(weight, wrong)
		wealth, recent := m.play(weight, wrong)
		if !m.alarmed && wealth >= 1/m.delta {
			m.alarmed = true
			m.why = fmt.Sprintf("%d of %d audited answers differed from the teacher's, lately too many: the promise is at most %s",
				m.errors, m.audits, limit(m.alpha))
		}
		if !m.alarmed && m.driftDelta > 0 && recent >= 1/m.driftDelta {
			for i := range m.bets {
				m.bets[i].recent = 0
			}
			return Verdict{Drift: true, Why: fmt.Sprintf("recent audits differ from the teacher's more often than %s", limit(m.alpha))}
		}
	}
	return Verdict{Alarm: m.alarmed, Why: m.why}
}

// play settles every bet on one audit and returns the whole wealth and the
// state of the drift detector.
func (m *Monitor) play(weight float64, wrong bool) (wealth, recent float64) {
	change := -m.alpha * weight
	if wrong {
		change = (1 - m.alpha) * weight
	}
	for i := range m.bets {
		b := &m.bets[i]
		b.eager.topUp(b.weight * eagerMoney * (1 - eagerFirst))
		if b.cusum >= patience {
			b.patient.topUp(b.weight * (1 - eagerMoney))
		} else {
			b.patient.purse = min(b.patient.purse+b.patient.play, mostMoney)
			b.patient.play = 0
		}
		factor := 1 + b.size*change
		b.eager.play = min(b.eager.play*factor, mostMoney)
		b.patient.play = min(b.patient.play*factor, mostMoney)
		b.cusum = min(max(b.cusum, 1)*factor, mostMoney)
		b.recent = min((b.recent+1)*factor, mostMoney)
		wealth += b.eager.play + b.eager.purse + b.patient.play + b.patient.purse
		recent += b.recent * b.weight
	}
	return wealth, recent
}

// Evidence is the logarithm of the evidence against the promise: of the
// e-value of "the risk was never above alpha".
func (m *Monitor) Evidence() float64 {
	wealth := 0.0
	for i := range m.bets {
		b := &m.bets[i]
		wealth += b.eager.play + b.eager.purse + b.patient.play + b.patient.purse
	}
	return math.Log(max(wealth, 1/mostMoney))
}

// Threshold is the Evidence at which the alarm is raised.
func (m *Monitor) Threshold() float64 { return -math.Log(m.delta) }

// Audits is how many audits were observed.
func (m *Monitor) Audits() int { return m.audits }

// Errors is how many of them differed from the teacher's answer.
func (m *Monitor) Errors() int { return m.errors }

// Interval bounds the mean risk of the gate over its audits so far. It may be
// read after every audit: the probability that it is ever wrong is at most
// delta. Where audit rates depend on the request this holds for a risk that
// does not change.
func (m *Monitor) Interval() (lo, hi float64) { return m.mean.bounds() }
