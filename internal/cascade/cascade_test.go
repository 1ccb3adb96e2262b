package cascade_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tandem"
	"tandem/internal/cascade"
	"tandem/internal/provider"
	"tandem/internal/store"
	"tandem/internal/student"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pupil answers "yes" to texts that hold "yes", else "no"; its score is the
// text's length in hundredths.
type pupil struct{}

func (pupil) Labels() []string { return []string{"no", "yes", "secret"} }

func (pupil) Predict(in *tandem.Input) student.Prediction {
	s := in.Parts[0].Text
	p := student.Prediction{Score: min(1, float64(len(s))/100)}
	switch {
	case strings.Contains(s, "yes"):
		p.Label = 1
	case strings.Contains(s, "secret"):
		p.Label = 2
	}
	return p
}

// master is a teacher whose answer is a function.
type master struct {
	mu    sync.Mutex
	calls int
	ask   func(ctx context.Context, q provider.Question) (provider.Reply, error)
}

func (m *master) Ask(ctx context.Context, q provider.Question) (provider.Reply, error) {
	m.mu.Lock()
	m.calls++
	m.mu.Unlock()
	return m.ask(ctx, q)
}

func (*master) Speaks(provider.Dialect) bool { return false }

func (*master) Forward(context.Context, provider.Call) (*http.Response, error) {
	return nil, errors.New("not asked for in these tests")
}

func saying(label string) *master {
	return &master{ask: func(context.Context, provider.Question) (provider.Reply, error) {
		return provider.Reply{Text: label, Model: "large", Usage: tandem.Usage{InputTokens: 100, OutputTokens: 10}}, nil
	}}
}

// notebook keeps what the cascade records and hears.
type notebook struct {
	mu      sync.Mutex
	traces  []tandem.Trace
	labels  []store.Label
	decided int
	audited int
	wrong   int
	alarms  []cascade.Alarm
	drifts  []cascade.Alarm
}

func (n *notebook) Append(t tandem.Trace) tandem.Recorded {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.traces = append(n.traces, t)
	return tandem.Queued
}

func (n *notebook) Record(_ context.Context, t tandem.Trace) tandem.Recorded {
	n.Append(t)
	return tandem.Stored
}

func (n *notebook) Label(_ context.Context, l store.Label) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.labels = append(n.labels, l)
	return nil
}

func (n *notebook) Decided(*tandem.Decision) { n.mu.Lock(); n.decided++; n.mu.Unlock() }

func (n *notebook) Audited(_ string, r tandem.AuditResult, _ float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.audited++
	if r == tandem.Disagreed {
		n.wrong++
	}
}

func (n *notebook) alarm(_ context.Context, a cascade.Alarm) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.alarms = append(n.alarms, a)
}

func (n *notebook) drift(_ context.Context, a cascade.Alarm) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drifts = append(n.drifts, a)
}

const long = "yes, and these are enough words to be quite sure of it, so the gate at one half will let it through"

func spec(m *master) cascade.Spec {
	return cascade.Spec{
		Task: tandem.Task{
			Name: "consent", Takes: []tandem.Kind{tandem.Text}, InputBytes: 1000,
			Labels: []tandem.Label{{Name: "no"}, {Name: "yes"}, {Name: "secret"}}, NeverServe: []string{"secret"},
			Guarantee: tandem.Guarantee{Alpha: 0.05, Delta: 0.1}, AuditRate: 1, Deadline: 5 * time.Second,
		},
		Teacher: cascade.Teacher{Name: "large", Model: m, Price: tandem.Price{Input: 1, Output: 2}},
	}
}

func certified() cascade.Live {
	return cascade.Live{Version: "v1", Student: pupil{}, Certificate: tandem.Certificate{
		Status: tandem.Valid, Threshold: 0.5, Alpha: 0.05, Delta: 0.1, Why: "tested",
	}}
}

func setUp(t *testing.T, s cascade.Spec) (*cascade.Cascade, *notebook) {
	t.Helper()
	n := &notebook{}
	c := cascade.New(cascade.Options{Recorder: n, Observer: n, OnAlarm: n.alarm, OnDrift: n.drift})
	c.Configure([]cascade.Spec{s})
	return c, n
}

