package distill

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/student"
)

func TestJudge(t *testing.T) {
	valid := func(coverage float64) tandem.Certificate {
		return tandem.Certificate{Status: tandem.Valid, Coverage: coverage, Why: "tested"}
	}
	refused := tandem.Certificate{Status: tandem.Refused, Why: "needs 37 more labelled requests"}
	serving := standing{version: "v3", open: true, coverage: 0.7, labels: []string{"a", "b"}}
	same := []string{"b", "a"}
	for _, tt := range []struct {
		name            string
		cert            tandem.Certificate
		labels          []string
		now             standing
		promote, shadow bool
		why             string
	}{
		{"first certificate", valid(0.4), same, standing{}, true, false, "40.0 % of the traffic"},
		{"first refused", refused, same, standing{}, false, true, "37 more"},
		{"refused beside a serving one", refused, same, serving, false, false, "v3 keeps serving"},
		{"clear gain", valid(0.75), same, serving, true, false, "where v3 serves 70.0 %"},
		{"gain too small", valid(0.704), same, serving, false, false, "would serve 70.4 %"},
		{"worse", valid(0.5), same, serving, false, false, "would serve 50.0 %"},
		{"new label, as good", valid(0.7), []string{"a", "b", "c"}, serving, true, false, "labels that v3 does not"},
		{"new label, much worse", valid(0.5), []string{"a", "b", "c"}, serving, false, false, "would serve"},
		{"gain while the watchdog doubts", valid(0.9), same, standing{version: "v3", open: true, doubted: true, coverage: 0.7, labels: same}, false, false, "may have changed"},
		{"gate closed by an alarm", valid(0.2), same, standing{version: "v3", labels: same}, true, false, "certified"},
		{"closed and refused", refused, same, standing{version: "v3", labels: same}, false, true, "shadow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := judge(tt.cert, tt.labels, tt.now)
			if got.promote != tt.promote || got.shadow != tt.shadow {
				t.Errorf("judge = %+v, want promote %v, shadow %v", got, tt.promote, tt.shadow)
			}
			if !strings.Contains(got.why, tt.why) {
				t.Errorf("why = %q, want it to say %q", got.why, tt.why)
			}
		})
	}
}

func TestPast(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	certs := []tandem.Certificate{
		{Look: 1, Time: at(10), Status: tandem.Refused},
		{Look: 0, Time: at(20), Status: tandem.Refused}, // refused before it looked
		{Look: 2, Time: at(15), Status: tandem.Withdrawn},
	}
	h := past(certs, time.Time{})
	if h.looks != 2 || !h.last.Equal(at(15)) {
		t.Errorf("past = %+v, want 2 looks up to second 15", h)
	}
	if h = past(certs, at(12)); h.looks != 1 {
		t.Errorf("past = %+v, want 1 look since the change", h)
	}
}

func TestCoverageWeighsByPropensity(t *testing.T) {
	rows := []certify.Row{
		{Score: 0.9, Propensity: 0.1, Asked: true}, // stands for ten accepted requests
		{Score: 0.2, Propensity: 1, Asked: true},
		{Score: 0.95, Propensity: 1, Asked: true, Reserved: true},
	}
	if got, want := coverage(rows, 0.5), 10.0/12; math.Abs(got-want) > 1e-12 {
		t.Errorf("coverage = %g, want %g", got, want)
	}
	if got := coverage(nil, 0.5); got != 0 {
		t.Errorf("coverage of nothing = %g", got)
	}
}

func TestDue(t *testing.T) {
	change := time.Unix(1, 0)
	for _, tt := range []struct {
		name string
		p    progress
		want Trigger
		due  bool
	}{
		{"too few", progress{labelled: 149}, TriggerGrowth, false},
		{"first", progress{labelled: 150}, TriggerGrowth, true},
		{"grown by less", progress{labelled: 194, lastFit: 150, serving: true}, "", false},
		{"grown enough", progress{labelled: 195, lastFit: 150, serving: true}, TriggerGrowth, true},
		{"grown by half as much, while nothing serves", progress{labelled: 173, lastFit: 150}, TriggerGrowth, true},
		{"grown by less than that", progress{labelled: 172, lastFit: 150}, "", false},
		{"few since a change", progress{labelled: 5000, sinceChange: 4900, change: change}, TriggerGrowth, false},
		{"enough since a change", progress{labelled: 5000, sinceChange: 4850, change: change}, TriggerDrift, true},
		{"unknown label, seldom", progress{labelled: 170, lastFit: 150, serving: true, strange: map[string]int{"x": 9}}, "", false},
		{"unknown label, often", progress{labelled: 170, lastFit: 150, serving: true, strange: map[string]int{"x": 10}}, TriggerLabel, true},
		{"unknown label, right after a training", progress{labelled: 151, lastFit: 150, serving: true, strange: map[string]int{"x": 10}}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trigger, due := tt.p.due(150, 1.3)
			if due != tt.due || (due && trigger != tt.want) {
				t.Errorf("due = %q, %v; want %q, %v", trigger, due, tt.want, tt.due)
			}
		})
	}
}

