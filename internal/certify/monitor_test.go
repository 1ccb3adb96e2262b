package certify

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestMonitorNull10000Streams peeks at every one of 20,000 audits of each
// stream, at the worst risk the promise allows.
func TestMonitorNull10000Streams(t *testing.T) {
	t.Parallel()
	const audits = 20_000
	streams := scaled(t, 10_000)
	for _, c := range []struct{ alpha, delta float64 }{{0.05, 0.1}, {0.2, 0.05}} {
		rng := rand.New(rand.NewPCG(1, 2))
		if c.alpha != 0.05 {
			streams = max(streams/10, 100)
		}
		alarms := 0
		for range streams {
			m := NewMonitor(c.alpha, c.delta, 0)
			for range audits {
				if m.Observe(0.1, rng.Float64() < c.alpha).Alarm {
					alarms++
					break
				}
			}
		}
		share := float64(alarms) / float64(streams)
		t.Logf("alpha %g delta %g: %.4f of %d streams ever alarmed", c.alpha, c.delta, share, streams)
		if share > c.delta {
			t.Errorf("alpha %g: %.4f of the streams alarmed, more than %g", c.alpha, share, c.delta)
		}
	}
}

// TestMonitorNullWithRatesPerRequest audits wrong answers more often than right
// ones, so that the audits alone look twice as bad as the gate is.
func TestMonitorNullWithRatesPerRequest(t *testing.T) {
	t.Parallel()
	const alpha, delta, audits = 0.1, 0.1, 3000
	streams := scaled(t, 1000)
	count := func(floor float64) (alarms, misses int) {
		rng := rand.New(rand.NewPCG(3, 4))
		for range streams {
			m := NewMonitor(alpha, delta, 0)
			m.SetFloor(floor)
			alarmed, missed := false, false
			for m.Audits() < audits && !alarmed {
				hard := rng.Float64() < 0.25
				rate, risk := 0.1, 0.02
				if hard {
					rate, risk = 0.4, 0.34 // mean risk 0.1
				}
				if rng.Float64() >= rate {
					continue
				}
				alarmed = m.Observe(rate, rng.Float64() < risk).Alarm
				missed = missed || m.Audits()%10 == 0 && !m.mean.inside(alpha)
			}
			if alarmed {
				alarms++
			}
			if missed {
				misses++
			}
		}
		return alarms, misses
	}
	alarms, misses := count(0.1)
	atMost(t, "floor told: alarms", alarms, streams, delta)
	atMost(t, "floor told: interval ever wrong", misses, streams, delta)
	if alarms, _ = count(0); float64(alarms) < 0.9*float64(streams) {
		t.Errorf("without weights only %d of %d alarmed; the simulation is too easy", alarms, streams)
	}
}

