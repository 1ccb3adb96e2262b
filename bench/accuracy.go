package bench

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"

	"tandem"
	"tandem/internal/student"
)

// Accuracy measures how good a student is without a gate: trained on every
// row of the source and judged on every row of a test file. Rows with the
// Outside label are no part of the task; how well the score tells them from
// the others is measured apart.
type Accuracy struct {
	Source   Source
	Test     Source // its columns are those of Source
	Outside  string // "": there are no such rows
	Seeds    int
	Families []student.Family
	Answers  string // a file of another program's answers to judge in place of a student, "" for none
	// Progress, when set, is told of every seed that is done.
	Progress func(done, total int)
}

// AccuracyResult is the outcome, with every parameter.
type AccuracyResult struct {
	Bench   string   `json:"bench"`
	Files   []string `json:"files"`
	Test    []string `json:"test"`
	Label   string   `json:"label"`
	Outside string   `json:"outside,omitempty"`
	Family  string   `json:"family"`
	Seeds   int      `json:"seeds"`

	Accuracy     Spread  `json:"accuracy"`        // over test rows that are not outside
	AUROC        *Spread `json:"auroc,omitempty"` // of the score: the others over those outside
	TrainSeconds float64 `json:"train_s"`         // mean, on all processors
	P50Micros    float64 `json:"p50_us"`          // one prediction on one thread
	Rows         int     `json:"rows"`
	TestRows     int     `json:"test_rows"` // not outside
	OutsideRows  int     `json:"outside_rows,omitempty"`
	Labels       int     `json:"labels"`
}

// read reads the training rows and the test rows, those outside last.
func (a Accuracy) read() (p parts, outside int, err error) {
	rows, err := a.Source.Read()
	if err != nil {
		return p, 0, err
	}
	test, err := a.Test.Read()
	if err != nil {
		return p, 0, err
	}
	isOutside := func(r Row) bool { return a.Outside != "" && r.Teacher == a.Outside }
	p.fit = slices.DeleteFunc(rows.Rows, isOutside)
	slices.SortStableFunc(test.Rows, func(x, y Row) int { return cmp.Compare(one(isOutside(x)), one(isOutside(y))) })
	p.test = test.Rows
	for _, r := range p.test {
		outside += one(isOutside(r))
	}
	if len(p.fit) == 0 || outside == len(p.test) {
		return p, 0, tandem.Errorf(tandem.InvalidRequest, "every row to train or to test on has the label %q, which is outside the task", a.Outside)
	}
	return p, outside, nil
}

// WriteSplits writes the rows and the parts that Run would use, in the form
// that Offload writes.
func (a Accuracy) WriteSplits(w io.Writer) error {
	p, _, err := a.read()
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(w)
	out := json.NewEncoder(buffered)
	out.SetEscapeHTML(false)
	if err := out.Encode(splitHead{splitRows(p.fit), splitRows(p.test)}); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	line := splitLine{Fit: make([]int, len(p.fit)), Certify: []int{}}
	for i := range line.Fit {
		line.Fit[i] = i
	}
	for s := range a.Seeds {
		line.Seed = uint64(s) + 1
		if err := out.Encode(line); err != nil {
			return fmt.Errorf("write splits: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write splits: %w", err)
	}
	return nil
}

// Run measures, one seed after the other on all processors.
func (a Accuracy) Run(ctx context.Context) (AccuracyResult, error) {
	r := AccuracyResult{
		Bench: "accuracy", Files: a.Source.Paths, Test: a.Test.Paths, Label: a.Source.Teacher, Outside: a.Outside,
		Family: familyNames(a.Families), Seeds: a.Seeds,
	}
	if a.Seeds < 1 {
		return r, tandem.Errorf(tandem.InvalidRequest, "--seeds must be at least 1")
	}
	p, outside, err := a.read()
	if err != nil {
		return r, err
	}
	var answers *answersFile
	if a.Answers != "" {
		if answers, err = readAnswers(a.Answers); err != nil {
			return r, err
		}
		r.Family = answers.name
	}
	var right, area, took, micros []float64
	for s := range a.Seeds {
		var t *trial
		if answers != nil {
			t, err = answers.trial(p, uint64(s)+1)
		} else {
			t, err = newTrial(ctx, a.Families, p, uint64(s)+1, runtime.GOMAXPROCS(0), nil, 0)
		}
		if err != nil {
			return r, fmt.Errorf("seed %d: %w", s+1, err)
		}
		within := t.test[:len(t.test)-outside]
		correct := 0
		for i := range within {
			correct += one(!within[i].wrong())
		}
		right = append(right, float64(correct)/float64(len(within)))
		if outside > 0 {
			area = append(area, auroc(within, t.test[len(within):]))
		}
		if t.student != nil {
			t.micros = predictMicros(t)
		}
		took, micros, r.Labels = append(took, t.took), append(micros, t.micros), t.labels
		if a.Progress != nil {
			a.Progress(s+1, a.Seeds)
		}
	}
	r.Accuracy, r.TrainSeconds, r.P50Micros = spread(right), mean(took), median(micros)
	r.Rows, r.TestRows, r.OutsideRows = len(p.fit), len(p.test)-outside, outside
	if outside > 0 {
		x := spread(area)
		r.AUROC = &x
	}
	return r, nil
}

// auroc is the chance that a row of the first kind has a higher score than one
// of the second; a tie counts half.
func auroc(high, low []answered) float64 {
	scores := make([]float64, len(low))
	for i := range low {
		scores[i] = low[i].score
	}
	slices.Sort(scores)
	sum := 0.0
	for i := range high {
		from, _ := slices.BinarySearch(scores, high[i].score)
		to := from
		for to < len(scores) && scores[to] == high[i].score {
			to++
		}
		sum += float64(from) + float64(to-from)/2
	}
	return sum / float64(len(high)) / float64(len(low))
}