func ask(t *testing.T, c *cascade.Cascade, text string) tandem.Decision {
	t.Helper()
	d, err := c.Answer(t.Context(), tandem.Request{Task: "consent", Input: tandem.TextInput(text)})
	if err != nil {
		t.Fatalf("Answer(%q): %v", text, err)
	}
	return d
}

func TestAnswerSaysWhoAndWhy(t *testing.T) {
	for _, tt := range []struct {
		name       string
		live       func() *cascade.Live
		text       string
		forced     bool
		step       tandem.StepKind
		reason     tandem.Reason
		answer     string
		propensity float64
		certified  bool
	}{
		{"nothing learnt", func() *cascade.Live { return nil }, long, false, tandem.ProviderStep, tandem.NoStudent, "no", 1, true},
		{"sure", live(tandem.Valid), long, false, tandem.StudentStep, tandem.Accepted, "yes", 1, true},
		{"unsure", live(tandem.Valid), "yes?", false, tandem.ProviderStep, tandem.BelowThreshold, "no", 1, true},
		{"shadow", live(tandem.Refused), long, false, tandem.ProviderStep, tandem.NotCertified, "no", 1, true},
		{"withdrawn", live(tandem.Withdrawn), long, false, tandem.ProviderStep, tandem.GateClosed, "no", 1, true},
		{"reserved label", live(tandem.Valid), strings.ReplaceAll(long, "yes", "secret"), false, tandem.ProviderStep, tandem.NeverServed, "no", 1, true},
		{"forced", live(tandem.Valid), long, true, tandem.ProviderStep, tandem.Forced, "no", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, n := setUp(t, spec(saying("no")))
			if l := tt.live(); l != nil {
				if err := c.Install("consent", *l, nil); err != nil {
					t.Fatal(err)
				}
			}
			d, err := c.Answer(t.Context(), tandem.Request{Task: "consent", Input: tandem.TextInput(tt.text), Teacher: tt.forced})
			if err != nil {
				t.Fatal(err)
			}
			if d.Step != tt.step || d.Reason != tt.reason || d.Answer != tt.answer || d.Certified != tt.certified {
				t.Errorf("got %s/%s %q certified %v, want %s/%s %q certified %v", d.Step, d.Reason, d.Answer, d.Certified, tt.step, tt.reason, tt.answer, tt.certified)
			}
			if d.Propensity != tt.propensity {
				t.Errorf("propensity = %g, want %g", d.Propensity, tt.propensity)
			}
			if d.Why == "" || d.TraceID == "" {
				t.Errorf("decision without a why or a trace id: %+v", d)
			}
			if len(n.traces) != 1 || n.traces[0].ID != d.TraceID || n.decided != 1 {
				t.Errorf("%d traces, %d decisions heard", len(n.traces), n.decided)
			}
		})
	}
}

func live(s tandem.Status) func() *cascade.Live {
	return func() *cascade.Live {
		l := certified()
		l.Certificate.Status = s
		return &l
	}
}

func TestRefusedRequests(t *testing.T) {
	c, n := setUp(t, spec(saying("no")))
	for _, tt := range []struct {
		name string
		req  tandem.Request
		code tandem.Code
	}{
		{"unknown task", tandem.Request{Task: "nope", Input: tandem.TextInput("x")}, tandem.NotFound},
		{"empty", tandem.Request{Task: "consent", Input: tandem.TextInput("  ")}, tandem.InvalidRequest},
		{"no parts", tandem.Request{Task: "consent"}, tandem.InvalidRequest},
		{"too large", tandem.Request{Task: "consent", Input: tandem.TextInput(strings.Repeat("x", 1001))}, tandem.InputTooLarge},
		{"invalid UTF-8", tandem.Request{Task: "consent", Input: tandem.TextInput("a\xff")}, tandem.InvalidRequest},
		{"picture", tandem.Request{Task: "consent", Input: tandem.Input{Parts: []tandem.Part{{Kind: tandem.Image, Data: []byte{1}}}}}, tandem.UnsupportedModality},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.Answer(t.Context(), tt.req)
			if got := tandem.CodeOf(err); got != tt.code {
				t.Errorf("code = %q (%v), want %q", got, err, tt.code)
			}
		})
	}
	if len(n.traces) != 0 {
		t.Errorf("%d refused requests left traces", len(n.traces))
	}
}

