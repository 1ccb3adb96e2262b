package certify

import (
	"math"
	"math/rand/v2"
	"testing"
)

// scaled is how many of full simulation runs are done: a fiftieth under the
// race detector or -short. It says so in the log.
func scaled(t *testing.T, full int) int {
	t.Helper()
	if raced || testing.Short() {
		t.Logf("reduced simulation: %d of %d runs (race detector or -short)", max(full/50, 40), full)
		return max(full/50, 40)
	}
	return full
}

// atMost fails when hits of runs is more than p plus three standard errors.
func atMost(t *testing.T, what string, hits, runs int, p float64) {
	t.Helper()
	share := float64(hits) / float64(runs)
	t.Logf("%s: %.4f of %d runs, at most %.4g allowed", what, share, runs, p)
	if share > p+3*math.Sqrt(p*(1-p)/float64(runs)) {
		t.Errorf("%s: share %.4f of %d runs exceeds %g", what, share, runs, p)
	}
}

const levels = 20

// world is traffic whose score takes the values 1/levels, …, 1, equally often,
// so that every true selective risk is known exactly.
type world struct {
	name  string
	wrong func(score float64) float64       // probability of a wrong answer
	asked func(score, time float64) float64 // propensity; time runs from 0 to 1
	floor func(time float64) float64        // lowest propensity at a time; nil: not told
}

// risk is the true selective risk at a threshold.
func (w world) risk(tau float64) float64 {
	sum, n := 0.0, 0
	for l := 1; l <= levels; l++ {
		if s := float64(l) / levels; s >= tau {
			sum += w.wrong(s)
			n++
		}
	}
	return sum / float64(n)
}

// sample draws rows into buf.
func (w world) sample(rng *rand.Rand, buf []Row) []Row {
	var wrong [levels + 1]float64
	for l := range wrong {
		wrong[l] = w.wrong(float64(l) / levels)
	}
	for i := range buf {
		time := float64(i) / float64(len(buf))
		l := 1 + rng.IntN(levels)
		s := float64(l) / levels
		r := Row{Score: s, Propensity: w.asked(s, time)}
		r.Asked = rng.Float64() < r.Propensity
		r.Wrong = rng.Float64() < wrong[l]
		if w.floor != nil {
			r.Floor = w.floor(time)
		}
		buf[i] = r
	}
	return buf
}

// from is the grid of all scores from one on, strict to loose.
func from(score float64) []float64 {
	var grid []float64
	for l := int(score*levels + 0.5); l >= 1; l-- {
		grid = append(grid, float64(l)/levels)
	}
	return grid
}

func always(float64, float64) float64 { return 1 }

func constant(p float64) func(float64) float64 { return func(float64) float64 { return p } }

// rising is a risk that grows as confidence falls.
func rising(floor, slope, power float64) func(float64) float64 {
	return func(s float64) float64 { return min(floor+slope*math.Pow(1-s, power), 1) }
}
