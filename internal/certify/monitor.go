package certify

import (
	"fmt"
	"math"
)

// Verdict is what one audit led to.
type Verdict struct {
	// Alarm says that the risk of the gate has exceeded alpha at some time,
	// except with probability delta over the whole life of the monitor. Once
	// raised it stays: the gate must close until a new certificate.
	Alarm bool
	// Drift says that the recent audits look worse than alpha. It is quicker
	// than an alarm and cries wolf on average at most once in 1/driftDelta
	// audits. It is told once; the detector then starts afresh.
	Drift bool
	Why   string // in words, "" when there is nothing to tell
}

// Monitor watches one deployed gate through its audits. It has one writer, is
// not safe for concurrent use, and allocates only when it has something to
// tell. A monitor fed the same audits in the same order is in the same state,
// so it can be rebuilt from traces after a restart.
type Monitor struct {
	alpha, delta, driftDelta float64
	floor                    float64 // declared lowest audit rate; 0: the row's own
	bets                     [monitorBets]bet
	alarmed                  bool
	why                      string
	audits, errors           int
	interval                 running
}

// bet is one stake size with its own purse.
type bet struct {
	size  float64 // share of wealth moved by one audit at the floor, below 1/alpha
	play  float64 // wealth in play
	purse float64 // wealth not yet put into play
	cusum float64 // of the drift detector
}

const monitorBets = 4

// NewMonitor watches a gate that promises a risk of at most alpha. delta is
// the probability of ever raising a false alarm, driftDelta the inverse of the
// mean number of audits between false drift signals; all in (0, 1).
func NewMonitor(alpha, delta, driftDelta float64) *Monitor {
	m := &Monitor{alpha: alpha, delta: delta, driftDelta: driftDelta, interval: running{delta: delta}}
	odds := alpha / (1 - alpha)
	for i, ratio := range [monitorBets]float64{1.5, 2.2, 3.5, 6} {
		q := odds * ratio / (1 + odds*ratio) // the risk this bet is best against
		m.bets[i] = bet{size: (q - alpha) / (alpha * (1 - alpha)), play: firstStake, purse: 1 - firstStake}
	}
	return m
}

const (
	firstStake = 0.3
	stakeScale = 0.1
	stakePower = 7.0
)

// SetFloor declares the lowest audit rate that any accepted request can meet
// from now on. It is needed only when the rate depends on the request; it must
// be set before the coins are thrown, by a rule that looks at the past alone.
func (m *Monitor) SetFloor(rate float64) { m.floor = rate }

// Observe takes the outcome of one audited accepted answer: the audit rate it
// met and whether it differed from the teacher's.
func (m *Monitor) Observe(propensity float64, wrong bool) Verdict {
	if !(propensity > 0 && propensity <= 1) {
		return Verdict{Alarm: m.alarmed, Why: m.why}
	}
	weight := 1.0
	if m.floor > 0 && m.floor < propensity {
		weight = m.floor / propensity
	}
	e := 0.0
	if wrong {
		e = 1
		m.errors++
	}
	m.audits++
	m.interval.observe(weight, wrong)

	wealth, drift := 0.0, 0.0
	for i := range m.bets {
		b := &m.bets[i]
		factor := 1 + b.size*weight*(e-m.alpha)
		if stake := stakeScale * math.Pow(b.purse, stakePower); b.play < stake {
			b.purse -= stake - b.play
			b.play = stake
		}
		b.play *= factor
		b.cusum = (b.cusum + 1) * factor
		wealth += b.play + b.purse
		drift += b.cusum
	}
	var v Verdict
	if !m.alarmed && wealth/monitorBets >= 1/m.delta {
		m.alarmed = true
		m.why = fmt.Sprintf("alarm: %d of %d audited answers differed from the teacher's; at most %.1f %% may", m.errors, m.audits, 100*m.alpha)
	}
	if drift/monitorBets >= 1/m.driftDelta {
		v.Drift = true
		for i := range m.bets {
			m.bets[i].cusum = 0
		}
		v.Why = fmt.Sprintf("drift: recent audits differ from the teacher's more often than %.1f %%", 100*m.alpha)
	}
	if m.alarmed {
		v.Alarm, v.Why = true, m.why
	}
	return v
}

// Evidence is the logarithm of the evidence against the promise, the e-value
// of "the risk has never exceeded alpha".
func (m *Monitor) Evidence() float64 {
	wealth := 0.0
	for i := range m.bets {
		wealth += m.bets[i].play + m.bets[i].purse
	}
	return math.Log(wealth / monitorBets)
}

// Threshold is the Evidence at which the alarm is raised.
func (m *Monitor) Threshold() float64 { return -math.Log(m.delta) }

// Audits is how many audits were observed.
func (m *Monitor) Audits() int { return m.audits }

// Errors is how many of them differed from the teacher's.
func (m *Monitor) Errors() int { return m.errors }

// Interval bounds the mean risk of the gate over its life so far. It may be
// read after every audit: the probability that it is ever wrong is at most
// delta.
func (m *Monitor) Interval() (lo, hi float64) { return m.interval.bounds() }
