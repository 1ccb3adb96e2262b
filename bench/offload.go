package bench

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/student"
)

// Offload measures how much of recorded traffic a certificate lets a student
// answer: for every seed the rows are split again, a student is trained on the
// first part, certified on the second and put to the test on the third, which
// neither has seen.
type Offload struct {
	Source   Source
	Test     string // a file of its own to test on, "" for a part of the rows
	Alphas   []float64
	Delta    float64
	Seeds    int
	Families []student.Family
	Limit    int    // use only so many of the rows of every seed, 0 for all
	Answers  string // a file of another program's answers to judge in place of a student, "" for none
	// Progress, when set, is told of every seed that is done, from one
	// goroutine at a time.
	Progress func(done, total int)
}

// OffloadResult is the outcome for one alpha, with every parameter.
type OffloadResult struct {
	Bench   string   `json:"bench"`
	Files   []string `json:"files"`
	Test    string   `json:"test,omitempty"`
	Text    string   `json:"text"`
	Teacher string   `json:"teacher"`
	Gold    string   `json:"gold,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
	Family  string   `json:"family"`
	Chosen  string   `json:"chosen,omitempty"` // how the first seed put them together
	Alpha   float64  `json:"alpha"`
	Delta   float64  `json:"delta"`
	Seeds   int      `json:"seeds"`
	Limit   int      `json:"limit,omitempty"` // rows of a seed, when not all of them

	ServedMean       float64   `json:"served_mean"`       // share of test rows answered by the student
	ServedSD         float64   `json:"served_sd"`         // over the seeds
	DisagreementMean float64   `json:"disagreement_mean"` // among served test rows, over seeds that serve any
	ServedBySeed     []float64 `json:"served_by_seed"`
	Violations       int       `json:"violations"`       // seeds whose test disagreement exceeds alpha
	Clear            int       `json:"violations_clear"` // of those, seeds whose excess the size of the test part does not explain (one-sided, 5 %)
	Within           bool      `json:"within"`           // that many violations are no surprise if each has probability delta
	Refused          int       `json:"refused"`          // seeds without a certificate, which serve nothing

	Agreement       float64  `json:"agreement"`                  // with the teacher, were the student to answer every test row
	AccuracyCascade *float64 `json:"accuracy_cascade,omitempty"` // against gold: the student where certified, else the teacher
	AccuracyTeacher *float64 `json:"accuracy_teacher,omitempty"` // against gold
	AccuracyStudent *float64 `json:"accuracy_student,omitempty"` // against gold, were it to answer everything

	P50Micros    float64 `json:"p50_us"`  // one prediction on one thread
	TrainSeconds float64 `json:"train_s"` // one training on one thread, mean
	Rows         int     `json:"rows"`    // used
	TestRows     int     `json:"test_rows,omitempty"`
	LeftOut      LeftOut `json:"left_out"`
	Splits       Split   `json:"splits"`
	Labels       int     `json:"labels"` // in the first fit part
	Seconds      float64 `json:"seconds"`
}

// LeftOut counts the rows that were read and not used.
type LeftOut struct {
	Unlabeled int `json:"unlabeled"` // no teacher label
	Blank     int `json:"blank"`     // no text
	Excluded  int `json:"excluded"`  // an excluded label
}

// seedOutcome is what one seed gives for one alpha.
type seedOutcome struct {
	served, wrong, tested      int
	agree                      int
	rightCascade, rightTeacher int
	rightStudent               int
	refused                    bool
}

// Run measures. It works on as many seeds at a time as there are processors,
// each on one thread, and returns one result per alpha.
func (o Offload) Run(ctx context.Context) ([]OffloadResult, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	start := time.Now()
	rows, test, err := o.read()
	if err != nil {
		return nil, err
	}
	name := familyNames(o.Families)
	train := func(ctx context.Context, p parts, seed uint64) (*trial, error) {
		return newTrial(ctx, o.Families, p, seed, 1, o.Alphas, o.Delta)
	}
	if o.Answers != "" {
		answers, err := readAnswers(o.Answers)
		if err != nil {
			return nil, err
		}
		name = answers.name
		train = func(_ context.Context, p parts, seed uint64) (*trial, error) { return answers.trial(p, seed) }
	}
	outcomes, first, took, err := o.seeds(ctx, rows.Rows, test.Rows, train)
	if err != nil {
		return nil, err
	}
	micros := first.micros
	if first.student != nil {
		micros = predictMicros(first)
	}
	results := make([]OffloadResult, len(o.Alphas))
	for i, alpha := range o.Alphas {
		r := o.summary(alpha, outcomes[i])
		if tried := first.report.Tried; len(tried) > 1 {
			r.Chosen = tried[0].Name
		}
		r.P50Micros, r.TrainSeconds, r.Family, r.Limit = micros, mean(took), name, o.Limit
		r.Rows, r.TestRows, r.Splits, r.Labels = len(rows.Rows), len(test.Rows), first.split, first.labels
		r.LeftOut = LeftOut{rows.Unlabeled + test.Unlabeled, rows.Blank + test.Blank, rows.Excluded + test.Excluded}
		r.Seconds = time.Since(start).Seconds()
		results[i] = r
	}
	return results, nil
}

// read reads the rows and, when they have a file of their own, the test rows.
func (o Offload) read() (rows, test Rows, err error) {
	if rows, err = o.Source.Read(); err != nil {
		return rows, test, err
	}
	if o.Test != "" {
		source := o.Source
		source.Paths = []string{o.Test}
		if test, err = source.Read(); err != nil {
			return rows, test, err
		}
	}
	if len(rows.Rows) < 20 || o.Limit > 0 && o.Limit < 20 {
		return rows, test, tandem.Errorf(tandem.InvalidRequest, "%d usable rows are too few to split; at least 20 are needed", len(rows.Rows))
	}
	return rows, test, nil
}

func (o Offload) check() error {
	if o.Limit < 0 {
		return tandem.Errorf(tandem.InvalidRequest, "--limit must not be negative")
	}
	if o.Seeds < 1 {
		return tandem.Errorf(tandem.InvalidRequest, "--seeds must be at least 1")
	}
	if len(o.Alphas) == 0 {
		return tandem.Errorf(tandem.InvalidRequest, "--alpha names no value")
	}
	for _, a := range append([]float64{o.Delta}, o.Alphas...) {
		if !(a > 0 && a < 1) {
			return tandem.Errorf(tandem.InvalidRequest, "--alpha and --delta must lie between 0 and 1, not %g", a)
		}
	}
	return nil
}

// seeds runs every seed; outcomes are by alpha, then by seed.
func (o Offload) seeds(ctx context.Context, rows, test []Row, train func(context.Context, parts, uint64) (*trial, error)) (outcomes [][]seedOutcome, first *trial, took []float64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	outcomes = make([][]seedOutcome, len(o.Alphas))
	for i := range outcomes {
		outcomes[i] = make([]seedOutcome, o.Seeds)
	}
	took = make([]float64, o.Seeds)
	var (
		mu    sync.Mutex // guards done and Progress
		done  int
		group sync.WaitGroup
		slots = make(chan struct{}, runtime.GOMAXPROCS(0))
	)
	for s := range o.Seeds {
		group.Go(func() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			t, err := train(ctx, divide(rows, test, o.Limit, uint64(s)+1), uint64(s)+1)
			if err != nil {
				cancel(fmt.Errorf("seed %d: %w", s+1, err))
				return
			}
			for i, alpha := range o.Alphas {
				outcomes[i][s] = t.outcome(alpha, o.Delta)
			}
			took[s] = t.took
			mu.Lock()
			defer mu.Unlock()
			if s == 0 {
				first = t
			}
			if done++; o.Progress != nil {
				o.Progress(done, o.Seeds)
			}
		})
	}
	group.Wait()
	return outcomes, first, took, context.Cause(ctx)
}

// outcome counts what a certificate at alpha does on the test rows.
func (t *trial) outcome(alpha, delta float64) seedOutcome {
	accept, refused := t.gate(alpha, delta)
	o := seedOutcome{tested: len(t.test), refused: refused}
	for i := range t.test {
		a := &t.test[i]
		answer := a.Teacher
		if accept(i) {
			o.served++
			answer = a.label
			if a.wrong() {
				o.wrong++
			}
		}
		o.agree += one(!a.wrong())
		o.rightCascade += one(answer == a.Gold)
		o.rightTeacher += one(a.Teacher == a.Gold)
		o.rightStudent += one(a.label == a.Gold)
	}
	return o
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (o Offload) summary(alpha float64, outcomes []seedOutcome) OffloadResult {
	r := OffloadResult{
		Bench: "offload", Files: o.Source.Paths, Test: o.Test, Text: o.Source.Text, Teacher: o.Source.Teacher,
		Gold: o.Source.Gold, Exclude: o.Source.Exclude,
		Alpha: alpha, Delta: o.Delta, Seeds: o.Seeds,
	}
	var served, disagreement, agree, cascade, teacher, small []float64
	for _, s := range outcomes {
		n := float64(s.tested)
		served = append(served, float64(s.served)/n)
		agree = append(agree, float64(s.agree)/n)
		cascade = append(cascade, float64(s.rightCascade)/n)
		teacher = append(teacher, float64(s.rightTeacher)/n)
		small = append(small, float64(s.rightStudent)/n)
		r.Refused += one(s.refused)
		if s.served > 0 {
			d := float64(s.wrong) / float64(s.served)
			disagreement = append(disagreement, d)
			r.Violations += one(d > alpha)
			r.Clear += one(d > alpha && 1-certify.BinomialTail(s.served, alpha, s.wrong-1) < 0.05)
		}
	}
	r.ServedMean, r.ServedSD, r.ServedBySeed = mean(served), deviation(served), served
	r.DisagreementMean, r.Agreement = mean(disagreement), mean(agree)
	r.Within = r.Violations == 0 || 1-certify.BinomialTail(o.Seeds, o.Delta, r.Violations-1) >= 0.05
	if o.Source.Gold != "" {
		c, t, s := mean(cascade), mean(teacher), mean(small)
		r.AccuracyCascade, r.AccuracyTeacher, r.AccuracyStudent = &c, &t, &s
	}
	return r
}

// predictMicros is the median time of one prediction on one thread, in
// microseconds, after a warm-up.
func predictMicros(t *trial) float64 {
	inputs := make([]tandem.Input, 0, 2000)
	for i := range t.test[:min(len(t.test), cap(inputs))] {
		inputs = append(inputs, tandem.TextInput(t.test[i].Text))
	}
	for i := range inputs[:min(len(inputs), 200)] {
		t.student.Predict(&inputs[i])
	}
	took := make([]float64, len(inputs))
	for i := range inputs {
		start := time.Now()
		t.student.Predict(&inputs[i])
		took[i] = float64(time.Since(start).Nanoseconds()) / 1e3
	}
	return median(took)
}
