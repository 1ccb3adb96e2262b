package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/student"
	"tandem/internal/student/all"
)

// parcels writes rows of three easy intents and one that is a coin's choice:
// what a student can learn, and what no student can.
func parcels(t *testing.T, name string, n int, seed uint64) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	words := map[string][]string{
		"track":  {"where is my parcel", "parcel not here", "track the parcel", "when does it arrive"},
		"refund": {"give my money back", "refund me please", "i want a refund", "pay me back"},
		"login":  {"cannot sign in", "my password fails", "locked out of my account", "login broken"},
	}
	names := []string{"track", "refund", "login"}
	var b strings.Builder
	b.WriteString("text,teacher,gold\n")
	for i := range n {
		label := names[i%3]
		text := words[label][rng.IntN(4)]
		gold := label
		if i%4 == 0 {
			text, label = "hello, a question", names[rng.IntN(3)]
		}
		fmt.Fprintf(&b, "%q,%s,%s\n", fmt.Sprintf("%s number %d", text, rng.IntN(50)), label, gold)
	}
	b.WriteString("unlabelled,,track\n")
	return write(t, name, b.String())
}

func families(t *testing.T, names ...string) []student.Family {
	t.Helper()
	f, err := Families(all.Families(), names)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOffload(t *testing.T) {
	path := parcels(t, "rows.csv", 800, 1)
	var last, total int
	o := Offload{
		Source: Source{Paths: []string{path}, Text: "text", Teacher: "teacher", Gold: "gold"},
		Alphas: []float64{0.05, 0.5}, Delta: 0.1, Seeds: 2, Families: families(t, "linear"),
		Progress: func(done, of int) { last, total = done, of },
	}
	results, err := o.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || last != 2 || total != 2 {
		t.Fatalf("%d results, progress %d of %d", len(results), last, total)
	}
	strict, loose := results[0], results[1]
	// Three quarters can be learnt without a fault, the rest is a coin.
	if strict.ServedMean < 0.6 || strict.ServedMean > 0.85 || strict.DisagreementMean > 0.05 {
		t.Errorf("strict: %+v", strict)
	}
	if strict.Clear > strict.Violations || strict.Violations > 2 {
		t.Errorf("violations: %+v", strict)
	}
	if loose.ServedMean < 0.95 || loose.Violations != 0 {
		t.Errorf("loose: %+v", loose)
	}
	if strict.Rows != 800 || strict.LeftOut.Unlabeled != 1 || strict.Splits != (Split{400, 200, 200}) || strict.Labels != 3 || strict.Family != "linear" {
		t.Errorf("parameters: %+v", strict)
	}
	if strict.AccuracyTeacher == nil || *strict.AccuracyTeacher > 0.9 || *strict.AccuracyCascade < *strict.AccuracyTeacher-0.03 {
		t.Errorf("accuracies: cascade %v, teacher %v", *strict.AccuracyCascade, *strict.AccuracyTeacher)
	}
	if strict.P50Micros <= 0 || strict.TrainSeconds <= 0 || strict.Agreement < 0.75 {
		t.Errorf("times and agreement: %+v", strict)
	}
	line, err := json.Marshal(strict)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"alpha", "delta", "seeds", "served_mean", "served_sd", "disagreement_mean", "violations", "accuracy_cascade", "accuracy_teacher", "p50_us", "train_s", "rows", "splits", "family"} {
		if !strings.Contains(string(line), `"`+field+`":`) {
			t.Errorf("no field %s in %s", field, line)
		}
	}
}

func TestOffloadWithItsOwnTestFile(t *testing.T) {
	o := Offload{
		Source: Source{Paths: []string{parcels(t, "rows.csv", 400, 1)}, Text: "text", Teacher: "teacher"},
		Test:   parcels(t, "test.csv", 100, 2), Alphas: []float64{0.1}, Delta: 0.1, Seeds: 2, Families: families(t, "linear"),
	}
	results, err := o.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Splits != (Split{300, 100, 100}) || r.Rows != 400 || r.TestRows != 100 || r.AccuracyTeacher != nil || r.LeftOut.Unlabeled != 2 {
		t.Errorf("result = %+v", r)
	}
}

func TestOffloadRepeats(t *testing.T) {
	o := Offload{
		Source: Source{Paths: []string{parcels(t, "rows.csv", 300, 1)}, Text: "text", Teacher: "teacher"},
		Alphas: []float64{0.2}, Delta: 0.1, Seeds: 2, Families: families(t, "linear"),
	}
	var served [2]float64
	for i := range served {
		r, err := o.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		served[i] = r[0].ServedMean
	}
	if served[0] != served[1] {
		t.Errorf("two runs served %v", served)
	}
}

func TestOffloadRefusals(t *testing.T) {
	good := Offload{
		Source: Source{Paths: []string{parcels(t, "rows.csv", 60, 1)}, Text: "text", Teacher: "teacher"},
		Alphas: []float64{0.1}, Delta: 0.1, Seeds: 1, Families: families(t, "linear"),
	}
	for name, c := range map[string]struct {
		spoil func(*Offload)
		want  string
	}{
		"alpha":   {func(o *Offload) { o.Alphas = []float64{1} }, "between 0 and 1"},
		"none":    {func(o *Offload) { o.Alphas = nil }, "--alpha"},
		"seeds":   {func(o *Offload) { o.Seeds = 0 }, "--seeds"},
		"test":    {func(o *Offload) { o.Test = "absent.csv" }, "absent.csv"},
		"column":  {func(o *Offload) { o.Source.Teacher = "gpt" }, `no column "gpt"`},
		"tooFew":  {func(o *Offload) { o.Source.Paths = []string{parcels(t, "few.csv", 10, 1)} }, "too few"},
		"noFiles": {func(o *Offload) { o.Source.Paths = nil }, "--csv"},
	} {
		o := good
		c.spoil(&o)
		if _, err := o.Run(t.Context()); tandem.CodeOf(err) != tandem.InvalidRequest || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Families(all.Families(), []string{"oak"}); err == nil || !strings.Contains(err.Error(), "encoder, encoder-nearest, encoder-network, linear, nearest") {
		t.Errorf("unknown family: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := good.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestDriftRecorded watches a gate over recorded answers and finds a swapped
// teacher.
func TestDriftRecorded(t *testing.T) {
	before := parcels(t, "rows.csv", 2400, 1)
	after := write(t, "after.csv", "text,teacher\n"+strings.Repeat("i want a refund number 3,track\nwhere is my parcel number 9,track\n", 50))
	d := Drift{
		Source: Source{Paths: []string{before}, Text: "text", Teacher: "teacher"}, Change: []string{after},
		Alpha: 0.1, Delta: 0.1, Drift: 0.001, Rate: 0.5, Replays: 50, Audits: 200, Before: 50, Jump: 0.1, Seed: 1, Splits: 3, Families: families(t, "linear"),
	}
	results, err := d.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := results[len(results)-4] // the alarm on the recorded jump
	if r.Errors != "recorded" || r.Stream != "jump" || r.Detector != "tandem alarm" {
		t.Fatalf("order of results: %+v", r)
	}
	if r.RiskBefore > 0.1 || r.RiskAfter < 0.4 || r.RiskAfter > 0.6 || *r.Found != 1 || *r.DelayMedian > 40 || *r.ExcessErrors <= 0 {
		t.Errorf("result = %+v", r)
	}
	if len(r.Change) != 1 || filepath.Base(r.Change[0]) != "after.csv" || r.Pool == 0 || r.PoolAfter != 100 || r.Splits+r.Refused != 3 || r.Over > r.Splits {
		t.Errorf("parameters = %+v", r)
	}
}