func TestSplitKeepsSessionsTogetherAndCountsABurstOnce(t *testing.T) {
	var key certify.Key
	var rows []row
	for i := range 600 {
		r := row{id: string(rune('a'+i%26)) + time.Unix(int64(i), 0).String(), time: time.Unix(int64(i), 0), label: "x", propensity: 1}
		r.input = tandem.TextInput("same words")
		r.group = "session" + string(rune('a'+i%20))
		rows = append(rows, r)
	}
	d := split(rows, key, time.Unix(1000, 0))
	inTrain := map[string]bool{}
	for _, r := range d.train {
		inTrain[r.group] = true
	}
	seen := map[string]bool{}
	for _, r := range d.certify {
		if inTrain[r.group] {
			t.Fatalf("session %s is on both sides", r.group)
		}
		if seen[r.group] {
			t.Fatalf("a burst of session %s certifies more than once", r.group)
		}
		seen[r.group] = true
	}
	if len(d.train) == 0 || len(d.certify) == 0 {
		t.Fatalf("train %d, certify %d: a side is empty", len(d.train), len(d.certify))
	}
}

func TestSplitNeverLearnsOutsideTheSpace(t *testing.T) {
	var key certify.Key
	var rows []row
	for i := range 300 {
		rows = append(rows, row{id: time.Unix(int64(i), 0).String(), time: time.Unix(int64(i), 0), label: "?", outside: true, propensity: 1})
	}
	d := split(rows, key, time.Unix(1000, 0))
	if len(d.train) != 0 {
		t.Errorf("%d rows outside the answer space would be learnt", len(d.train))
	}
	if len(d.certify) == 0 {
		t.Error("rows outside the answer space must count as disagreements when certifying")
	}
}

func TestWorthOfRowsBehindAGate(t *testing.T) {
	closedGate := []row{{propensity: 1, floor: 1}, {propensity: 1, floor: 1}}
	// Behind a gate audited at 10 %, an audited row counts whole and one that
	// the gate did not accept a tenth.
	openGate := []row{{propensity: 0.1}, {propensity: 1}, {propensity: 1}, {propensity: 0}}
	for _, c := range []struct {
		name  string
		train []row
		n     int
		want  int
	}{
		{"all asked for", closedGate, 100, 100},
		{"open gate", openGate, 100, 40},
		{"half and half", append(closedGate, openGate...), 100, 64},
		{"nothing known", nil, 100, 100},
	} {
		if got := worth(c.train, c.n); got != c.want {
			t.Errorf("%s: %d rows are worth %d, want %d", c.name, c.n, got, c.want)
		}
	}
}

func TestHopelessCandidatesAreNotTested(t *testing.T) {
	task := &tandem.Task{Name: "t", Labels: []tandem.Label{{Name: "a"}, {Name: "b"}}, Guarantee: tandem.Guarantee{Alpha: 0.05, Delta: 0.1}}
	var d dataset
	for i := range 90 {
		r := row{id: fmt.Sprint(i), time: time.Unix(int64(i+1), 0), input: tandem.TextInput("x"), label: "a", propensity: 1, floor: 1}
		d.train, d.certify = append(d.train, r), append(d.certify, r)
	}
	d.taken = time.Unix(100, 0)
	oof := make([]certify.Row, 90)
	for i := range oof {
		oof[i] = certify.Row{Score: 0.9, Wrong: i%2 == 0, Propensity: 1, Asked: true}
	}
	e := examine(always{}, oof, &d, task, time.Time{}, history{})
	if e.cert.Status != tandem.Refused || e.cert.Look != 0 || !strings.Contains(e.cert.Why, "not tested yet") {
		t.Errorf("a candidate that is wrong half the time was tested: %+v", e.cert)
	}
	for i := range oof {
		oof[i].Wrong = false
	}
	e = examine(always{}, oof, &d, task, time.Time{}, history{})
	if e.cert.Status != tandem.Valid || e.cert.Look != 1 || e.cert.Accepted != 90 {
		t.Errorf("a perfect candidate: %+v", e.cert)
	}
}

// always answers "a" and is sure.
type always struct{}

func (always) Predict(*tandem.Input) student.Prediction { return student.Prediction{Score: 0.9} }
func (always) Labels() []string                         { return []string{"a", "b"} }

func TestForgetBoundsWhatIsOld(t *testing.T) {
	rows := func(old, recent int) *dataset {
		d := &dataset{}
		for i := range old + recent {
			d.train = append(d.train, row{time: time.Unix(int64(i), 0)})
		}
		return d
	}
	for _, tt := range []struct{ old, recent, want int }{
		{9000, 100, 2100}, {9000, 2000, 8000}, {9000, 5000, 14000}, {100, 0, 100},
	} {
		d := rows(tt.old, tt.recent)
		d.forget(time.Unix(int64(tt.old), 0))
		if len(d.train) != tt.want {
			t.Errorf("%d old and %d recent rows: %d stay, want %d", tt.old, tt.recent, len(d.train), tt.want)
		}
	}
	d := rows(9000, 100)
	if d.forget(time.Time{}); len(d.train) != 9100 {
		t.Errorf("without a change %d of 9100 rows stay", len(d.train))
	}
}

func TestATeacherThatContradictsItselfCountsLess(t *testing.T) {
	say := func(text, label, again string) row {
		return row{input: tandem.TextInput(text), label: label, again: again}
	}
	rows := []row{
		say("same", "a", ""), say("same", "a", ""), say("same", "b", ""),
		say("twice", "a", "b"), say("sure", "a", "a"), say("once", "a", ""), say("outside", "a", "no idea"),
	}
	want := []float32{2.0 / 3, 2.0 / 3, 1.0 / 3, 0.5, 1, 1, 0.5}
	if got := agreement(rows); !slices.Equal(got, want) {
		t.Errorf("agreement = %v, want %v", got, want)
	}
}
