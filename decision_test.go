package tandem_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"tandem"
)

func TestPriceCost(t *testing.T) {
	t.Parallel()
	price := tandem.Price{Input: 2, Output: 10, Cached: 0.5}
	for _, c := range []struct {
		name  string
		price tandem.Price
		usage tandem.Usage
		want  float64 // US dollars
	}{
		{"nothing used", price, tandem.Usage{}, 0},
		{"free", tandem.Price{}, tandem.Usage{InputTokens: 1000, OutputTokens: 1000}, 0},
		{"a million of each", price, tandem.Usage{InputTokens: 1e6, OutputTokens: 1e6}, 12},
		{"an ordinary request", price, tandem.Usage{InputTokens: 900, OutputTokens: 5}, 0.00185},
		{"partly cached", price, tandem.Usage{InputTokens: 1e6, CachedTokens: 4e5}, 1.4},
		{"all cached", price, tandem.Usage{InputTokens: 1e6, CachedTokens: 1e6}, 0.5},
		{"cached at no special price", tandem.Price{Input: 2, Output: 10}, tandem.Usage{InputTokens: 1e6, CachedTokens: 4e5}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.price.Cost(c.usage); math.Abs(got-c.want) > 1e-12 {
				t.Errorf("Cost = %v, want %v", got, c.want)
			}
		})
	}
}

// A decision travels in HTTP replies; what does not apply stays out of it.
func TestDecisionJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(tandem.Decision{
		TraceID: "t", Task: "support", Answer: "refund", Step: tandem.StudentStep, Model: "v3", Score: 0.98,
		Certified: true, Reason: tandem.Accepted, Propensity: 0.02, Recorded: tandem.Queued,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"step":"student"`, `"certified":true`, `"reason":"accepted"`, `"propensity":0.02`, `"recorded":"queued"`} {
		if !strings.Contains(string(b), field) {
			t.Errorf("%s lacks %s", b, field)
		}
	}
	for _, field := range []string{"recording", "usage", "attempts"} {
		if strings.Contains(string(b), `"`+field+`"`) {
			t.Errorf("%s mentions %s, which does not apply", b, field)
		}
	}
}

func TestUsagePlus(t *testing.T) {
	a := tandem.Usage{InputTokens: 1, OutputTokens: 2, CachedTokens: 3, CacheWriteTokens: 4, ReasoningTokens: 5}
	want := tandem.Usage{InputTokens: 2, OutputTokens: 4, CachedTokens: 6, CacheWriteTokens: 8, ReasoningTokens: 10}
	if got := a.Plus(a); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
