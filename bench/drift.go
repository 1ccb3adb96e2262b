package bench

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/student"
)

// Drift measures how a deployed gate is watched: how often an alarm is raised
// although nothing has changed, and how soon when something has. Answers are
// replayed in random order, audited at the audit rate and shown to the monitor
// that the product deploys, and beside it to two textbook tests looked at
// after every audit.
type Drift struct {
	Source Source
	// Change is what comes after the change point: rows of other files, or the
	// same rows with the labels of Source.After. With neither, only the
	// simulated streams are run.
	Change   []string
	Alpha    float64
	Delta    float64 // of ever alarming falsely
	Drift    float64 // inverse of the mean audits between false drift signals
	Rate     float64 // share of served answers that is audited
	Replays  int
	Audits   int     // length of a null stream
	Before   int     // audits before a change
	Jump     float64 // of the simulated change, added to alpha
	Seed     uint64
	Families []student.Family
	Progress func(done, total int) // called from one goroutine at a time
}

// DriftResult is what one detector did on one kind of stream, with every
// parameter.
type DriftResult struct {
	Bench      string   `json:"bench"`
	Files      []string `json:"files,omitempty"`
	Change     []string `json:"change,omitempty"`
	Text       string   `json:"text,omitempty"`
	Teacher    string   `json:"teacher,omitempty"`
	After      string   `json:"after,omitempty"`
	Family     string   `json:"family,omitempty"`
	Stream     string   `json:"stream"`   // null or jump
	Errors     string   `json:"errors"`   // recorded, or simulated at exactly the stated risk
	Detector   string   `json:"detector"` // tandem alarm, tandem alarm or drift, z test, Clopper-Pearson
	Alpha      float64  `json:"alpha"`
	Delta      float64  `json:"delta"`
	DriftDelta float64  `json:"drift_delta"`
	AuditRate  float64  `json:"audit_rate"`
	Replays    int      `json:"replays"`
	Audits     int      `json:"audits"` // most audits in one replay, after the change where there is one
	Before     int      `json:"before"` // audits before the change
	Seed       uint64   `json:"seed"`
	RiskBefore float64  `json:"risk_before"`
	RiskAfter  float64  `json:"risk_after,omitempty"`
	Pool       int      `json:"pool,omitempty"`       // served recorded answers before the change
	PoolAfter  int      `json:"pool_after,omitempty"` // and after

	FalseAlarms  float64  `json:"false_alarms"`            // share of replays with a signal while the risk was at most risk_before
	Found        *float64 `json:"found,omitempty"`         // share of the others with a signal after the change
	DelayMedian  *float64 `json:"delay_median,omitempty"`  // audits from the change to the signal; unfound replays count as the longest
	DelayP90     *float64 `json:"delay_p90,omitempty"`     //
	ExcessErrors *float64 `json:"excess_errors,omitempty"` // served wrong answers from the change to the signal, less alpha of all served, mean
}

// A pool is a bag of served answers, or a coin.
type pool struct {
	wrong []bool  // recorded outcomes; empty: simulated
	risk  float64 // share of wrong ones
}

func recorded(wrong []bool) pool {
	n := 0
	for _, w := range wrong {
		n += one(w)
	}
	return pool{wrong, float64(n) / float64(max(len(wrong), 1))}
}

func (p pool) draw(rng *rand.Rand) bool {
	if len(p.wrong) > 0 {
		return p.wrong[rng.IntN(len(p.wrong))]
	}
	return rng.Float64() < p.risk
}

// stream is one kind of replay.
type stream struct {
	name          string
	before, after pool
	audits        int // after the change, or in all when there is none
	lead          int // audits before the change; -1: there is no change
	simulated     bool
}

// detector watches audits and says when it has seen enough.
type detector func(wrong bool) (signal bool)

// detectors makes the monitor as deployed and the textbook tests, all fresh.
func (d Drift) detectors() (names []string, fresh func() []detector) {
	names = []string{"tandem alarm", "tandem alarm or drift", "z test", "Clopper-Pearson"}
	return names, func() []detector {
		alarm, both := certify.NewMonitor(d.Alpha, d.Delta, d.Drift), certify.NewMonitor(d.Alpha, d.Delta, d.Drift)
		return []detector{
			func(wrong bool) bool { return alarm.Observe(d.Rate, wrong).Alarm },
			func(wrong bool) bool { v := both.Observe(d.Rate, wrong); return v.Alarm || v.Drift },
			zTest(d.Alpha, d.Delta),
			clopperPearson(d.Alpha, d.Delta),
		}
	}
}

