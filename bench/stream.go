package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"tandem"
	"tandem/internal/cascade"
	"tandem/internal/certify"
	"tandem/internal/distill"
	"tandem/internal/provider"
	"tandem/internal/student"
)

// Stream measures how a task learns from nothing: recorded rows come one by
// one as requests to the product's cascade, its learner trains when it would,
// its watchdog audits, and every answer is judged before anything is learnt
// from it. Time is simulated; training takes none of it.
type Stream struct {
	Source    Source
	Seeds     string // a file with rows that are known at the start, "" for none
	SeedLabel string // column of their label; "": as in the source
	Alpha     float64
	Delta     float64
	Audit     float64 // share of served answers that is audited
	Price     float64 // of one call to the teacher, US dollars
	Lambdas   []float64
	Shuffles  int
	Points    int // of the curve
	Families  map[string]student.Family
	Names     []string // of the families to use; empty: all
	Progress  func(done, total int)
}

// Spread is a mean over the shuffles and its sample standard deviation.
type Spread struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
}

// StreamResult is the outcome, with every parameter.
type StreamResult struct {
	Bench    string   `json:"bench"`
	Files    []string `json:"files"`
	Text     string   `json:"text"`
	Teacher  string   `json:"teacher"`
	Gold     string   `json:"gold,omitempty"`
	Seeded   string   `json:"seeded,omitempty"`
	Family   string   `json:"family"`
	Alpha    float64  `json:"alpha"`
	Delta    float64  `json:"delta"`
	Audit    float64  `json:"audit_rate"`
	Price    float64  `json:"price_usd"`
	Shuffles int      `json:"shuffles"`
	Rows     int      `json:"rows"`
	SeedRows int      `json:"seed_rows"`
	Labels   int      `json:"labels"`
	LeftOut  LeftOut  `json:"left_out"`

	Served       Spread  `json:"served"`                     // share answered by a student
	Calls        Spread  `json:"calls"`                      // to the teacher, audits included, per request
	Agreement    Spread  `json:"agreement"`                  // of all answers with the teacher's
	Disagreement Spread  `json:"disagreement"`               // of served answers with the teacher's
	Accuracy     *Spread `json:"accuracy,omitempty"`         // of all answers against gold
	TeacherGold  *Spread `json:"accuracy_teacher,omitempty"` // of the teacher's, on the same rows
	CostUSD      Spread  `json:"cost_usd"`
	FirstServed  Spread  `json:"first_served"` // requests before the first answer of a student; all of them when there is none
	Promotions   Spread  `json:"promotions"`
	Alarms       Spread  `json:"alarms"`

	// Discounted is accuracy − λ·calls per request, by λ: against gold where
	// there is gold, else against the teacher. TeacherDiscounted is the same
	// of asking the teacher always.
	Discounted        []Discounted `json:"discounted"`
	Curve             []Point      `json:"curve"`
	DiscountedAgainst string       `json:"discounted_against"`
	Seconds           float64      `json:"seconds"`
}

// Discounted is one point of the price of calls.
type Discounted struct {
	Lambda float64 `json:"lambda"`
	Tandem Spread  `json:"tandem"`
	Always float64 `json:"always_teacher"`
}

// Point is a piece of the run, averaged over the shuffles.
type Point struct {
	Requests int     `json:"requests"` // at its end
	Served   float64 `json:"served"`   // share within it
	Right    float64 `json:"right"`    // accuracy within it, against what Discounted is against
	Calls    float64 `json:"calls"`    // per request since the start
	CostUSD  float64 `json:"cost_usd"` // since the start
}

// answer is what became of one request.
type answerOf struct {
	local, agrees, right, teacherRight bool
	calls                              int
}

// streamRun is one shuffle.
type streamRun struct {
	answers    []answerOf
	promotions int
	alarms     int
}

