package distill

import (
	"fmt"
	"slices"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/student"
)

// Predictor is what judging needs of a student.
type Predictor interface {
	Predict(in *tandem.Input) student.Prediction
	Labels() []string
}

// exam is the certification of one candidate.
type exam struct {
	cert  tandem.Certificate
	rows  []certify.Row
	grid  []float64
	fresh bool
}

// history is what earlier certificates of a task have already used up.
type history struct {
	looks int       // how many have looked at rows
	last  time.Time // rows up to here have been looked at
}

// past counts the looks of earlier certificates. A certificate that was
// refused before it looked (Look 0) has used nothing up.
func past(certs []tandem.Certificate) history {
	var h history
	for i := range certs {
		if certs[i].Look > 0 {
			h.looks++
			if certs[i].Time.After(h.last) {
				h.last = certs[i].Time
			}
		}
	}
	return h
}

// predicted turns a student's answers to rows into what a test needs.
func predicted(s Predictor, task *tandem.Task, rows []row) []certify.Row {
	never := make([]bool, len(s.Labels()))
	for i, l := range s.Labels() {
		_, known := task.Resolve(l)
		never[i] = !known || slices.Contains(task.NeverServe, l)
	}
	out := make([]certify.Row, len(rows))
	for i := range rows {
		r := &rows[i]
		p := s.Predict(&r.input)
		out[i] = certify.Row{
			Score: p.Score, Wrong: r.outside || s.Labels()[p.Label] != r.label,
			Propensity: r.propensity, Asked: true, Reserved: never[p.Label],
		}
	}
	return out
}

// outOfFold turns the fit's own out-of-fold answers to the training rows since
// the change into the rows the grid is made from.
func outOfFold(rep *student.Report, d *dataset, task *tandem.Task, change time.Time) []certify.Row {
	out := make([]certify.Row, 0, len(d.train))
	for i := range d.train {
		r := &d.train[i]
		if r.time.Before(change) || r.propensity <= 0 {
			continue
		}
		out = append(out, certify.Row{
			Score: rep.Scores[i], Wrong: !rep.Correct[i], Propensity: r.propensity, Asked: true,
			Reserved: slices.Contains(task.NeverServe, d.labels[rep.Labels[i]]),
		})
	}
	return out
}

// examine certifies a candidate on the rows since the last change. Which rows
// and how much of δ it spends follow from counts and the training side alone.
func examine(s Predictor, oof []certify.Row, d *dataset, task *tandem.Task, change time.Time, h history) exam {
	g := task.Guarantee
	e := exam{cert: tandem.Certificate{
		Task: task.Name, Time: d.taken, Status: tandem.Refused, Alpha: g.Alpha, Delta: g.Delta,
	}}
	rows := since(d.certify, change)
	fresh := since(rows, h.last.Add(time.Microsecond))
	look := h.looks + 1
	useFresh, delta := certify.Plan(len(rows), len(fresh), look, g.Alpha, g.Delta)
	if useFresh {
		rows, e.fresh = fresh, true
	}
	e.cert.DeltaUsed, e.cert.Rows = delta, len(rows)
	e.rows = predicted(s, task, rows)
	e.grid = certify.Grid(oof, g.Alpha, delta, len(rows))
	res := certify.Certify(e.rows, e.grid, g.Alpha, delta)
	if len(e.grid) > 0 && len(rows) > 0 {
		e.cert.Look = look
		e.cert.FromTrace, e.cert.ToTrace = rows[0].id, rows[len(rows)-1].id
	}
	e.cert.Method, e.cert.Accepted, e.cert.Errors = res.Method, res.Accepted, res.Errors
	e.cert.Coverage, e.cert.PValue, e.cert.Needs, e.cert.Why = res.Coverage, res.PValue, res.Needs, res.Why
	if res.OK {
		e.cert.Status, e.cert.Threshold = tandem.Valid, res.Threshold
		e.cert.Budget = certify.Budget(e.rows, res.Threshold)
	}
	return e
}

// coverage is the propensity-weighted share of rows a threshold accepts.
func coverage(rows []certify.Row, threshold float64) float64 {
	var taken, all float64
	for _, r := range rows {
		w := 1 / r.Propensity
		all += w
		if r.Score >= threshold && !r.Reserved {
			taken += w
		}
	}
	if all == 0 {
		return 0
	}
	return taken / all
}

// standing is the version that serves at this moment, if any.
type standing struct {
	version  string
	open     bool
	coverage float64 // on the same rows as the candidate's
	labels   []string
}

// verdict is what to do with a candidate, and why.
type verdict struct {
	promote bool
	shadow  bool // install it with a closed gate, so that it is seen beside the teacher
	why     string
}

// leastGain is how much more of the traffic a candidate must serve to replace
// a version that serves: a replacement restarts the watchdog's evidence.
const leastGain = 0.005

// judge decides what becomes of a candidate. It is pure.
func judge(c tandem.Certificate, labels []string, now standing) verdict {
	learnt := slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(now.labels, l) })
	switch {
	case c.Status != tandem.Valid && now.open:
		return verdict{why: fmt.Sprintf("not certified (%s); %s keeps serving", c.Why, now.version)}
	case c.Status != tandem.Valid:
		return verdict{shadow: true, why: "runs in shadow: " + c.Why}
	case !now.open:
		return verdict{promote: true, why: fmt.Sprintf("certified to serve %.1f %% of the traffic: %s", 100*c.Coverage, c.Why)}
	case c.Coverage > now.coverage+leastGain:
		return verdict{promote: true, why: fmt.Sprintf("serves %.1f %% of the traffic where %s serves %.1f %%: %s",
			100*c.Coverage, now.version, 100*now.coverage, c.Why)}
	case learnt && c.Coverage > now.coverage-leastGain:
		return verdict{promote: true, why: fmt.Sprintf("knows labels that %s does not, and serves as much (%.1f %%): %s",
			now.version, 100*c.Coverage, c.Why)}
	default:
		return verdict{why: fmt.Sprintf("certified, but would serve %.1f %% of the traffic where %s serves %.1f %%",
			100*c.Coverage, now.version, 100*now.coverage)}
	}
}
