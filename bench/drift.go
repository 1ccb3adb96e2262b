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
	Change  []string
	Alpha   float64
	Delta   float64 // of ever alarming falsely
	Drift   float64 // inverse of the mean audits between false drift signals
	Rate    float64 // share of served answers that is audited
	Replays int
	Audits  int     // length of a null stream
	Before  int     // audits before a change
	Jump    float64 // of the simulated change, added to alpha
	Seed    uint64
	// Splits is how many students, each trained and certified on a split of its
	// own, the replays of recorded answers take turns with; 0: five. One split
	// alone would say more of its luck than of the monitor.
	Splits   int
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
	Splits     int      `json:"splits,omitempty"`     // with a certificate, of recorded answers
	Refused    int      `json:"refused,omitempty"`    // splits without one, which serve nothing and are left out
	Over       int      `json:"over,omitempty"`       // splits whose served answers differ more often than alpha before the change already
	Pool       int      `json:"pool,omitempty"`       // served recorded answers before the change, a split
	PoolAfter  int      `json:"pool_after,omitempty"` // and after

	FalseAlarms  float64  `json:"false_alarms"`            // share of replays with a signal while the risk was at most alpha; those of splits over it left out
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

// stream is one kind of replay. Replay i plays pools[i % len(pools)].
type stream struct {
	name      string
	pools     []pools
	refused   int // splits without a certificate
	audits    int // after the change, or in all when there is none
	lead      int // audits before the change; -1: there is no change
	simulated bool
}

// pools are the answers of one gate before and after the change.
type pools struct{ before, after pool }

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
	coin := []pools{{before: pool{risk: d.Alpha}, after: pool{risk: d.Alpha + d.Jump}}}
	streams := []stream{
		{name: "null", pools: coin, audits: d.Audits, lead: -1, simulated: true},
		{name: "jump", pools: coin, audits: d.Audits, lead: d.Before, simulated: true},
	}
	if len(d.Source.Paths) > 0 {
		recorded, refused, err := d.splits(ctx)
		if err != nil {
			return nil, err
		}
		streams = append(streams, stream{name: "null", pools: recorded, refused: refused, audits: d.Audits, lead: -1})
		if d.changes() {
			streams = append(streams, stream{name: "jump", pools: recorded, refused: refused, audits: d.Audits, lead: d.Before})
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
	case d.Replays < 1 || d.Audits < 1 || d.Before < 0 || d.Splits < 0:
		return tandem.Errorf(tandem.InvalidRequest, "replays, audits and splits must be positive")
	case len(d.Change) > 0 && d.Source.After != "":
		return tandem.Errorf(tandem.InvalidRequest, "a change is either other files or another teacher column, not both")
	}
	return nil
}

// changes reports whether recorded answers change at all.
func (d Drift) changes() bool { return d.Source.After != "" || len(d.Change) > 0 }

// splits trains and certifies a student on each of several splits of the source
// and returns the outcomes of the answers its gate would serve, on rows it has
// not seen, before and after the change. Splits without a certificate are
// counted; without any that serves it is an error.
func (d Drift) splits(ctx context.Context) (served []pools, refused int, err error) {
	rows, err := d.Source.Read()
	if err != nil {
		return nil, 0, err
	}
	var changed Rows
	if len(d.Change) > 0 {
		source := d.Source
		source.Paths = d.Change
		if changed, err = source.Read(); err != nil {
			return nil, 0, err
		}
	}
	n := d.Splits
	if n == 0 {
		n = 5
	}
	why := ""
	for i := range n {
		t, err := newTrial(ctx, d.Families, divide(rows.Rows, nil, 0, d.Seed+uint64(i)), d.Seed+uint64(i), runtime.GOMAXPROCS(0), []float64{d.Alpha}, d.Delta)
		if err != nil {
			return nil, 0, err
		}
		cert := t.certify(d.Alpha, d.Delta)
		if !cert.OK {
			refused++
			why = cert.Why
			continue
		}
		p, err := d.served(t, gate(cert), changed.Rows)
		if err != nil {
			return nil, 0, err
		}
		served = append(served, p)
	}
	if len(served) == 0 {
		return nil, 0, tandem.Errorf(tandem.Conflict, "no gate opens at alpha %g in any of %d splits: %s", d.Alpha, n, why)
	}
	return served, refused, nil
}

// served is what a gate serves of the rows its student has not seen.
func (d Drift) served(t *trial, g certify.Gate, changed []Row) (pools, error) {
	outcomes := func(rows []answered, teacher func(*Row) string) pool {
		var wrong []bool
		for i := range rows {
			if ok, _ := g.Decide(rows[i].score); ok && teacher(&rows[i].Row) != "" {
				wrong = append(wrong, rows[i].label != teacher(&rows[i].Row))
			}
		}
		return recorded(wrong)
	}
	asBefore := func(r *Row) string { return r.Teacher }
	p := pools{before: outcomes(t.test, asBefore)}
	if len(p.before.wrong) == 0 {
		return p, tandem.Errorf(tandem.Conflict, "the gate serves none of the %d test rows", len(t.test))
	}
	switch {
	case d.Source.After != "":
		p.after = outcomes(t.test, func(r *Row) string { return r.After })
	case len(d.Change) > 0:
		p.after = outcomes(t.answer(changed), asBefore)
	}
	if d.changes() && len(p.after.wrong) == 0 {
		return p, tandem.Errorf(tandem.Conflict, "after the change the gate serves nothing, so there is nothing to notice")
	}
	return p, nil
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
				outcomes[i] = d.replay(s, s.pools[i%len(s.pools)], fresh(), rng)
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
func (d Drift) replay(s stream, p pools, detectors []detector, rng *rand.Rand) []outcome {
	out := make([]outcome, len(detectors))
	ended := make([]bool, len(detectors))
	left := len(detectors)
	audits, excess := 0, 0.0
	for limit := max(s.lead, 0) + s.audits; audits < limit && left > 0; {
		changed := s.lead >= 0 && audits >= s.lead
		from := p.before
		if changed {
			from = p.after
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
	}
	share := 1 / float64(len(s.pools))
	for _, p := range s.pools {
		r.RiskBefore += share * p.before.risk
		r.Pool += len(p.before.wrong)
		r.Over += one(p.before.risk > d.Alpha)
		if s.lead >= 0 {
			r.RiskAfter += share * p.after.risk
			r.PoolAfter += len(p.after.wrong)
		}
	}
	r.Pool /= len(s.pools)
	r.PoolAfter /= len(s.pools)
	if s.simulated {
		r.Errors = "simulated"
	} else {
		r.Files, r.Change, r.Text, r.Teacher, r.After = d.Source.Paths, d.Change, d.Source.Text, d.Source.Teacher, d.Source.After
		r.Family = familyNames(d.Families)
		r.Splits, r.Refused = len(s.pools), s.refused
	}
	var delays, excess []float64
	found, good, early := 0, 0, 0
	for i, o := range outcomes {
		within := s.pools[i%len(s.pools)].before.risk <= d.Alpha
		good += one(within)
		if o[k].early {
			early += one(within)
			continue
		}
		found += one(o[k].found)
		delays = append(delays, float64(o[k].delay))
		excess = append(excess, o[k].excess)
	}
	if good > 0 {
		r.FalseAlarms = float64(early) / float64(good)
	}
	if s.lead >= 0 && len(delays) > 0 {
		hit, mid, late, over := float64(found)/float64(len(delays)), median(delays), quantile(delays, 0.9), mean(excess)
		r.Found, r.DelayMedian, r.DelayP90, r.ExcessErrors = &hit, &mid, &late, &over
	}
	return r
}