// Run measures.
func (s Stream) Run(ctx context.Context) (StreamResult, error) {
	if err := s.check(); err != nil {
		return StreamResult{}, err
	}
	start := time.Now()
	rows, err := s.Source.Read()
	if err != nil {
		return StreamResult{}, err
	}
	var seeds Rows
	if s.Seeds != "" {
		source := s.Source
		source.Paths, source.Gold, source.After = []string{s.Seeds}, "", ""
		if s.SeedLabel != "" {
			source.Teacher = s.SeedLabel
		}
		if seeds, err = source.Read(); err != nil {
			return StreamResult{}, err
		}
	}
	families, err := Families(s.Families, s.Names)
	if err != nil {
		return StreamResult{}, err
	}
	runs, err := s.shuffles(ctx, rows.Rows, seeds.Rows)
	if err != nil {
		return StreamResult{}, err
	}
	r := StreamResult{
		Bench: "stream", Files: s.Source.Paths, Text: s.Source.Text, Teacher: s.Source.Teacher, Gold: s.Source.Gold,
		Seeded: s.Seeds, Family: familyNames(families), Alpha: s.Alpha, Delta: s.Delta, Audit: s.Audit, Price: s.Price,
		Shuffles: s.Shuffles, Rows: len(rows.Rows), SeedRows: len(seeds.Rows), Labels: len(labelsOf(rows.Rows, seeds.Rows)),
		LeftOut: LeftOut{rows.Unlabeled + seeds.Unlabeled, rows.Blank + seeds.Blank, rows.Excluded + seeds.Excluded},
	}
	s.summary(&r, runs)
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

func (s Stream) check() error {
	for _, x := range []float64{s.Alpha, s.Delta} {
		if !(x > 0 && x < 1) {
			return tandem.Errorf(tandem.InvalidRequest, "--alpha and --delta must lie between 0 and 1, not %g", x)
		}
	}
	switch {
	case !(s.Audit >= tandem.MinAuditRate && s.Audit <= 1):
		return tandem.Errorf(tandem.InvalidRequest, "the audit rate must lie between %g and 1, not %g", tandem.MinAuditRate, s.Audit)
	case s.Shuffles < 1 || s.Points < 1:
		return tandem.Errorf(tandem.InvalidRequest, "shuffles and points must be positive")
	case !(s.Price >= 0):
		return tandem.Errorf(tandem.InvalidRequest, "the price must not be negative")
	}
	return nil
}

// shuffles runs as many at a time as there are processors.
func (s Stream) shuffles(ctx context.Context, rows, seeds []Row) ([]streamRun, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	runs := make([]streamRun, s.Shuffles)
	var (
		mu    sync.Mutex // guards done and Progress
		done  int
		group sync.WaitGroup
		slots = make(chan struct{}, runtime.GOMAXPROCS(0))
	)
	for i := range s.Shuffles {
		group.Go(func() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-slots }()
			run, err := s.run(ctx, rows, seeds, uint64(i)+1, func(n int) {
				mu.Lock()
				defer mu.Unlock()
				if done += n; s.Progress != nil {
					s.Progress(done, s.Shuffles*len(rows))
				}
			})
			if err != nil {
				cancel(fmt.Errorf("shuffle %d: %w", i+1, err))
			}
			runs[i] = run
		})
	}
	group.Wait()
	return runs, context.Cause(ctx)
}

// streamTask is the name of the task in a simulated run.
const streamTask = "bench"

// teacher answers with the row in turn. It is asked by one goroutine.
type teacher struct {
	row   *Row
	calls int
}

// Ask gives the recorded answer.
func (t *teacher) Ask(context.Context, provider.Question) (provider.Reply, error) {
	t.calls++
	return provider.Reply{Text: t.row.Teacher, Model: "recorded", Usage: tandem.Usage{InputTokens: 1000}, Recording: true}, nil
}

// Speaks says that nothing passes through.
func (*teacher) Speaks(provider.Dialect) bool { return false }

// Forward is not what a simulated run does.
func (t *teacher) Forward(context.Context, provider.Call) (*http.Response, error) {
	return nil, errors.New("a simulated teacher forwards nothing")
}

// silent observes nothing: the run counts for itself.
type silent struct{}

func (silent) Decided(*tandem.Decision)                    {}
func (silent) Audited(string, tandem.AuditResult, float64) {}

// world is the product put together for one simulated run.
type world struct {
	memory  *memory
	cascade *cascade.Cascade
	learner *distill.Learner
	teacher *teacher
	now     time.Time
	ids     int
}

// clock advances a microsecond whenever it is read, so that no two things
// happen at once.
func (w *world) clock() time.Time {
	w.now = w.now.Add(time.Microsecond)
	return w.now
}

