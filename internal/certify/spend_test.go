package certify

import (
	"math"
	"testing"
)

func TestSpendDelta(t *testing.T) {
	sum := 0.0
	for k := 1; k <= 100_000; k++ {
		sum += SpendDelta(0.1, k)
	}
	if !(sum <= 0.1 && sum > 0.09999) {
		t.Errorf("all looks spend %g of 0.1", sum)
	}
	if SpendDelta(0.1, 0) != SpendDelta(0.1, 1) || SpendDelta(0.1, -5) != SpendDelta(0.1, 1) {
		t.Error("a look before the first spends something else")
	}
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name               string
		total, fresh, look int
		useFresh           bool
	}{
		{"first look", 500, 500, 1, true},
		{"few fresh rows", 1000, 30, 2, false},
		{"a quarter fresh, second look", 1000, 250, 2, false},
		{"mostly fresh, second look", 1000, 800, 2, true},
		{"a quarter fresh, third look", 1000, 250, 3, false},
		{"a quarter fresh, very late look", 1000, 250, 40, true},
		{"as many fresh, early look", 1000, 600, 4, false},
		{"half fresh, late look", 1000, 500, 20, true},
		{"nothing", 0, 0, 1, true},
	} {
		fresh, delta := Plan(c.total, c.fresh, c.look, 0.05, 0.1)
		if fresh != c.useFresh {
			t.Errorf("%s: fresh %v, want %v", c.name, fresh, c.useFresh)
		}
		want := SpendDelta(0.1, c.look)
		if fresh && c.fresh < c.total {
			want = 0.1
		}
		if delta != want {
			t.Errorf("%s: delta %g", c.name, delta)
		}
	}
}

func TestAllotAlpha(t *testing.T) {
	alpha, delta := AllotAlpha(0.05, 0.1, 4)
	if alpha != 0.05 || delta != 0.025 {
		t.Errorf("alpha %g delta %g", alpha, delta)
	}
	if _, delta = AllotAlpha(0.05, 0.1, 0); delta != 0.1 || math.IsInf(delta, 0) {
		t.Errorf("no gate: delta %g", delta)
	}
}