func TestTeacherFailure(t *testing.T) {
	down := &master{ask: func(context.Context, provider.Question) (provider.Reply, error) {
		return provider.Reply{}, &provider.Error{Code: tandem.TeacherUnavailable, Message: "the large model refused the connection"}
	}}
	t.Run("is an error", func(t *testing.T) {
		c, n := setUp(t, spec(down))
		_, err := c.Answer(t.Context(), tandem.Request{Task: "consent", Input: tandem.TextInput("x")})
		if tandem.CodeOf(err) != tandem.TeacherUnavailable {
			t.Errorf("err = %v", err)
		}
		if len(n.traces) != 1 || n.traces[0].Labelled {
			t.Errorf("traces = %+v, want one without a label", n.traces)
		}
	})
	t.Run("falls back when the task allows", func(t *testing.T) {
		s := spec(down)
		s.Task.Fallback = tandem.FallbackBest
		c, _ := setUp(t, s)
		if err := c.Install("consent", certified(), nil); err != nil {
			t.Fatal(err)
		}
		d := ask(t, c, "yes?")
		if d.Answer != "yes" || d.Certified || d.Reason != tandem.TeacherFailed {
			t.Errorf("decision = %+v, want the student's uncertified answer", d)
		}
	})
	t.Run("hangs until the deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, _ := setUp(t, spec(&master{ask: func(ctx context.Context, _ provider.Question) (provider.Reply, error) {
				<-ctx.Done()
				return provider.Reply{}, &provider.Error{Code: tandem.TeacherTimeout, Message: "no answer in time", Cause: ctx.Err()}
			}}))
			began := time.Now()
			_, err := c.Answer(t.Context(), tandem.Request{Task: "consent", Input: tandem.TextInput("x")})
			if tandem.CodeOf(err) != tandem.TeacherTimeout {
				t.Errorf("err = %v, want a timeout", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v, over the task's deadline", took)
			}
		})
	})
}

func TestOutsideSpaceIsPassedOnAndNeverALabel(t *testing.T) {
	var heard []string
	n := &notebook{}
	m := saying("perhaps, who knows")
	c := cascade.New(cascade.Options{Recorder: n, Observer: n, OnLabel: func(_, l string) { heard = append(heard, l) }})
	c.Configure([]cascade.Spec{spec(m)})
	d := ask(t, c, "x")
	if d.Answer != "perhaps, who knows" || d.Reason != tandem.OutsideSpace {
		t.Errorf("decision = %+v", d)
	}
	if m.calls != 2 {
		t.Errorf("asked %d times, want a second try", m.calls)
	}
	if len(heard) != 0 || !n.traces[0].OutsideSpace {
		t.Errorf("labels heard %v, trace %+v", heard, n.traces[0])
	}
}

func TestAuditsReachTheLogAndTheWatchdog(t *testing.T) {
	c, n := setUp(t, spec(saying("no"))) // disagrees with every "yes"
	if err := c.Install("consent", certified(), nil); err != nil {
		t.Fatal(err)
	}
	served := 0
	for range 100 {
		if d := ask(t, c, long); d.Step != tandem.StudentStep {
			break
		}
		served++
		for c.AuditOne(t.Context()) {
		}
	}
	if len(n.alarms) != 1 {
		t.Fatalf("%d alarms after %d wrong answers, want 1", len(n.alarms), served)
	}
	if served > 30 {
		t.Errorf("%d wrong answers served before the alarm", served)
	}
	if len(n.labels) != served || n.wrong != served {
		t.Errorf("%d labels, %d wrong, want %d", len(n.labels), n.wrong, served)
	}
	d := ask(t, c, long)
	if d.Step != tandem.ProviderStep || d.Reason != tandem.GateClosed {
		t.Errorf("after the alarm: %s/%s", d.Step, d.Reason)
	}
	if v, _ := c.View("consent"); v.Open || v.Certificate.Status != tandem.Withdrawn {
		t.Errorf("view = %+v", v)
	}
}