// delays runs streams with a good past and returns how many audits a jump of
// the risk takes to be found, in ascending order.
func delays(rng *rand.Rand, alpha, good, bad float64, past, runs int, found func(Verdict) bool) []int {
	var out []int
	for len(out) < runs {
		m := NewMonitor(alpha, 0.1, 0.001)
		early := false
		for range past {
			if m.Observe(0.1, rng.Float64() < good).Alarm {
				early = true
				break
			}
		}
		if early {
			continue
		}
		n := 1
		for !found(m.Observe(0.1, rng.Float64() < bad)) {
			n++
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// TestMonitorDelays measures the table of docs/guarantee.md. A jump of ten
// points is found within 200 audits (median) after every past; the medians of
// these runs scatter by a few per cent, in a reduced simulation by more.
func TestMonitorDelays(t *testing.T) {
	t.Parallel()
	runs, most := max(scaled(t, 400), 50), 215
	if runs < 400 {
		most = 275
	}
	for i, alpha := range []float64{0.02, 0.05, 0.1, 0.2} {
		for j, c := range []struct {
			past int
			good float64 // risk in that time, in shares of alpha
		}{{0, 0.5}, {200, 0.5}, {500, 1}, {1000, 0.5}, {5000, 0.5}, {20000, 0.5}} {
			rng := rand.New(rand.NewPCG(5, uint64(10*i+j)))
			var line strings.Builder
			for _, bad := range []float64{2 * alpha, 3 * alpha, min(5*alpha, 0.99), alpha + 0.1} {
				n := runs
				if c.past > 1000 {
					n = max(runs/2, 50)
				}
				d := delays(rng, alpha, c.good*alpha, bad, c.past, n, func(v Verdict) bool { return v.Alarm })
				median := d[len(d)/2]
				fmt.Fprintf(&line, " %4d", median)
				if bad == alpha+0.1 && median > most {
					t.Errorf("alpha %g, %d audits at risk %g: a jump of ten points takes %d audits", alpha, c.past, c.good*alpha, median)
				}
			}
			d := delays(rng, alpha, c.good*alpha, alpha+0.1, min(c.past, 1000), runs/2, func(v Verdict) bool { return v.Drift || v.Alarm })
			t.Logf("alpha %.2f, past %5d at %.1f·alpha: 2α 3α 5α +10 points:%s; drift signal, +10 points: %d", alpha, c.past, c.good, line.String(), d[len(d)/2])
		}
	}
}

func TestMonitorAlarmStays(t *testing.T) {
	m := NewMonitor(0.05, 0.1, 0.01)
	var v Verdict
	for range 50 {
		v = m.Observe(0.5, true)
	}
	if !v.Alarm || v.Why == "" || m.Evidence() < m.Threshold() {
		t.Fatalf("50 errors in a row: %+v, evidence %g of %g", v, m.Evidence(), m.Threshold())
	}
	for range 5000 {
		v = m.Observe(0.5, false)
	}
	if !v.Alarm {
		t.Error("the alarm went away")
	}
	if m.Audits() != 5050 || m.Errors() != 50 {
		t.Errorf("%d audits, %d errors", m.Audits(), m.Errors())
	}
	for range 100_000 {
		m.Observe(0.5, true)
	}
	if e := m.Evidence(); math.IsInf(e, 0) || math.IsNaN(e) {
		t.Errorf("evidence %g", e)
	}
}

func TestMonitorRefusesNonsense(t *testing.T) {
	for _, c := range []struct{ alpha, delta float64 }{{0, 0.1}, {1, 0.1}, {0.1, 0}, {0.1, 1}, {math.NaN(), 0.1}} {
		m := NewMonitor(c.alpha, c.delta, 0)
		if v := m.Observe(0.1, false); !v.Alarm || v.Why == "" {
			t.Errorf("alpha %g delta %g: %+v", c.alpha, c.delta, v)
		}
		if lo, hi := m.Interval(); !(lo >= 0 && hi <= 1 && lo <= hi) {
			t.Errorf("interval [%g, %g]", lo, hi)
		}
	}
	m := NewMonitor(0.1, 0.1, 0)
	for _, p := range []float64{0, -1, 1.5, math.NaN(), math.Inf(1)} {
		m.Observe(p, true)
	}
	if m.Audits() != 0 || m.Evidence() != 0 && math.Abs(m.Evidence()) > 1e-12 {
		t.Errorf("impossible propensities counted: %d audits, evidence %g", m.Audits(), m.Evidence())
	}
}

// TestDriftARL measures the mean time between false drift signals.
func TestDriftARL(t *testing.T) {
	const driftDelta = 0.005
	rng := rand.New(rand.NewPCG(7, 8))
	audits := scaled(t, 2_000_000)
	m := NewMonitor(0.1, 1e-9, driftDelta)
	signals := 0
	for range audits {
		if m.Observe(0.1, rng.Float64() < 0.1).Drift {
			signals++
		}
	}
	mean := float64(audits) / float64(max(signals, 1))
	t.Logf("one false drift signal in %.0f audits, at least %.0f promised", mean, 1/driftDelta)
	if mean < 1/driftDelta*0.9 {
		t.Errorf("a false drift signal every %.0f audits", mean)
	}
}

// TestIntervalAtEveryMoment peeks at the interval after every audit of streams
// whose risk wanders.
func TestIntervalAtEveryMoment(t *testing.T) {
	t.Parallel()
	const delta, audits = 0.1, 2000
	streams := scaled(t, 300)
	for _, risk := range []func(i int) float64{
		func(int) float64 { return 0.01 },
		func(int) float64 { return 0.5 },
		func(i int) float64 { return 0.1 + 0.08*math.Sin(float64(i)/150) },
		func(i int) float64 { return float64(i % 2) }, // known each time, half on average
	} {
		rng := rand.New(rand.NewPCG(9, 10))
		misses := 0
		for range streams {
			m, sum := NewMonitor(0.3, delta, 0), 0.0
			for i := range audits {
				r := risk(i)
				sum += r
				m.Observe(0.2, rng.Float64() < r)
				if !m.mean.inside(sum / float64(i+1)) {
					misses++
					break
				}
			}
		}
		atMost(t, fmt.Sprintf("interval ever wrong (first risk %.2f)", risk(0)), misses, streams, delta)
	}
	m := NewMonitor(0.05, 0.1, 0)
	if lo, hi := m.Interval(); lo != 0 || hi != 1 {
		t.Errorf("without audits [%g, %g], want [0, 1]", lo, hi)
	}
	for i := range 3000 {
		m.Observe(0.1, i%25 == 0)
	}
	lo, hi := m.Interval()
	if !(lo > 0.029 && lo < 0.04 && hi > 0.04 && hi < 0.053) {
		t.Errorf("120 errors of 3000: [%g, %g]", lo, hi)
	}
	if !m.mean.inside(lo+1e-9) || !m.mean.inside(hi-1e-9) || m.mean.inside(lo-1e-6) || m.mean.inside(hi+1e-6) {
		t.Errorf("[%g, %g] are not the ends of the inside", lo, hi)
	}
}

func TestMonitorAllocatesNothing(t *testing.T) {
	m := NewMonitor(0.05, 0.1, 0.001)
	i := 0
	if n := testing.AllocsPerRun(5000, func() { i++; m.Observe(0.1, i%40 == 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMonitorObserve(b *testing.B) {
	m := NewMonitor(0.05, 0.1, 0.001)
	i := 0
	for b.Loop() {
		i++
		m.Observe(0.1, i%40 == 0)
	}
}