func (s Stream) world(rows, seeds []Row, seed uint64) *world {
	w := &world{memory: newMemory(), teacher: &teacher{}, now: time.Unix(1_700_000_000, 0).UTC()}
	var key certify.Key
	rng := rand.New(rand.NewPCG(seed, 0x6b6579))
	for i := range key {
		key[i] = byte(rng.Uint32())
	}
	task := tandem.Task{
		Name: streamTask, Takes: []tandem.Kind{tandem.Text}, Labels: labelsOf(rows, seeds), Teacher: "recorded", Families: s.Names,
		Guarantee: tandem.Guarantee{Alpha: s.Alpha, Delta: s.Delta}, Fallback: tandem.FallbackError,
		InputBytes: 16 << 20, AuditRate: s.Audit, StoreInputs: true,
	}
	w.cascade = cascade.New(cascade.Options{
		Recorder: w.memory, Observer: silent{}, Key: key, Now: w.clock,
		NewID:   func() (string, error) { w.ids++; return fmt.Sprintf("%08d", w.ids), nil },
		OnLabel: func(task, label string) { w.learner.Labelled(task, label) },
		OnAlarm: func(_ context.Context, a cascade.Alarm) {
			w.memory.note(a.Task, tandem.EventAlarm, a.Version, a.Why)
			w.learner.Changed(a.Task, a.Time)
		},
	})
	w.learner = distill.New(distill.Options{
		Reader: w.memory, Registry: w.memory, Key: key, Families: s.Families, Task: w.cascade.Task, Now: w.clock,
		Live: func(task string) distill.Serving {
			live, ok := w.cascade.Live(task)
			if !ok {
				return distill.Serving{}
			}
			v, _ := w.cascade.View(task)
			return distill.Serving{Version: live.Version, Student: live.Student, Certificate: live.Certificate, Doubted: v.Doubted}
		},
		Install: func(_ context.Context, in distill.Installed) error {
			return w.cascade.Install(in.Task, cascade.Live{Version: in.Version, Student: in.Student, Certificate: in.Certificate}, nil)
		},
	})
	// A thousand tokens at a thousand times the price a million cost one call.
	w.cascade.Configure([]cascade.Spec{{Task: task, Teacher: cascade.Teacher{
		Name: "recorded", Model: w.teacher, Price: tandem.Price{Input: s.Price * 1000}, Policy: provider.Policy{},
	}}})
	return w
}

// labelsOf is the answer space of rows.
func labelsOf(rows, seeds []Row) []tandem.Label {
	names := map[string]bool{}
	for _, r := range append(slices.Clip(rows), seeds...) {
		names[r.Teacher] = true
	}
	labels := make([]tandem.Label, 0, len(names))
	for _, n := range slices.Sorted(maps.Keys(names)) {
		labels = append(labels, tandem.Label{Name: n})
	}
	return labels
}

// run plays one shuffle. progress is told of requests done.
func (s Stream) run(ctx context.Context, rows, seeds []Row, seed uint64, progress func(int)) (streamRun, error) {
	rows = slices.Clone(rows)
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	w := s.world(rows, seeds, seed)
	for i := range seeds {
		// Known rows are no sample of the traffic: they teach and certify nothing.
		w.memory.Append(tandem.Trace{
			ID: "seed" + strconv.Itoa(i), Task: streamTask, Time: w.clock(), Input: tandem.TextInput(seeds[i].Text),
			Source: tandem.Imported, Labelled: true, Teacher: seeds[i].Teacher,
		})
		w.learner.Labelled(streamTask, seeds[i].Teacher)
	}
	if err := w.learn(ctx); err != nil {
		return streamRun{}, err
	}
	run := streamRun{answers: make([]answerOf, len(rows))}
	const step = 100
	for i := range rows {
		a, err := w.request(ctx, &rows[i])
		if err != nil {
			return run, fmt.Errorf("request %d: %w", i+1, err)
		}
		run.answers[i] = a
		if (i+1)%step == 0 {
			progress(step)
		}
	}
	progress(len(rows) % step)
	run.promotions, run.alarms = w.memory.count(tandem.EventPromoted), w.memory.count(tandem.EventAlarm)
	return run, nil
}

