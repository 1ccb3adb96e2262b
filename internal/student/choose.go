package student

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Candidate is one way to put members together, judged out of fold.
type Candidate struct {
	Name   string  `json:"name"`   // "linear+nearest, then linear+nearest+encoder"
	Served float64 `json:"served"` // share of the traffic it would be certified to serve, in [0, 1]
	Agree  float64 `json:"agree"`  // with the teacher, were it to answer everything
	Micros float64 `json:"us"`     // estimated time of one prediction, on average
}

// The price of time. A served request saves a call to the teacher, which takes
// about half a second; a prediction is paid for by every request. What a
// candidate is worth is the time it saves on average: the share it serves,
// less its own time in units of a call. A millisecond must bring 0.2 points of
// coverage, and of two candidates that cost the same the one that serves more
// wins.
const callMicros = 500_000

func (c *Candidate) worth() float64 { return c.Served - c.Micros/callMicros }

// promise is what a candidate is worth while none is expected to serve yet:
// then the one that agrees more will serve sooner.
func (c *Candidate) promise() float64 { return c.Agree - c.Micros/callMicros }

// memberMicros is about what a member costs beside the view that it reads.
const memberMicros = 10

// plan is a candidate with what it was judged by: the evidence of one stage
// or two, and the score from which the first answers.
type plan struct {
	Candidate
	evidence []*evidence
	enough   float64
	report   Report
}

// stages fits the scores of the plan's stages.
func (p *plan) stages() []stage {
	var out []stage
	for k, e := range p.evidence {
		g := e.stage()
		if k+1 < len(p.evidence) {
			g.enough = p.enough
		}
		out = append(out, g)
	}
	return out
}

// members are those of all stages, ascending.
func (p *plan) members() []int {
	var all []int
	for _, e := range p.evidence {
		all = append(all, e.use...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// choose compares the ways to put the members together: those that read plain
// text, those whose view is costly, all of them, and two stages, the costly
// members being asked where the others are not sure enough.
func (c *crossFit) choose() *plan {
	var cheap, costly, all []int
	for m := range c.families {
		all = append(all, m)
		if c.views[m] == nil {
			cheap = append(cheap, m)
		} else {
			costly = append(costly, m)
		}
	}
	whole := c.plan(0, c.hear(all))
	if c.opt.Served == nil || c.count < 2 || len(cheap) == 0 || len(costly) == 0 {
		whole.report.Tried = []Candidate{whole.Candidate}
		return whole
	}
	plain := c.plan(0, c.hear(cheap))
	plans := []*plan{whole, plain, c.plan(0, c.hear(costly))}
	value := (*Candidate).promise
	if slices.ContainsFunc(plans, func(p *plan) bool { return p.Served > 0 }) {
		value = (*Candidate).worth
	}
	var staged *plan
	for _, enough := range c.steps(plain) {
		p := c.plan(enough, plain.evidence[0], whole.evidence[0])
		if staged == nil || value(&p.Candidate) > value(&staged.Candidate) {
			staged = p
		}
	}
	if staged != nil {
		plans = append(plans, staged)
	}
	slices.SortStableFunc(plans, func(a, b *plan) int { return cmp.Compare(value(&b.Candidate), value(&a.Candidate)) })
	best := plans[0]
	for _, p := range plans {
		best.report.Tried = append(best.report.Tried, p.Candidate)
	}
	return best
}

// steps are the scores that a first stage may answer from.
func (c *crossFit) steps(first *plan) []float64 {
	sorted := slices.Sorted(slices.Values(first.evidence[0].scores))
	var out []float64
	const parts = 16
	for k := 1; k < parts; k++ {
		out = append(out, sorted[k*len(sorted)/parts])
	}
	return slices.Compact(out)
}

// plan judges a candidate.
func (c *crossFit) plan(enough float64, evidence ...*evidence) *plan {
	n := len(c.folds)
	p := &plan{evidence: evidence, enough: enough, report: Report{
		Judged: make([]bool, n), Scores: make([]float64, n), Labels: make([]int, n), Correct: make([]bool, n), Folds: c.count,
	}}
	var names []string
	for _, e := range evidence {
		var of []string
		for _, m := range e.use {
			of = append(of, c.families[m].Name())
		}
		names = append(names, strings.Join(of, "+"))
	}
	p.Name = strings.Join(names, ", then ")
	last := evidence[len(evidence)-1]
	deep, right, weight := 0, 0.0, 0.0 // rows that reach the last stage
	for i, row := range c.judged {
		e := last
		if evidence[0].scores[i] >= enough {
			e = evidence[0]
		} else {
			deep++
		}
		r := &p.report
		r.Judged[row], r.Scores[row], r.Labels[row], r.Correct[row] = true, e.scores[i], e.guess[i], e.right[i]
		weight += e.weight[i]
		if e.right[i] {
			right += e.weight[i]
		}
	}
	p.Agree = right / weight
	p.Micros = c.micros(evidence[0].use)
	if len(evidence) > 1 {
		share := float64(deep) / float64(len(c.judged))
		p.Micros += share * max(c.micros(last.use)-p.Micros, 0)
	}
	p.report.Agree, p.report.Micros = p.Agree, p.Micros
	if c.opt.Served != nil {
		p.Served = c.opt.Served(&p.report)
	}
	return p
}

// micros estimates what asking some members costs.
func (c *crossFit) micros(use []int) float64 {
	var bytes float64
	for i := range c.judged {
		bytes += float64(length(&c.row(i).Input))
	}
	bytes /= float64(len(c.judged))
	cost := memberMicros * float64(len(use))
	known := map[string]bool{}
	for _, m := range use {
		if p, ok := c.families[m].(Preparer); ok && !known[p.View()] {
			known[p.View()] = true
			cost += p.Micros(bytes)
		}
	}
	return cost
}

// Why says in words how the chosen candidate compares, "" when there was no
// choice.
func (r *Report) Why() string {
	if len(r.Tried) < 2 {
		return ""
	}
	best := r.Tried[0]
	var others []string
	for _, c := range r.Tried[1:] {
		others = append(others, fmt.Sprintf("%s %.1f %% in %s", c.Name, 100*c.Served, took(c.Micros)))
	}
	return fmt.Sprintf("%s would serve most for its time, about %.1f %% of the traffic in %s each (%s)",
		best.Name, 100*best.Served, took(best.Micros), strings.Join(others, "; "))
}

func took(micros float64) string {
	if micros < 1000 {
		return fmt.Sprintf("%.0f µs", micros)
	}
	return fmt.Sprintf("%.1f ms", micros/1000)
}
