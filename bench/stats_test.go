package bench

import (
	"math"
	"testing"
)

func TestStatistics(t *testing.T) {
	x := []float64{4, 1, 3, 2}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"mean", mean(x), 2.5},
		{"mean of nothing", mean(nil), 0},
		{"deviation", deviation(x), math.Sqrt(5.0 / 3)},
		{"deviation of one", deviation(x[:1]), 0},
		{"median", median(x), 2.5},
		{"odd median", median(x[:3]), 3},
		{"90 %", quantile(x, 0.9), 4},
		{"50 %", quantile(x, 0.5), 2},
		{"0 %", quantile(x, 0), 1},
	} {
		if math.Abs(c.got-c.want) > 1e-12 {
			t.Errorf("%s = %g, want %g", c.name, c.got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) || !math.IsNaN(quantile(nil, 0.5)) {
		t.Error("the middle of nothing is a number")
	}
	if x[0] != 4 {
		t.Error("the input was reordered")
	}
}
