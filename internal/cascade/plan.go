package cascade

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/provider"
	"tandem/internal/student"
)

// Student is what the cascade needs of a trained student. Predict is safe for
// concurrent use and allocates nothing after warm-up.
type Student interface {
	Predict(in *tandem.Input) student.Prediction
	Labels() []string
}

// Teacher is the last step of a task.
type Teacher struct {
	Name   string // of the provider model in the configuration
	Model  provider.Model
	Price  tandem.Price
	Policy provider.Policy
}

// Spec is what the configuration says of one task.
type Spec struct {
	Task    tandem.Task
	Teacher Teacher
}

// Live is the student version a task runs, with the certificate that opens its
// gate. A version without a valid certificate runs in shadow: it predicts, the
// teacher answers.
type Live struct {
	Version     string
	Student     Student
	Certificate tandem.Certificate
}

// plan is an immutable snapshot of everything a request needs; it is replaced
// as a whole and never changed.
type plan struct {
	tasks map[string]*taskPlan
}

// taskPlan is one task's part of the plan.
type taskPlan struct {
	spec  Spec
	live  *Live // nil: nothing trained
	gate  certify.Gate
	never []bool // by label of the live student: only the teacher may give it
	rate  float64
	words map[tandem.Reason]string
	state *taskState // shared by successive plans
	watch *watchdog  // of the answers given under this plan
}

func (p *plan) with(t *taskPlan) *plan {
	tasks := maps.Clone(p.tasks)
	tasks[t.spec.Task.Name] = t
	return &plan{tasks: tasks}
}

func (p *plan) unknownTask(name string) error {
	names := slices.Sorted(maps.Keys(p.tasks))
	have := "none is configured"
	if len(names) > 0 {
		have = "there are: " + strings.Join(names, ", ")
	}
	return &tandem.Error{
		Code: tandem.NotFound, Param: "model",
		Message: fmt.Sprintf("there is no task %q; %s", name, have),
	}
}

// newTaskPlan computes what requests need from a spec and a live student.
func newTaskPlan(spec Spec, live *Live, state *taskState) *taskPlan {
	t := &taskPlan{spec: spec, live: live, state: state, rate: spec.Task.AuditRate}
	if t.watch = state.watch.Load(); t.watch != nil {
		t.rate = t.watch.rate(t.rate)
	}
	if live != nil {
		t.gate = gateOf(live.Certificate)
		t.never = reserved(&spec.Task, live.Student.Labels())
	}
	t.words = words(t)
	return t
}

// gateOf is the gate a certificate opens.
func gateOf(c tandem.Certificate) certify.Gate {
	if c.Status != tandem.Valid {
		return certify.Gate{Threshold: 1, Why: c.Why}
	}
	return certify.Gate{Threshold: c.Threshold, Open: true, Why: c.Why}
}

// reserved marks the labels a student may not answer with: those the task
// keeps for the teacher and those that are no longer in its answer space.
func reserved(task *tandem.Task, labels []string) []bool {
	never := make([]bool, len(labels))
	for i, l := range labels {
		never[i] = slices.Contains(task.NeverServe, l)
		if _, ok := task.Resolve(l); !ok {
			never[i] = true
		}
	}
	return never
}

// words says every reason a decision of this plan can have, once, so that the
// request path formats nothing.
func words(t *taskPlan) map[tandem.Reason]string {
	teacher := t.spec.Teacher.Name
	w := map[tandem.Reason]string{
		tandem.NoStudent:     "nothing has been learnt for this task yet, so " + teacher + " answers",
		tandem.Forced:        "the caller asked for " + teacher,
		tandem.OutsideSpace:  teacher + " answered outside the task's labels twice; its reply is passed on and not learnt from",
		tandem.TeacherFailed: teacher + " failed; this is the small model's uncertified answer, as the task's fallback allows",
	}
	if t.live == nil {
		return w
	}
	v, c := t.live.Version, t.live.Certificate
	threshold := strconv.FormatFloat(c.Threshold, 'f', 3, 64)
	w[tandem.Accepted] = fmt.Sprintf("%s is sure enough (score at least %s): at most %s of such answers differ from %s, with %s confidence",
		v, threshold, percent(c.Alpha), teacher, percent(1-c.Delta))
	w[tandem.BelowThreshold] = fmt.Sprintf("%s is not sure enough (score under %s), so %s answers", v, threshold, teacher)
	w[tandem.NotCertified] = fmt.Sprintf("%s runs in shadow until it is certified, so %s answers", v, teacher)
	if c.Status == tandem.Valid {
		w[tandem.NotCertified] = fmt.Sprintf("%s is certified but runs in shadow until it is promoted, so %s answers", v, teacher)
	}
	w[tandem.GateClosed] = fmt.Sprintf("an alarm withdrew the certificate of %s, so %s answers", v, teacher)
	w[tandem.NeverServed] = fmt.Sprintf("%s chose a label that only %s may give", v, teacher)
	return w
}

func percent(x float64) string {
	return strconv.FormatFloat(100*x, 'g', 4, 64) + " %"
}
