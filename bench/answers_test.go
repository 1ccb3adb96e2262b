package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"tandem"
)

// parcelsOffload is a small benchmark with gold answers.
func parcelsOffload(t *testing.T, rows int) Offload {
	t.Helper()
	return Offload{
		Source: Source{Paths: []string{parcels(t, "rows.csv", rows, 1)}, Text: "text", Teacher: "teacher", Gold: "gold"},
		Alphas: []float64{0.1, 0.3}, Delta: 0.1, Seeds: 3, Families: families(t, "linear"),
	}
}

// splitsOf reads back what WriteSplits wrote.
func splitsOf(t *testing.T, text []byte) (head splitHead, seeds []splitLine) {
	t.Helper()
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		if len(head.Rows) == 0 {
			if err := json.Unmarshal(in.Bytes(), &head); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var line splitLine
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, line)
	}
	return head, seeds
}

// TestSplitsAreThoseOfTheBenchmark compares the exported rows with the rows a
// run trains, certifies and tests on.
func TestSplitsAreThoseOfTheBenchmark(t *testing.T) {
	own := parcels(t, "test.csv", 50, 2)
	for name, c := range map[string]struct {
		test  string
		limit int
		want  Split
	}{
		"parts of the rows": {"", 0, Split{60, 30, 30}},
		"a test file":       {own, 0, Split{90, 30, 50}},
		"a limit":           {"", 40, Split{20, 10, 10}},
		"limit, test file":  {own, 40, Split{30, 10, 50}},
		"a limit too large": {"", 500, Split{60, 30, 30}},
	} {
		t.Run(name, func(t *testing.T) {
			o := parcelsOffload(t, 120)
			o.Test, o.Limit = c.test, c.limit
			var out bytes.Buffer
			if err := o.WriteSplits(&out); err != nil {
				t.Fatal(err)
			}
			head, seeds := splitsOf(t, out.Bytes())
			rows, test, err := o.read()
			if err != nil {
				t.Fatal(err)
			}
			if len(seeds) != o.Seeds || len(head.Rows) != len(rows.Rows) || len(head.Test) != len(test.Rows) {
				t.Fatalf("%d seeds, %d rows, %d test rows", len(seeds), len(head.Rows), len(head.Test))
			}
			for i, line := range seeds {
				if line.Seed != uint64(i)+1 {
					t.Fatalf("line %d is of seed %d", i, line.Seed)
				}
				used := divide(rows.Rows, test.Rows, o.Limit, line.Seed)
				if got := (Split{len(used.fit), len(used.certify), len(used.test)}); got != c.want {
					t.Fatalf("the benchmark uses %+v, want %+v", got, c.want)
				}
				same := func(part string, want []Row, from []splitRow, at []int) {
					t.Helper()
					got := make([]splitRow, len(at))
					for i, row := range at {
						got[i] = from[row]
					}
					if !slices.Equal(got, splitRows(want)) {
						t.Errorf("seed %d: the %s rows differ", line.Seed, part)
					}
				}
				same("fit", used.fit, head.Rows, line.Fit)
				same("certify", used.certify, head.Rows, line.Certify)
				if c.test != "" {
					if line.Test != nil || !slices.Equal(head.Test, splitRows(used.test)) {
						t.Errorf("seed %d: test rows %v beside a test file", line.Seed, line.Test)
					}
					continue
				}
				same("test", used.test, head.Rows, line.Test)
				all := slices.Sorted(slices.Values(slices.Concat(line.Fit, line.Certify, line.Test)))
				if len(slices.Compact(all)) != c.want.Fit+c.want.Certify+c.want.Test {
					t.Errorf("seed %d: parts share rows", line.Seed)
				}
			}
		})
	}
}

// TestDivideIsTheShuffleOfEver holds the splits of one seed still: figures in
// docs/benchmarks.md rest on them.
func TestDivideIsTheShuffleOfEver(t *testing.T) {
	const want = "[4 3 1 8 11 6] [9 5 10] [0 2 7]"
	at := cut(12, false, 0, 7)
	if got := fmt.Sprint(at.Fit, at.Certify, at.Test); got != want {
		t.Errorf("rows of seed 7: %s, want %s", got, want)
	}
	small := cut(12, true, 8, 7)
	if !slices.Equal(slices.Concat(small.Fit, small.Certify), slices.Concat(at.Fit, at.Certify, at.Test)[:8]) {
		t.Errorf("a limit takes %v %v, not the first of the same order", small.Fit, small.Certify)
	}
}

