package certify

import (
	"math"
	"testing"

	"tandem"
)

func TestGateDecide(t *testing.T) {
	open := Gate{Threshold: 0.8, Open: true}
	for _, c := range []struct {
		name   string
		gate   Gate
		score  float64
		accept bool
		reason tandem.Reason
	}{
		{"over", open, 0.9, true, tandem.Accepted},
		{"at", open, 0.8, true, tandem.Accepted},
		{"under", open, math.Nextafter(0.8, 0), false, tandem.BelowThreshold},
		{"no number", open, math.NaN(), false, tandem.BelowThreshold},
		{"impossible score", open, math.Inf(1), false, tandem.BelowThreshold},
		{"closed", Gate{Threshold: 0.8}, 1, false, tandem.GateClosed},
		{"zero", Gate{}, 1, false, tandem.NotCertified},
		{"open without a threshold", Gate{Open: true}, 1, false, tandem.NotCertified},
		{"threshold no number", Gate{Open: true, Threshold: math.NaN()}, 1, false, tandem.NotCertified},
		{"everything", Gate{Open: true, Threshold: math.SmallestNonzeroFloat64}, 0.001, true, tandem.Accepted},
	} {
		if accept, reason := c.gate.Decide(c.score); accept != c.accept || reason != c.reason {
			t.Errorf("%s: %v, %s; want %v, %s", c.name, accept, reason, c.accept, c.reason)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = open.Decide(0.5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
