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

// past counts the looks since the last change, before which no row is used. A
// certificate that was refused before it looked (Look 0) has used nothing up.
func past(certs []tandem.Certificate, change time.Time) history {
	var h history
	for i := range certs {
		if certs[i].Look > 0 && !certs[i].Time.Before(change) {
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
			Propensity: r.propensity, Asked: true, Reserved: never[p.Label], Floor: r.floor,
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
		if !rep.Judged[i] || r.time.Before(change) || r.propensity <= 0 {
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
	// Rows seen through an open gate carry less than their number says; how
	// much less is taken from the training side, where nothing is tested.
	all := worth(since(d.train, change), len(rows))
	useFresh, spend := certify.Plan(all, worth(since(d.train, h.last.Add(time.Microsecond)), len(fresh)), h.looks+1, g.Alpha, g.Delta)
	n := all
	if useFresh {
		rows, e.fresh = fresh, true
		n = worth(since(d.train, h.last.Add(time.Microsecond)), len(fresh))
	}
	e.cert.DeltaUsed, e.cert.Rows = spend, len(rows)
	e.rows = predicted(s, task, rows)
	test := promise(g.Alpha, g.Delta, spend, e.rows)
	e.grid = certify.Grid(oof, test, n)
	if p := certify.Forecast(oof, test, n); p < leastHope {
		e.cert.PValue, e.cert.Needs = 1, needs(oof, test, n)
		e.cert.Why = fmt.Sprintf("not tested yet: judged by the training rows, %d rows would prove the promise with a chance of %.0f %%", n, 100*p)
		return e
	}
	res := certify.Certify(e.rows, e.grid, test)
	if len(e.grid) > 0 && len(rows) > 0 {
		e.cert.Look = h.looks + 1
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

// promise is the test of a certificate: the risk, and the share that people see
// once the gate has given as many answers as there were requests behind the
// rows.
func promise(alpha, delta, spend float64, rows []certify.Row) certify.Test {
	requests := 0.0
	for i := range rows {
		requests += 1 / rows[i].Propensity
	}
	return certify.Test{Alpha: alpha, Delta: delta, Spend: spend}.Running(int(requests))
}

// leastHope is the predicted chance of success under which a candidate is not
// tested: every test uses up rows or a part of δ.
const leastHope = 0.3

// worth is how many labels asked for with certainty n certification rows are
// worth, when their propensities are as those of the training rows.
func worth(train []row, n int) int {
	lowest, sum, count := 1.0, 0.0, 0
	for i := range train {
		if p := train[i].propensity; p > 0 {
			lowest = min(lowest, p)
		}
	}
	for i := range train {
		r := &train[i]
		if r.propensity <= 0 {
			continue
		}
		floor := r.floor
		if floor == 0 {
			floor = lowest
		}
		sum += floor / r.propensity
		count++
	}
	if count == 0 {
		return n
	}
	return int(sum / float64(count) * float64(n))
}

// needs is about how many more labelled requests give a test a fair chance, 0
// when more of the same would not.
func needs(oof []certify.Row, test certify.Test, n int) int {
	for more := max(n, 10); more < 1<<17; more += more/4 + 1 {
		test.From = max(test.From, more)
		if certify.Forecast(oof, test, more) >= leastHope {
			return int(float64(more-n) / certify.CertifyShare)
		}
	}
	return 0
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
	doubted  bool    // its watchdog looks into a warning of drift
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
// a version that serves: less is within the noise of a certificate, and every
// promotion is something people have to look at.
const leastGain = 0.005

// judge decides what becomes of a candidate. It is pure.
func judge(c tandem.Certificate, labels []string, now standing) verdict {
	learnt := slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(now.labels, l) })
	switch {
	case c.Status != tandem.Valid && now.open:
		return verdict{why: fmt.Sprintf("not certified (%s); %s keeps serving", c.Why, now.version)}
	case c.Status != tandem.Valid:
		return verdict{shadow: true, why: "runs in shadow: " + c.Why}
	case now.open && now.doubted:
		// Its rows may be of traffic that is no more.
		return verdict{why: fmt.Sprintf("certified, but the audits of %s warn that the traffic may have changed; it waits until that is clear", now.version)}
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