// record writes answers for every split, as another program would.
func record(t *testing.T, o Offload, answer func(seed uint64, part string, r splitRow, i int) (string, float64), spoil func(*answersLine)) string {
	t.Helper()
	var out bytes.Buffer
	if err := o.WriteSplits(&out); err != nil {
		t.Fatal(err)
	}
	head, seeds := splitsOf(t, out.Bytes())
	var file strings.Builder
	for _, line := range seeds {
		a := answersLine{Name: "rival", Seed: line.Seed, Train: 2, Micros: 30}
		for _, p := range []struct {
			name string
			at   []int
			into *answersPart
		}{{"fit", line.Fit, &a.Fit}, {"certify", line.Certify, &a.Certify}, {"test", line.Test, &a.Test}} {
			for i, row := range p.at {
				label, score := answer(line.Seed, p.name, head.Rows[row], i)
				p.into.Labels, p.into.Scores = append(p.into.Labels, label), append(p.into.Scores, score)
			}
		}
		if spoil != nil {
			spoil(&a)
		}
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		file.Write(append(text, '\n'))
	}
	return write(t, "rival.answers", file.String())
}

// TestRecordedStudentIsJudgedAsTheStudent records a trained student's answers
// and finds the same result as when it is judged directly.
func TestRecordedStudentIsJudgedAsTheStudent(t *testing.T) {
	o := parcelsOffload(t, 600)
	direct, err := o.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err := o.read()
	if err != nil {
		t.Fatal(err)
	}
	trials := map[uint64]*trial{}
	for s := range o.Seeds {
		seed := uint64(s) + 1
		if trials[seed], err = newTrial(t.Context(), o.Families, divide(rows.Rows, nil, 0, seed), seed, 1, o.Alphas, o.Delta); err != nil {
			t.Fatal(err)
		}
	}
	o.Answers = record(t, o, func(seed uint64, part string, r splitRow, i int) (string, float64) {
		tr := trials[seed]
		switch part {
		case "certify":
			return tr.cert[i].label, tr.cert[i].score
		case "test":
			return tr.test[i].label, tr.test[i].score
		}
		label := r.Label // out of fold only right or wrong matters
		if !tr.report.Correct[i] {
			label = "another"
		}
		return label, tr.report.Scores[i]
	}, nil)
	judged, err := o.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range direct {
		d, j := direct[i], judged[i]
		if d.ServedMean == 0 || !slices.Equal(d.ServedBySeed, j.ServedBySeed) || d.DisagreementMean != j.DisagreementMean ||
			d.Agreement != j.Agreement || *d.AccuracyCascade != *j.AccuracyCascade || d.Refused != j.Refused || d.Labels != j.Labels || d.Splits != j.Splits {
			t.Errorf("alpha %g: %+v, recorded %+v", d.Alpha, d, j)
		}
		if j.Family != "rival" || j.TrainSeconds != 2 || j.P50Micros != 30 {
			t.Errorf("recorded facts: %+v", j)
		}
	}
}

// TestOwnGate judges a gate that another program decided with.
func TestOwnGate(t *testing.T) {
	o := parcelsOffload(t, 400)
	o.Answers = record(t, o, func(_ uint64, _ string, r splitRow, i int) (string, float64) {
		if i%10 == 0 {
			return "another", 0
		}
		return r.Label, 0
	}, func(a *answersLine) {
		a.Fit, a.Certify = answersPart{}, answersPart{} // not needed
		for i := range a.Test.Labels {
			a.Accept = append(a.Accept, a.Seed == 1 && i < 50)
		}
	})
	results, err := o.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := results[0]
	if want := []float64{0.5, 0, 0}; !slices.Equal(r.ServedBySeed, want) || math.Abs(r.DisagreementMean-0.1) > 1e-12 || r.Refused != 2 {
		t.Errorf("result = %+v", r)
	}
}

