package bench

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/student"
)

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
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
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
	student *student.Student
	report  student.Report // what training said about its own rows, out of fold
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

// newTrial trains as the product does for a task that promises the alphas; of
// several, candidates are compared by the mean of what they would serve.
func newTrial(ctx context.Context, families []student.Family, rows, test []Row, seed uint64, threads int, alphas []float64, delta float64) (*trial, error) {
	fitRows, certRows, testRows := divide(rows, test, seed)
	data := dataset(fitRows)
	start := time.Now()
	s, report, err := student.Fit(ctx, families, data, student.Options{Seed: seed, Threads: threads, Served: func(r *student.Report) float64 {
		var served []float64
		for _, a := range alphas {
			served = append(served, certify.Expect(judged(r), a, delta, len(certRows)))
		}
		return mean(served)
	}})
	if err != nil {
		return nil, fmt.Errorf("train on %d rows: %w", len(fitRows), err)
	}
	t := &trial{
		student: s, report: report, took: time.Since(start),
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
		out[i] = answered{Row: r, label: t.student.Labels()[p.Label], score: p.Score}
	}
	return out
}

// certify asks for the certificate the product would ask for.
func (t *trial) certify(alpha, delta float64) certify.Result {
	rows := make([]certify.Row, len(t.cert))
	for i := range t.cert {
		rows[i] = certify.Row{Score: t.cert[i].score, Wrong: t.cert[i].wrong(), Propensity: 1, Asked: true}
	}
	grid := certify.Grid(judged(&t.report), alpha, delta, len(rows))
	return certify.Certify(rows, grid, alpha, delta)
}

// judged are the out-of-fold rows of a report.
func judged(r *student.Report) []certify.Row {
	var rows []certify.Row
	for i, score := range r.Scores {
		if r.Judged[i] {
			rows = append(rows, certify.Row{Score: score, Wrong: !r.Correct[i], Propensity: 1, Asked: true})
		}
	}
	return rows
}

// gate is the gate a certificate opens; a refused one opens none.
func gate(r certify.Result) certify.Gate { return certify.Gate{Threshold: r.Threshold, Open: r.OK} }

// Families picks families by name from a table, all of them that can learn
// from text here when no name is given, in alphabetical order.
func Families(table map[string]student.Family, names []string) ([]student.Family, error) {
	have := slices.Sorted(maps.Keys(table))
	if len(names) == 0 {
		names = slices.DeleteFunc(slices.Clone(have), func(name string) bool { return table[name].Fits(tandem.Task{}) != nil })
	}
	families := make([]student.Family, len(names))
	for i, name := range names {
		f, ok := table[name]
		if !ok {
			return nil, tandem.Errorf(tandem.InvalidRequest, "there is no family %q; there are %s", name, strings.Join(have, ", "))
		}
		if err := f.Fits(tandem.Task{}); err != nil {
			return nil, tandem.Errorf(tandem.InvalidRequest, "family %s cannot be used: %v", name, err)
		}
		families[i] = f
	}
	return families, nil
}

// familyNames joins the names of families for a result.
func familyNames(families []student.Family) string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.Name()
	}
	return strings.Join(names, "+")
}