func TestACertificateFromBeforeAnAlarmDoesNotOpenTheGate(t *testing.T) {
	c, n := setUp(t, spec(saying("no")))
	if err := c.Install("consent", certified(), nil); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	for len(n.alarms) == 0 {
		ask(t, c, long)
		c.AuditOne(t.Context())
	}
	// Trained while the alarm came: its evidence is of the old traffic.
	late := certified()
	late.Version, late.Certificate.Time = "v2", before
	if err := c.Install("consent", late, nil); tandem.CodeOf(err) != tandem.Conflict {
		t.Errorf("Install = %v, want a conflict", err)
	}
	if d := ask(t, c, long); d.Step != tandem.ProviderStep {
		t.Errorf("answered by %s: %s", d.Model, d.Why)
	}
	fresh := certified()
	fresh.Version, fresh.Certificate.Time = "v3", time.Now()
	if err := c.Install("consent", fresh, nil); err != nil {
		t.Errorf("Install after the alarm: %v", err)
	}
}

func TestPromotionsDoNotRestartTheWatchdog(t *testing.T) {
	c, n := setUp(t, spec(saying("no")))
	served := 0
	for i := 0; len(n.alarms) == 0 && i < 200; i++ {
		next := certified()
		next.Version = fmt.Sprintf("v%d", i)
		if err := c.Install("consent", next, nil); err != nil {
			t.Fatal(err)
		}
		if ask(t, c, long).Step == tandem.StudentStep {
			served++
		}
		c.AuditOne(t.Context())
	}
	if len(n.alarms) != 1 || served > 30 {
		t.Errorf("%d alarms after %d wrong answers of ever new versions", len(n.alarms), served)
	}
}

func TestAWarningRaisesTheAuditRateForAWhile(t *testing.T) {
	truth := saying("yes")
	s := spec(truth)
	s.Task.AuditRate, s.Task.Guarantee = 0.2, tandem.Guarantee{Alpha: 0.05, Delta: 0.001}
	c, n := setUp(t, s)
	live := certified()
	live.Certificate.Delta = 0.001
	if err := c.Install("consent", live, nil); err != nil {
		t.Fatal(err)
	}
	wrong := saying("no")
	rate := func() float64 { v, _ := c.View("consent"); return v.AuditRate }
	for i := 0; rate() == 0.2 && len(n.alarms) == 0; i++ {
		if s.Teacher.Model = truth; i%4 == 0 {
			s.Teacher.Model = wrong
		}
		c.Configure([]cascade.Spec{s})
		ask(t, c, long)
		for c.AuditOne(t.Context()) {
		}
		if i > 100_000 {
			t.Fatal("no warning at 25 % wrong")
		}
	}
	if rate() != 0.8 || len(n.alarms) != 0 {
		t.Fatalf("rate %g after a warning, %d alarms; want 0.8 and none", rate(), len(n.alarms))
	}
	if v, _ := c.View("consent"); !v.Doubted || len(n.drifts) != 1 {
		t.Errorf("doubted %v, %d warnings heard", v.Doubted, len(n.drifts))
	}
	s.Teacher.Model = truth
	c.Configure([]cascade.Spec{s})
	for i := 0; rate() != 0.2; i++ {
		ask(t, c, long)
		for c.AuditOne(t.Context()) {
		}
		if i > 2000 {
			t.Fatal("the closer look never ends")
		}
	}
}

func TestAFullAuditQueueMakesThePropensityZero(t *testing.T) {
	n := &notebook{}
	c := cascade.New(cascade.Options{Recorder: n, Observer: n, AuditQueue: 3})
	c.Configure([]cascade.Spec{spec(saying("yes"))})
	if err := c.Install("consent", certified(), nil); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		d := ask(t, c, long)
		want := 1.0
		if i >= 3 {
			want = 0
		}
		if d.Propensity != want {
			t.Errorf("request %d: propensity %g, want %g", i, d.Propensity, want)
		}
	}
	if waiting, lost := c.AuditBacklog(); waiting != 3 || lost != 2 {
		t.Errorf("backlog = %d waiting, %d lost; want 3, 2", waiting, lost)
	}
}

