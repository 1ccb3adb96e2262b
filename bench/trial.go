package bench

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/student"
)

// Trained is a student with what it said, out of fold, about the rows it was
// trained on: what the product knows before it certifies.
type Trained struct {
	Labels    []string
	OutOfFold []certify.Row
	Predict   func(in *tandem.Input) student.Prediction
}

// Fit trains a student as the product does.
type Fit func(ctx context.Context, data student.Dataset, seed uint64, threads int) (Trained, error)

// Split says how many rows each part of a trial has.
type Split struct {
	Fit     int `json:"fit"`
	Certify int `json:"certify"`
	Test    int `json:"test"`
}

// divide shuffles the rows with the seed and cuts them: 50 % to fit, 25 % to
// certify and 25 % to test; or, when there are test rows of their own, 75 % to
// fit and 25 % to certify.
func divide(rows, test []Row, seed uint64) (fit, cert, tst []Row) {
	rows = slices.Clone(rows)
	rng := rand.New(rand.NewPCG(seed, 0x5eed)) //nolint:gosec // a split to be repeated, not a secret
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	n := len(rows)
	if test != nil {
		return rows[:n*3/4], rows[n*3/4:], test
	}
	return rows[:n/2], rows[n/2 : n*3/4], rows[n*3/4:]
}

// trial is one student trained on one part of the rows, and its answers to the
// two others.
type trial struct {
	student Trained
	cert    []answered
	test    []answered
	split   Split
	took    time.Duration // training
}

// answered is a row with the student's answer.
type answered struct {
	Row
	label string
	score float64
}

func (a *answered) wrong() bool { return a.label != a.Teacher }

func newTrial(ctx context.Context, fit Fit, rows, test []Row, seed uint64, threads int) (*trial, error) {
	fitRows, certRows, testRows := divide(rows, test, seed)
	data := dataset(fitRows)
	start := time.Now()
	trained, err := fit(ctx, data, seed, threads)
	if err != nil {
		return nil, err
	}
	t := &trial{
		student: trained, took: time.Since(start),
		split: Split{len(fitRows), len(certRows), len(testRows)},
	}
	t.cert, t.test = t.answer(certRows), t.answer(testRows)
	return t, ctx.Err()
}

// dataset makes the rows ready for training. Labels come in order of first
// appearance, as they do from traffic.
func dataset(rows []Row) student.Dataset {
	data := student.Dataset{Rows: make([]student.Example, 0, len(rows))}
	index := make(map[string]int)
	for i := range rows {
		at, ok := index[rows[i].Teacher]
		if !ok {
			at = len(data.Labels)
			index[rows[i].Teacher] = at
			data.Labels = append(data.Labels, rows[i].Teacher)
		}
		data.Rows = append(data.Rows, student.Example{Input: tandem.TextInput(rows[i].Text), Label: at, Weight: 1})
	}
	return data
}

func (t *trial) answer(rows []Row) []answered {
	out := make([]answered, len(rows))
	for i, r := range rows {
		in := tandem.TextInput(r.Text)
		p := t.student.Predict(&in)
		out[i] = answered{Row: r, score: p.Score}
		if p.Label >= 0 && p.Label < len(t.student.Labels) {
			out[i].label = t.student.Labels[p.Label]
		}
	}
	return out
}

// certify asks for the certificate the product would ask for.
func (t *trial) certify(alpha, delta float64) certify.Result {
	rows := make([]certify.Row, len(t.cert))
	for i := range t.cert {
		rows[i] = certify.Row{Score: t.cert[i].score, Wrong: t.cert[i].wrong(), Propensity: 1, Asked: true}
	}
	grid := certify.Grid(t.student.OutOfFold, alpha, delta, len(rows))
	return certify.Certify(rows, grid, alpha, delta)
}

// gate is the gate a certificate opens; a refused one opens none.
func gate(r certify.Result) certify.Gate { return certify.Gate{Threshold: r.Threshold, Open: r.OK} }
