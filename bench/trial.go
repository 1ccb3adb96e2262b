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

// parts are the rows of a trial.
type parts struct{ fit, certify, test []Row }

// divide shuffles the rows with the seed and cuts them: 50 % to fit, 25 % to
// certify and 25 % to test; or, when there are test rows of their own, 75 % to
// fit and 25 % to certify. With a limit over 0 only so many of the shuffled
// rows are used, so that a smaller limit uses a part of the same rows.
func divide(rows, test []Row, limit int, seed uint64) parts {
	at := cut(len(rows), test != nil, limit, seed)
	p := parts{pick(rows, at.Fit), pick(rows, at.Certify), test}
	if test == nil {
		p.test = pick(rows, at.Test)
	}
	return p
}

// cut is divide on row numbers. Test is empty when there are test rows of
// their own.
func cut(rows int, ownTest bool, limit int, seed uint64) (at splitLine) {
	order := make([]int, rows)
	for i := range order {
		order[i] = i
	}
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	rng.Shuffle(rows, func(i, j int) { order[i], order[j] = order[j], order[i] })
	n := rows
	if limit > 0 {
		n = min(n, limit)
	}
	at.Seed = seed
	if ownTest {
		at.Fit, at.Certify = order[:n*3/4], order[n*3/4:n]
		return at
	}
	at.Fit, at.Certify, at.Test = order[:n/2], order[n/2:n*3/4], order[n*3/4:n]
	return at
}

func pick(rows []Row, at []int) []Row {
	out := make([]Row, len(at))
	for i, row := range at {
		out[i] = rows[row]
	}
	return out
}

// trial is one student trained on one part of the rows, and its answers to the
// two others.
type trial struct {
	student *student.Student // nil when the answers were recorded elsewhere
	report  student.Report   // what training said about its own rows, out of fold
	cert    []answered
	test    []answered
	split   Split
	labels  int     // of the fit rows
	took    float64 // seconds of training
	micros  float64 // of one prediction, when the answers were recorded elsewhere
	accept  []bool  // by test row: decided by a recorded gate, which takes the place of a certificate
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
// Without any there is no gate to serve through, and nothing is left out.
func newTrial(ctx context.Context, families []student.Family, rows parts, seed uint64, threads int, alphas []float64, delta float64) (*trial, error) {
	data := dataset(rows.fit)
	start := time.Now()
	opt := student.Options{Seed: seed, Threads: threads}
	if len(alphas) > 0 {
		opt.Served = func(r *student.Report) float64 {
			var served []float64
			for _, a := range alphas {
				served = append(served, certify.Expect(judged(r), promise(len(rows.certify), a, delta), len(rows.certify)))
			}
			return mean(served)
		}
	}
	s, report, err := student.Fit(ctx, families, data, opt)
	if err != nil {
		return nil, fmt.Errorf("train on %d rows: %w", len(rows.fit), err)
	}
	t := &trial{
		student: s, report: report, took: time.Since(start).Seconds(), labels: len(data.Labels),
		split: Split{len(rows.fit), len(rows.certify), len(rows.test)},
	}
	t.cert, t.test = t.answer(rows.certify), t.answer(rows.test)
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
	test := promise(len(rows), alpha, delta)
	return certify.Certify(rows, certify.Grid(judged(&t.report), test, len(rows)), test)
}

// promise is the test of a first certificate on so many rows.
func promise(rows int, alpha, delta float64) certify.Test {
	_, spend := certify.Plan(rows, rows, 1, alpha, delta)
	return certify.Test{Alpha: alpha, Delta: delta, Spend: spend}.Running(rows)
}

// judged are the out-of-fold rows of a report.
func judged(r *student.Report) []certify.Row {
	var rows []certify.Row
	for i, score := range r.Scores {
		if len(r.Judged) == 0 || r.Judged[i] {
			rows = append(rows, certify.Row{Score: score, Wrong: !r.Correct[i], Propensity: 1, Asked: true})
		}
	}
	return rows
}

// gate says which test rows are answered, and whether none is because no
// certificate was given.
func (t *trial) gate(alpha, delta float64) (accept func(row int) bool, refused bool) {
	if t.accept != nil {
		return func(row int) bool { return t.accept[row] }, !slices.Contains(t.accept, true)
	}
	cert := t.certify(alpha, delta)
	g := gate(cert)
	return func(row int) bool {
		ok, _ := g.Decide(t.test[row].score)
		return ok
	}, !cert.OK
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
