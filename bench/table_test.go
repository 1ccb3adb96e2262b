package bench

import (
	"strings"
	"testing"
)

func TestTables(t *testing.T) {
	half, eighty := 0.5, 0.8123
	table := OffloadTable([]OffloadResult{
		{Alpha: 0.05, ServedMean: 0.444, ServedSD: 0.02, DisagreementMean: 0.031, Seeds: 20, Violations: 2, Clear: 1, Within: true, Agreement: 0.7, AccuracyCascade: &eighty},
		{Alpha: 0.1, ServedMean: 0.53, Seeds: 20, Violations: 9, Refused: 3},
	}, map[float64]float64{0.05: 0.52, 0.1: 0.52}).String()
	want := `| α    | served |     ± | disagreement |       seeds over α | clearly | refused | cascade | teacher | agreement of the student alone |        floor |
|------|-------:|------:|-------------:|-------------------:|--------:|--------:|--------:|--------:|-------------------------------:|-------------:|
| 5 %  | 44.4 % | 2.0 % |        3.1 % |            2 of 20 |       1 |       0 |  81.2 % |         |                         70.0 % | 52 %: missed |
| 10 % | 53.0 % | 0.0 % |        0.0 % | 9 of 20 (too many) |       0 |       3 |         |         |                          0.0 % |    52 %: met |
`
	if table != want {
		t.Errorf("table:\n%s\nwant:\n%s", table, want)
	}
	drift := DriftTable([]DriftResult{
		{Stream: "null", Errors: "simulated", Detector: "z test", RiskBefore: 0.05, FalseAlarms: 0.38},
		{Stream: "jump", Errors: "recorded", Detector: "tandem alarm", RiskBefore: 0.03, RiskAfter: 0.14, Found: &half, DelayMedian: &half, DelayP90: &half, ExcessErrors: &half},
	}).String()
	for _, w := range []string{"| simulated, null |", "38.0 %", "3.0 % → 14.0 %", "50.0 %"} {
		if !strings.Contains(drift, w) {
			t.Errorf("drift table lacks %q:\n%s", w, drift)
		}
	}
	serve := ServeTable(ServeResult{RPSRatio: 0.661, P50Ratio: 1.333, Bare: ServeSide{RPS: 20000}}).String()
	for _, w := range []string{"0.66", "1.33", "20000"} {
		if !strings.Contains(serve, w) {
			t.Errorf("serve table lacks %q:\n%s", w, serve)
		}
	}
}

func TestPut(t *testing.T) {
	doc := []byte("# t\n\n<!-- bench a -->\nold\n<!-- end -->\nmiddle\n<!-- bench b -->\nkeep\n<!-- end -->\nend\n")
	got, err := Put(doc, "a", "new\n")
	if want := strings.Replace(string(doc), "old", "new", 1); err != nil || string(got) != want {
		t.Errorf("got %q (%v)", got, err)
	}
	if _, err := Put(doc, "c", ""); err == nil || !strings.Contains(err.Error(), "bench c") {
		t.Errorf("absent place: %v", err)
	}
	if _, err := Put([]byte("<!-- bench a -->\nopen"), "a", ""); err == nil {
		t.Error("a place without an end was taken")
	}
}