func TestRestartReplaysAudits(t *testing.T) {
	c, _ := setUp(t, spec(saying("yes")))
	var bad []cascade.Outcome
	for range 60 {
		bad = append(bad, cascade.Outcome{Propensity: 1, Wrong: true})
	}
	if err := c.Install("consent", certified(), bad); err != nil {
		t.Fatal(err)
	}
	if d := ask(t, c, long); d.Reason != tandem.GateClosed {
		t.Errorf("reason = %s: the alarm of before the restart is forgotten", d.Reason)
	}
}

func TestConfigureKeepsServingUnlessThePromiseGetsStricter(t *testing.T) {
	s := spec(saying("no"))
	c, _ := setUp(t, s)
	if err := c.Install("consent", certified(), nil); err != nil {
		t.Fatal(err)
	}
	s.Task.Description = "other words"
	c.Configure([]cascade.Spec{s})
	if d := ask(t, c, long); d.Step != tandem.StudentStep {
		t.Errorf("a harmless reload stopped the student: %s", d.Why)
	}
	s.Task.Guarantee.Alpha = 0.01
	c.Configure([]cascade.Spec{s})
	if d := ask(t, c, long); d.Step != tandem.ProviderStep {
		t.Error("a student certified for 5 % serves a task that now promises 1 %")
	}
	c.Configure(nil)
	if _, err := c.Answer(t.Context(), tandem.Request{Task: "consent", Input: tandem.TextInput(long)}); tandem.CodeOf(err) != tandem.NotFound {
		t.Errorf("a removed task still answers: %v", err)
	}
}

func TestSessionsAreHashed(t *testing.T) {
	c, n := setUp(t, spec(saying("no")))
	if _, err := c.Answer(t.Context(), tandem.Request{Task: "consent", Input: tandem.TextInput("x"), Session: "alice@example.com"}); err != nil {
		t.Fatal(err)
	}
	if got := n.traces[0].Session; got == "" || strings.Contains(got, "alice") {
		t.Errorf("session stored as %q", got)
	}
}

func TestRunStopsWithAuditsWaiting(t *testing.T) {
	hang := &master{ask: func(ctx context.Context, _ provider.Question) (provider.Reply, error) {
		<-ctx.Done()
		return provider.Reply{}, ctx.Err()
	}}
	c, _ := setUp(t, spec(hang))
	if err := c.Install("consent", certified(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for range 50 {
		ask(t, c, long)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestSwapsUnderLoad(t *testing.T) {
	c, _ := setUp(t, spec(saying("yes")))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 200 {
				if i == 0 {
					if err := c.Install("consent", certified(), nil); err != nil {
						t.Error(err)
					}
					c.Configure([]cascade.Spec{spec(saying("yes"))})
					continue
				}
				d, err := c.Answer(context.Background(), tandem.Request{Task: "consent", Input: tandem.TextInput(long)})
				if err != nil || d.Answer != "yes" {
					t.Errorf("answer %q, %v", d.Answer, err)
				}
				for c.AuditOne(context.Background()) {
				}
			}
		})
	}
	wg.Wait()
}

// The student step itself allocates nothing (studenttest); what is left is the
// request, the decision and the trace id.
func TestServingAllocations(t *testing.T) {
	s := spec(saying("yes"))
	s.Task.AuditRate = tandem.MinAuditRate
	c := cascade.New(cascade.Options{Recorder: discard{}, Observer: &notebook{}})
	c.Configure([]cascade.Spec{s})
	if err := c.Install("consent", certified(), nil); err != nil {
		t.Fatal(err)
	}
	req := tandem.Request{Task: "consent", Input: tandem.TextInput(long)}
	allocs := testing.AllocsPerRun(1000, func() {
		if _, err := c.Answer(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 5 {
		t.Errorf("%g allocations for a served answer", allocs)
	}
	fmt.Fprintf(t.Output(), "%g allocations for a served answer\n", allocs)
}

// discard is a recorder that keeps nothing.
type discard struct{}

func (discard) Append(tandem.Trace) tandem.Recorded                  { return tandem.Queued }
func (discard) Record(context.Context, tandem.Trace) tandem.Recorded { return tandem.Stored }
func (discard) Label(context.Context, store.Label) error             { return nil }