// zTest signals when the normal test rejects "the risk is at most alpha" at
// level delta, computed anew after every audit from the 30th on.
func zTest(alpha, delta float64) detector {
	limit := math.Sqrt2 * math.Erfinv(1-2*delta)
	n, k := 0, 0
	return func(wrong bool) bool {
		n, k = n+1, k+one(wrong)
		z := (float64(k) - float64(n)*alpha) / math.Sqrt(float64(n)*alpha*(1-alpha))
		return n >= 30 && z > limit
	}
}

// clopperPearson signals when the lower end of the exact one-sided interval at
// level delta lies over alpha, computed anew after every audit.
func clopperPearson(alpha, delta float64) detector {
	n, k := 0, 0
	return func(wrong bool) bool {
		n, k = n+1, k+one(wrong)
		// The lower end exceeds alpha when P(X >= k | alpha) < delta.
		return float64(k) > alpha*float64(n) && 1-certify.BinomialTail(n, alpha, k-1) < delta
	}
}

// Run measures; results come by stream, then by detector.
func (d Drift) Run(ctx context.Context) ([]DriftResult, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	coin := func(risk float64) pool { return pool{risk: risk} }
	streams := []stream{
		{name: "null", before: coin(d.Alpha), audits: d.Audits, lead: -1, simulated: true},
		{name: "jump", before: coin(d.Alpha), after: coin(d.Alpha + d.Jump), audits: d.Audits, lead: d.Before, simulated: true},
	}
	if len(d.Source.Paths) > 0 {
		before, after, err := d.pools(ctx)
		if err != nil {
			return nil, err
		}
		streams = append(streams, stream{name: "null", before: before, audits: d.Audits, lead: -1})
		if len(after.wrong) > 0 {
			streams = append(streams, stream{name: "jump", before: before, after: after, audits: d.Audits, lead: d.Before})
		}
	}
	var results []DriftResult
	for i, s := range streams {
		r, err := d.play(ctx, s, func(done int) {
			if d.Progress != nil {
				d.Progress(i*d.Replays+done, len(streams)*d.Replays)
			}
		})
		if err != nil {
			return nil, err
		}
		results = append(results, r...)
	}
	return results, nil
}

func (d Drift) check() error {
	for _, x := range []float64{d.Alpha, d.Delta, d.Drift} {
		if !(x > 0 && x < 1) {
			return tandem.Errorf(tandem.InvalidRequest, "alpha, delta and the drift level must lie between 0 and 1, not %g", x)
		}
	}
	switch {
	case !(d.Rate > 0 && d.Rate <= 1):
		return tandem.Errorf(tandem.InvalidRequest, "the audit rate must lie in (0, 1], not %g", d.Rate)
	case !(d.Jump > 0 && d.Alpha+d.Jump <= 1):
		return tandem.Errorf(tandem.InvalidRequest, "the jump must be positive and end at most at 1, not %g", d.Jump)
	case d.Replays < 1 || d.Audits < 1 || d.Before < 0:
		return tandem.Errorf(tandem.InvalidRequest, "replays and audits must be positive")
	case len(d.Change) > 0 && d.Source.After != "":
		return tandem.Errorf(tandem.InvalidRequest, "a change is either other files or another teacher column, not both")
	}
	return nil
}

// pools trains and certifies a student on the source and returns the outcomes
// of the answers its gate would serve, on rows it has not seen, before and
// after the change.
func (d Drift) pools(ctx context.Context) (before, after pool, err error) {
	rows, err := d.Source.Read()
	if err != nil {
		return before, after, err
	}
	t, err := newTrial(ctx, d.Families, rows.Rows, nil, d.Seed, runtime.GOMAXPROCS(0), []float64{d.Alpha}, d.Delta)
	if err != nil {
		return before, after, err
	}
	cert := t.certify(d.Alpha, d.Delta)
	if !cert.OK {
		return before, after, tandem.Errorf(tandem.Conflict, "no gate opens at alpha %g: %s", d.Alpha, cert.Why)
	}
	served := func(rows []answered, teacher func(*Row) string) (wrong []bool) {
		for i := range rows {
			if ok, _ := gate(cert).Decide(rows[i].score); ok && teacher(&rows[i].Row) != "" {
				wrong = append(wrong, rows[i].label != teacher(&rows[i].Row))
			}
		}
		return wrong
	}
	asBefore := func(r *Row) string { return r.Teacher }
	before = recorded(served(t.test, asBefore))
	if len(before.wrong) == 0 {
		return before, after, tandem.Errorf(tandem.Conflict, "the gate serves none of the %d test rows", len(t.test))
	}
	switch {
	case d.Source.After != "":
		after = recorded(served(t.test, func(r *Row) string { return r.After }))
	case len(d.Change) > 0:
		source := d.Source
		source.Paths = d.Change
		changed, err := source.Read()
		if err != nil {
			return before, after, err
		}
		after = recorded(served(t.answer(changed.Rows), asBefore))
	}
	if (d.Source.After != "" || len(d.Change) > 0) && len(after.wrong) == 0 {
		return before, after, tandem.Errorf(tandem.Conflict, "after the change the gate serves nothing, so there is nothing to notice")
	}
	return before, after, nil
}

