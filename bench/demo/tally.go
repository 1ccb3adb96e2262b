package demo

import (
	"slices"
	"sync"
	"time"

	"tandem"
	"tandem/internal/certify"
)

// Result sums a demo up; it is the JSON line that ends it.
type Result struct {
	Demo      string  `json:"demo"` // which scene
	Recording bool    `json:"recording"`
	Requests  int     `json:"requests"` // answered
	Failed    int     `json:"failed"`
	Change    int     `json:"change"`      // requests before the change
	ShareBest float64 `json:"share_local"` // answered locally, of the last tenth before the change
	ShareAll  float64 `json:"share_local_all"`
	ShareEnd  float64 `json:"share_local_end"` // of the last tenth of all
	// Disagreement is the share of local answers that differ from the
	// recording's: before the change, which is what the certificate promises;
	// of all; and of versions certified after the last alarm.
	Disagreement      float64 `json:"disagreement"`
	DisagreementAll   float64 `json:"disagreement_all"`
	DisagreementAfter float64 `json:"disagreement_relearned"`
	Alpha             float64 `json:"alpha"`
	Alarms            int     `json:"alarms"`
	AlarmAfter        int     `json:"alarm_after"` // requests from the change until the alarm was seen; 0: none
	Promotions        int     `json:"promotions"`
	Relearned         bool    `json:"relearned"`
	SavedUSD          float64 `json:"saved_usd"` // audits taken off
	SpentUSD          float64 `json:"spent_usd"` // audits included
	AuditUSD          float64 `json:"audit_usd"`
	LocalP50          float64 `json:"local_p50_ms"` // inside tandem
	ClientP50         float64 `json:"local_client_p50_ms"`
	TeacherP50        float64 `json:"teacher_p50_ms"` // as played
	Speed             float64 `json:"speed"`          // the large model is played so many times faster
	Seconds           float64 `json:"seconds"`
	// Curve is the share answered locally in equal parts of the requests.
	Curve []float64 `json:"curve"`
}

// counter counts answers and those that differ from the recording's.
type counter struct{ answers, wrong int }

func (c *counter) add(wrong bool) {
	c.answers++
	if wrong {
		c.wrong++
	}
}

func (c *counter) rate() float64 {
	if c.answers == 0 {
		return 0
	}
	return float64(c.wrong) / float64(c.answers)
}

// latest is how many requests "now" means.
const latest = 400

// tally counts what has been answered. It is safe for concurrent use.
type tally struct {
	p     *Player
	start time.Time

	mu           sync.Mutex
	played, bad  int
	local        []bool       // by position of the message
	done         []bool       // or failed
	recent       [latest]bool // whether the latest answers were local, a ring
	before, all  counter
	now          counter          // since the gate last opened
	monitor      *certify.Monitor // of the same
	past         map[string]bool  // versions from before the last alarm
	seen         map[string]bool  // versions that have answered
	state        State
	alarmAfter   int
	saved, spent float64         // as the answers say; audits are no part of them
	base         float64         // cost from before the demo
	here, there  []time.Duration // the latest times inside tandem
	client       []time.Duration // the latest times of local answers as the client saw them
}

// the demo knows every recorded answer, so each answer is an audit.
const everyAnswer = 1

func newTally(p *Player) *tally {
	return &tally{
		p: p, start: time.Now(), local: make([]bool, len(p.Messages)), done: make([]bool, len(p.Messages)),
		monitor: newInterval(p.Alpha), past: map[string]bool{}, seen: map[string]bool{},
	}
}

// newInterval makes a 95 % confidence sequence; its alarm is not used.
func newInterval(alpha float64) *certify.Monitor { return certify.NewMonitor(alpha, 0.05, 1e-6) }

func (t *tally) answered(i int, r reply, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	local := r.Tandem.Step == tandem.StudentStep
	t.local[i], t.done[i] = local, true
	t.recent[t.played%latest] = local
	t.played++
	t.saved += r.Tandem.SavedUSD
	t.spent += r.Tandem.CostUSD
	if !local {
		t.there = keep(t.there, r.Tandem.Took)
		return
	}
	if t.p.Local != nil {
		t.p.Local(t.p.Messages[i])
	}
	t.here, t.client = keep(t.here, r.Tandem.Took), keep(t.client, took)
	wrong := r.Choices[0].Message.Content != t.p.Messages[i].Answer
	t.all.add(wrong)
	if i < t.p.Change {
		t.before.add(wrong)
	}
	t.seen[r.Tandem.Model] = true
	if !t.past[r.Tandem.Model] {
		t.now.add(wrong)
		t.monitor.Observe(everyAnswer, wrong)
	}
}