// request asks one row, lets what it caused happen, and judges the answer.
func (w *world) request(ctx context.Context, row *Row) (answerOf, error) {
	w.now = w.now.Add(time.Second)
	w.teacher.row = row
	before := w.teacher.calls
	d, err := w.cascade.Answer(ctx, tandem.Request{Task: streamTask, Input: tandem.TextInput(row.Text)})
	if err != nil {
		return answerOf{}, err
	}
	for w.cascade.AuditOne(ctx) {
	}
	a := answerOf{
		local: d.Step == tandem.StudentStep, agrees: d.Answer == row.Teacher, right: d.Answer == row.Gold,
		teacherRight: row.Teacher == row.Gold, calls: w.teacher.calls - before,
	}
	return a, w.learn(ctx)
}

// learn trains while something is due.
func (w *world) learn(ctx context.Context) error {
	for {
		task, trigger, due := w.learner.Due()
		if !due {
			return ctx.Err()
		}
		if _, err := w.learner.Refit(ctx, task, trigger); err != nil {
			return err
		}
	}
}

func (s Stream) summary(r *StreamResult, runs []streamRun) {
	gold := s.Source.Gold != ""
	r.DiscountedAgainst = "teacher"
	if gold {
		r.DiscountedAgainst = "gold"
	}
	var served, calls, agree, wrong, right, best, cost, first, promotions, alarms []float64
	discounted := make([][]float64, len(s.Lambdas))
	for _, run := range runs {
		t := totals(run.answers, gold)
		n := float64(len(run.answers))
		served, calls = append(served, t.served/n), append(calls, t.calls/n)
		agree, right, best = append(agree, t.agree/n), append(right, t.right/n), append(best, t.best/n)
		if t.served > 0 {
			wrong = append(wrong, t.wrong/t.served)
		}
		cost, first = append(cost, t.calls*s.Price), append(first, t.first)
		promotions, alarms = append(promotions, float64(run.promotions)), append(alarms, float64(run.alarms))
		for i, lambda := range s.Lambdas {
			discounted[i] = append(discounted[i], t.right/n-lambda*t.calls/n)
		}
	}
	r.Served, r.Calls, r.Agreement, r.Disagreement = spread(served), spread(calls), spread(agree), spread(wrong)
	r.CostUSD, r.FirstServed, r.Promotions, r.Alarms = spread(cost), spread(first), spread(promotions), spread(alarms)
	if gold {
		a, t := spread(right), spread(best)
		r.Accuracy, r.TeacherGold = &a, &t
	}
	for i, lambda := range s.Lambdas {
		r.Discounted = append(r.Discounted, Discounted{lambda, spread(discounted[i]), mean(best) - lambda})
	}
	r.Curve = s.curve(runs, gold)
}

// total counts one run.
type total struct{ served, calls, agree, wrong, right, best, first float64 }

// totals counts answers; right and best are against gold when there is gold,
// else against the teacher.
func totals(answers []answerOf, gold bool) total {
	t := total{first: float64(len(answers))}
	for i, a := range answers {
		t.calls += float64(a.calls)
		t.agree += float64(one(a.agrees))
		t.right += float64(one(gold && a.right || !gold && a.agrees))
		t.best += float64(one(!gold || a.teacherRight))
		if a.local {
			if t.served == 0 {
				t.first = float64(i)
			}
			t.served++
			t.wrong += float64(one(!a.agrees))
		}
	}
	return t
}

func (s Stream) curve(runs []streamRun, gold bool) []Point {
	n := len(runs[0].answers)
	points := make([]Point, 0, s.Points)
	for p := range s.Points {
		from, to := p*n/s.Points, (p+1)*n/s.Points
		if from == to {
			continue
		}
		pt := Point{Requests: to}
		for _, run := range runs {
			here, so := totals(run.answers[from:to], gold), totals(run.answers[:to], gold)
			share := 1 / float64(len(runs))
			pt.Served += share * here.served / float64(to-from)
			pt.Right += share * here.right / float64(to-from)
			pt.Calls += share * so.calls / float64(to)
			pt.CostUSD += share * so.calls * s.Price
		}
		points = append(points, pt)
	}
	return points
}

func spread(x []float64) Spread { return Spread{mean(x), deviation(x)} }