// outcome is what one detector did in one replay.
type outcome struct {
	early  bool    // signalled before the change, or ever when there was none
	found  bool    // signalled after it
	delay  int     // audits from the change to the signal, or to the end
	excess float64 // served wrong answers beyond alpha from the change to the signal
}

func (d Drift) play(ctx context.Context, s stream, progress func(done int)) ([]DriftResult, error) {
	names, fresh := d.detectors()
	outcomes := make([][]outcome, d.Replays) // by replay, then by detector
	var (
		mu    sync.Mutex // guards next, done and progress
		next  int
		done  int
		group sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= d.Replays {
					return
				}
				rng := rand.New(rand.NewPCG(d.Seed, uint64(i)+1))
				outcomes[i] = d.replay(s, fresh(), rng)
				mu.Lock()
				done++
				progress(done)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	results := make([]DriftResult, len(names))
	for k, name := range names {
		results[k] = d.summary(s, name, k, outcomes)
	}
	return results, nil
}

// replay serves answers one by one, audits some of them, and lets every
// detector run until it signals.
func (d Drift) replay(s stream, detectors []detector, rng *rand.Rand) []outcome {
	out := make([]outcome, len(detectors))
	ended := make([]bool, len(detectors))
	left := len(detectors)
	audits, excess := 0, 0.0
	for limit := max(s.lead, 0) + s.audits; audits < limit && left > 0; {
		changed := s.lead >= 0 && audits >= s.lead
		from := s.before
		if changed {
			from = s.after
		}
		wrong := from.draw(rng)
		if changed {
			excess += float64(one(wrong)) - d.Alpha
		}
		if rng.Float64() >= d.Rate {
			continue
		}
		audits++
		for k, observe := range detectors {
			if ended[k] || !observe(wrong) {
				continue
			}
			ended[k] = true
			left--
			out[k] = outcome{early: !changed, found: changed, delay: audits - s.lead, excess: excess}
		}
	}
	for k := range out {
		if !ended[k] {
			out[k] = outcome{delay: s.audits, excess: excess}
		}
	}
	return out
}

func (d Drift) summary(s stream, detector string, k int, outcomes [][]outcome) DriftResult {
	r := DriftResult{
		Bench: "drift", Stream: s.name, Errors: "recorded", Detector: detector,
		Alpha: d.Alpha, Delta: d.Delta, DriftDelta: d.Drift, AuditRate: d.Rate,
		Replays: d.Replays, Audits: s.audits, Before: max(s.lead, 0), Seed: d.Seed,
		RiskBefore: s.before.risk, RiskAfter: s.after.risk, Pool: len(s.before.wrong), PoolAfter: len(s.after.wrong),
	}
	if s.simulated {
		r.Errors = "simulated"
	} else {
		r.Files, r.Change, r.Text, r.Teacher, r.After = d.Source.Paths, d.Change, d.Source.Text, d.Source.Teacher, d.Source.After
		r.Family = familyNames(d.Families)
	}
	var delays, excess []float64
	found := 0
	for _, o := range outcomes {
		if o[k].early {
			r.FalseAlarms += 1 / float64(len(outcomes))
			continue
		}
		found += one(o[k].found)
		delays = append(delays, float64(o[k].delay))
		excess = append(excess, o[k].excess)
	}
	if s.lead >= 0 && len(delays) > 0 {
		share, mid, late, over := float64(found)/float64(len(delays)), median(delays), quantile(delays, 0.9), mean(excess)
		r.Found, r.DelayMedian, r.DelayP90, r.ExcessErrors = &share, &mid, &late, &over
	}
	return r
}
