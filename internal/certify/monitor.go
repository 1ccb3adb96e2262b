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
// have to win that back. So each bet keeps a purse and, whenever the wealth in
// play has fallen below a stake, tops it up from the purse. Moving money
// between purse and play changes no total, so the total is a supermartingale
// all the same: a mixture over starting times whose prior weights add up to 1.
// The stake shrinks with the purse as its fourth power, which lasts for ever: after
// t good audits it is of the order of t^(−4/3), so that the evidence needed
// grows with log t only. The constants were chosen by simulation; the delays,
// in docs/guarantee.md, are flat around them.
//
// Four bets, each the best one against a certain risk above alpha, play side
// by side with a quarter of the money.
//
// # Drift
//
// The same bets drive a Shiryaev-Roberts e-detector, D ← (D+1)·factor (Shin,
// Ramdas and Rinaldo 2022, arXiv:2203.03532). D minus the number of audits is a
// supermartingale, so the mean time until D reaches 1/driftDelta is at least
// 1/driftDelta. It is never below the CUSUM of the same factors.
type Monitor struct {
	alpha, delta, driftDelta float64
	floor                    float64 // declared lowest audit rate; 0: the audit's own
	bets                     [monitorBets]bet
	alarmed                  bool
	why                      string // of the alarm
	audits, errors           int
	mean                     running
}

// bet is one stake size with its own money.
type bet struct {
	size   float64 // relative change of wealth by one error, below 1/alpha
	play   float64 // money in play
	purse  float64 // money not yet in play
	stake  float64 // least money in play
	refill float64 // purse at which stake is computed anew
	recent float64 // of the drift detector
}

const (
	monitorBets = 4
	firstStake  = 0.3   // put into play at the start
	stakeScale  = 0.02  // later stakes are this times the fourth power of the purse's share left
	mostMoney   = 1e100 // winnings beyond it are thrown away, so that nothing overflows
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
	for i, ratio := range [monitorBets]float64{1.5, 2.2, 3.5, 6} {
		worse := odds * ratio / (1 + odds*ratio) // the risk this bet grows fastest against
		m.bets[i] = bet{
			size:   (worse - alpha) / (alpha * (1 - alpha)),
			play:   firstStake / monitorBets,
			purse:  (1 - firstStake) / monitorBets,
			refill: 1,
		}
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
		if b.purse < b.refill {
			// Computed anew for every half per cent of the purse spent.
			share := b.purse * monitorBets / (1 - firstStake)
			b.stake = stakeScale / monitorBets * share * share * share * share
			b.refill = b.purse * 0.995
		}
		if b.play < b.stake {
			b.purse -= b.stake - b.play
			b.play = b.stake
		}
		factor := 1 + b.size*change
		b.play = min(b.play*factor, mostMoney)
		b.recent = min((b.recent+1)*factor, mostMoney)
		wealth += b.play + b.purse
		recent += b.recent
	}
	return wealth, recent / monitorBets
}

// Evidence is the logarithm of the evidence against the promise: of the
// e-value of "the risk was never above alpha".
func (m *Monitor) Evidence() float64 {
	wealth := 0.0
	for i := range m.bets {
		wealth += m.bets[i].play + m.bets[i].purse
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