func TestAnswersRefusals(t *testing.T) {
	right := func(_ uint64, _ string, r splitRow, _ int) (string, float64) { return r.Label, 0.9 }
	for name, c := range map[string]struct {
		spoil func(*answersLine)
		want  string
	}{
		"score":     {func(a *answersLine) { a.Test.Scores[0] = 1.5 }, ":1: the score 1.5"},
		"uneven":    {func(a *answersLine) { a.Fit.Labels = a.Fit.Labels[1:] }, ":1: 59 labels and 60 scores"},
		"twice":     {func(a *answersLine) { a.Seed = 1 }, ":2: seed 1 comes twice"},
		"names":     {func(a *answersLine) { a.Name += fmt.Sprint(a.Seed) }, `are of "rival2"`},
		"missing":   {func(a *answersLine) { a.Seed += 10 }, "no answers for seed"},
		"too few":   {func(a *answersLine) { a.Test.Labels, a.Test.Scores = a.Test.Labels[1:], a.Test.Scores[1:] }, "29 answers for 30 test rows"},
		"decisions": {func(a *answersLine) { a.Accept = []bool{true} }, "1 decisions for 30 test rows"},
	} {
		o := parcelsOffload(t, 120)
		o.Answers = record(t, o, right, c.spoil)
		if _, err := o.Run(t.Context()); tandem.CodeOf(err) != tandem.InvalidRequest || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	o := parcelsOffload(t, 120)
	for content, want := range map[string]string{"": "no answers", "{}\n{": ":2: not a line"} {
		o.Answers = write(t, "bad.answers", content)
		if _, err := o.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"name":"a","seed":1,"test":{"labels":["x"],"scores":[0.5]}}`))
	f.Add([]byte("{}\n\n{\"seed\":2}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := decodeAnswers(bytes.NewReader(text), "fuzz")
		if err != nil {
			return
		}
		for _, a := range file.seeds {
			for _, s := range slices.Concat(a.Fit.Scores, a.Certify.Scores, a.Test.Scores) {
				if !(s >= 0 && s <= 1) {
					t.Errorf("score %g", s)
				}
			}
		}
	})
}

func TestAccuracy(t *testing.T) {
	train := parcels(t, "rows.csv", 600, 1)
	outside := "what is the meaning of life,elsewhere\nsing a song for me,elsewhere\n"
	test := write(t, "test.csv", "text,teacher\n"+outside+
		"where is my parcel number 1,track\ngive my money back number 2,refund\nlocked out of my account number 3,login\npay me back number 4,track\n")
	a := Accuracy{
		Source: Source{Paths: []string{train}, Text: "text", Teacher: "teacher"}, Test: Source{Paths: []string{test}, Text: "text", Teacher: "teacher"},
		Outside: "elsewhere", Seeds: 2, Families: families(t, "linear"),
	}
	r, err := a.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Accuracy != (Spread{0.75, 0}) || r.AUROC == nil || r.AUROC.Mean != 1 || r.Rows != 600 || r.TestRows != 4 || r.OutsideRows != 2 || r.Labels != 3 {
		t.Errorf("result = %+v, AUROC %v", r, r.AUROC)
	}
	if !(r.TrainSeconds > 0) || !(r.P50Micros > 0) || r.Family != "linear" {
		t.Errorf("facts = %+v", r)
	}
	if text := AccuracyTable([]AccuracyResult{r}).String(); !strings.Contains(text, "75.0 %") || !strings.Contains(text, "1.000") {
		t.Errorf("table:\n%s", text)
	}

	var out bytes.Buffer
	if err := a.WriteSplits(&out); err != nil {
		t.Fatal(err)
	}
	head, seeds := splitsOf(t, out.Bytes())
	if len(head.Rows) != 600 || len(head.Test) != 6 || head.Test[5].Label != "elsewhere" || len(seeds) != 2 || len(seeds[1].Fit) != 600 || len(seeds[1].Certify) != 0 {
		t.Fatalf("splits: %d rows, test %+v, %d seeds", len(head.Rows), head.Test, len(seeds))
	}
	a.Seeds = 1
	a.Answers = write(t, "rival.answers", `{"name":"rival","seed":1,"test":{"labels":["track","x","x","x","x","x"],"scores":[1,0.5,0.5,0.25,0.5,0]}}`)
	if r, err = a.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Of 8 pairs the four of the last are won, then 1 won, 2 even and 1 lost.
	if r.Accuracy.Mean != 0.25 || r.AUROC.Mean != 6.0/8 || r.Family != "rival" {
		t.Errorf("recorded: %+v, AUROC %v", r, r.AUROC)
	}

	a.Outside = "track"
	a.Test.Paths = []string{write(t, "only.csv", "text,teacher\nhello,track\n")}
	if _, err := a.Run(t.Context()); tandem.CodeOf(err) != tandem.InvalidRequest || !strings.Contains(err.Error(), `"track"`) {
		t.Errorf("only rows outside: %v", err)
	}
	a.Seeds = 0
	if _, err := a.Run(t.Context()); tandem.CodeOf(err) != tandem.InvalidRequest {
		t.Errorf("no seeds: %v", err)
	}
}