// failed counts a failed request and returns how many there are.
func (t *tally) failed(i int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done[i] = true
	t.bad++
	return t.bad
}

// keep appends to the latest values.
func keep(x []time.Duration, d time.Duration) []time.Duration {
	const most = 500
	if len(x) == most {
		x = append(x[:0], x[1:]...)
	}
	return append(x, d)
}

// relearning reports whether an alarm was raised and nothing new serves yet.
func (t *tally) relearning() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Alarms > 0 && !t.state.Relearned
}

// audits is what checking answers has cost so far; t.mu is held.
func (t *tally) audits() float64 { return max(0, t.state.CostUSD-t.base-t.spent) }

// notice takes in what goes on inside; t.mu is held.
func (t *tally) notice(s State) {
	if s.Alarms > t.state.Alarms {
		for v := range t.seen {
			t.past[v] = true
		}
		t.now, t.monitor = counter{}, newInterval(t.p.Alpha)
		if t.alarmAfter == 0 && t.played > t.p.Change {
			t.alarmAfter = t.played - t.p.Change
		}
	}
	t.state = s
}

func (t *tally) frame(s State) Frame {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notice(s)
	f := Frame{
		Requests: len(t.p.Messages), Played: t.played, Change: t.p.Change, Speed: t.p.Speed,
		Local: t.all.answers, SavedUSD: t.saved - t.audits(), SpentUSD: t.spent + t.audits(),
		Wrong: t.now.wrong, Answers: t.now.answers, Alpha: t.p.Alpha,
		GateOpen: s.Open, Gate: s.Gate, Event: s.Event,
		Elapsed: time.Since(t.start), LocalP50: middle(t.here), TeacherP50: middle(t.there), Recorded: t.p.Recorded,
	}
	f.Low, f.High = t.monitor.Interval()
	n := min(t.played, latest)
	for _, local := range t.recent[:n] {
		if local {
			f.Now += 1 / float64(n)
		}
	}
	f.Curve = t.curve()
	return f
}

// curve is the share answered locally in each of Columns equal parts, as far
// as they are complete; t.mu is held.
func (t *tally) curve() []float64 {
	var shares []float64
	for c := range Columns {
		share, ok := t.share(c*len(t.local)/Columns, (c+1)*len(t.local)/Columns)
		if !ok {
			break
		}
		shares = append(shares, share)
	}
	return shares
}

// share is the part of the messages from..to that was answered locally; ok is
// false while the last of them is open.
func (t *tally) share(from, to int) (share float64, ok bool) {
	n, local := 0, 0
	for i := from; i < to; i++ {
		if t.done[i] {
			n++
		}
		if t.local[i] {
			local++
		}
	}
	if n == 0 || !t.done[to-1] {
		return 0, false
	}
	return float64(local) / float64(n), true
}

func (t *tally) result() Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.p.Messages)
	best, _ := t.share(t.p.Change*9/10, t.p.Change)
	end, _ := t.share(n*9/10, n)
	r := Result{
		Recording: true, Requests: t.played, Failed: t.bad, Change: t.p.Change,
		ShareBest: best, ShareEnd: end, Disagreement: t.before.rate(), DisagreementAll: t.all.rate(),
		Alpha: t.p.Alpha, Alarms: t.state.Alarms, AlarmAfter: t.alarmAfter, Promotions: t.state.Promotions, Relearned: t.state.Relearned,
		SavedUSD: t.saved - t.audits(), SpentUSD: t.spent + t.audits(), AuditUSD: t.audits(), Speed: t.p.Speed, Seconds: time.Since(t.start).Seconds(),
		Curve:    t.curve(),
		LocalP50: milliseconds(middle(t.here)), ClientP50: milliseconds(middle(t.client)), TeacherP50: milliseconds(middle(t.there)),
	}
	if t.played > 0 {
		r.ShareAll = float64(t.all.answers) / float64(t.played)
	}
	if t.state.Relearned {
		r.DisagreementAfter = t.now.rate()
	}
	return r
}

func middle(x []time.Duration) time.Duration {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
