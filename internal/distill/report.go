package distill

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/student"
)

// Report is what one training found.
type Report struct {
	Task        string              `json:"task"`
	Trigger     Trigger             `json:"trigger"`
	Version     string              `json:"version,omitempty"` // "" when nothing could be trained
	Promoted    bool                `json:"promoted"`
	Why         string              `json:"why"`
	Rows        int                 `json:"rows"` // labelled requests used
	Train       int                 `json:"train"`
	Certify     int                 `json:"certify"`
	Labels      int                 `json:"labels"`
	Families    []string            `json:"families,omitempty"`
	Absent      map[string]string   `json:"absent,omitempty"` // families left out, and why
	Tried       []student.Candidate `json:"tried,omitempty"`  // the ways to put members together that were compared, the chosen one first
	Agree       float64             `json:"agree"`            // out-of-fold agreement with the teacher, in [0, 1]
	TrainSec    float64             `json:"train_s"`
	Bytes       int                 `json:"bytes"`
	Certificate tandem.Certificate  `json:"certificate"`
	Frontier    []Point             `json:"frontier,omitempty"`
	Hardest     []Hard              `json:"hardest,omitempty"`
}

// Point is what would be served for a tolerated disagreement. The points share
// their rows, so together they promise nothing: they are a guide for choosing
// alpha.
type Point struct {
	Alpha  float64 `json:"alpha"`
	Served float64 `json:"served"` // share of the traffic, in [0, 1]
}

// Hard is a training row on which the student was sure and wrong.
type Hard struct {
	Text    string  `json:"text"`
	Teacher string  `json:"teacher"`
	Student string  `json:"student"`
	Score   float64 `json:"score"`
}

// decide examines a fitted candidate, keeps it and acts on the verdict.
func (l *Learner) decide(ctx context.Context, task *tandem.Task, d *dataset, f fit, change time.Time, rep Report) (Report, error) {
	certs, err := l.opt.Reader.Certificates(ctx, task.Name)
	if err != nil {
		return rep, fmt.Errorf("read certificates of %s: %w", task.Name, err)
	}
	oof := outOfFold(&f.report, d, task, change)
	e := examine(f.student, oof, d, task, change, past(certs, change))

	blob, err := f.student.MarshalBinary()
	if err != nil {
		return rep, fmt.Errorf("encode student of %s: %w", task.Name, err)
	}
	rep.Families, rep.Agree, rep.Bytes = f.student.Families(), f.report.Agree, len(blob)
	rep.Frontier, rep.Tried = frontier(e, oof), f.report.Tried
	rep.Hardest = hardest(&f, d, 8)
	now := l.standing(task, d, change, &e)
	verdict := judge(e.cert, d.labels, now)
	if chosen := f.report.Why(); chosen != "" {
		verdict.why += "; " + chosen
	}
	v, cert, err := l.opt.Registry.Put(ctx, tandem.Version{
		Task: task.Name, Parent: now.version, Created: d.taken,
		Families: rep.Families, Labels: len(d.labels), Rows: len(d.train), Bytes: int64(len(blob)),
		Trigger: string(rep.Trigger), Agree: rep.Agree, TrainSec: rep.TrainSec, Why: verdict.why,
	}, blob, e.cert)
	if err != nil {
		return rep, fmt.Errorf("keep student of %s: %w", task.Name, err)
	}
	rep.Version, rep.Certificate = v.Name, cert
	rep.Why, rep.Promoted = verdict.why, verdict.promote
	l.mu.Lock()
	p := l.progress(task.Name)
	p.learnt(d.labels)
	p.serving = now.open || verdict.promote
	l.mu.Unlock()
	if verdict.promote {
		if _, err := l.opt.Registry.Promote(ctx, task.Name, v.Name, verdict.why); err != nil {
			return rep, fmt.Errorf("promote %s of %s: %w", v.Name, task.Name, err)
		}
	}
	if !verdict.promote && !verdict.shadow {
		return rep, nil
	}
	return rep, l.opt.Install(ctx, Installed{Task: task.Name, Version: v.Name, Student: f.student, Certificate: cert})
}

// standing is what serves now, measured on the candidate's own rows.
func (l *Learner) standing(task *tandem.Task, d *dataset, change time.Time, e *exam) standing {
	live := l.opt.Live(task.Name)
	now := standing{version: live.Version, doubted: live.Doubted}
	if live.Student == nil {
		return now
	}
	now.labels, now.open = live.Student.Labels(), live.Certificate.Status == tandem.Valid
	if now.open {
		rows := since(d.certify, change)
		if e.fresh {
			rows = rows[len(rows)-len(e.rows):]
		}
		now.coverage = coverage(predicted(live.Student, task, rows), live.Certificate.Threshold)
	}
	return now
}

// alphas are the points of the frontier.
func alphas() []float64 { return []float64{0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2} }

// frontier says what other promises would serve.
func frontier(e exam, oof []certify.Row) []Point {
	points := make([]Point, 0, len(alphas()))
	for _, a := range alphas() {
		test := promise(a, e.cert.Delta, e.cert.DeltaUsed, e.rows)
		res := certify.Certify(e.rows, certify.Grid(oof, test, len(e.rows)), test)
		p := Point{Alpha: a}
		if res.OK {
			p.Served = res.Coverage
		}
		points = append(points, p)
	}
	return points
}

// hardest returns the training rows on which the student was surest and wrong.
func hardest(f *fit, d *dataset, n int) []Hard {
	var hard []Hard
	for i := range d.train {
		if !f.report.Judged[i] || f.report.Correct[i] {
			continue
		}
		hard = append(hard, Hard{
			Text: d.train[i].input.Text(), Teacher: d.train[i].label,
			Student: d.labels[f.report.Labels[i]], Score: f.report.Scores[i],
		})
	}
	slices.SortStableFunc(hard, func(a, b Hard) int { return cmp.Compare(b.Score, a.Score) })
	return hard[:min(n, len(hard))]
}
