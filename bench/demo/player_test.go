package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a tandem whose student v1 serves from request 100 on and is wrong
// after the change, whose alarm comes at 340 and whose v2 serves from 360 on.
type desk struct {
	mu sync.Mutex
	n  int
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Model    string
		Messages []struct{ Role, Content string }
		User     string
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.URL.Path != "/v1/chat/completions" || q.Model != "desk" || q.User == "" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.n++
	n := d.n
	d.mu.Unlock()
	answer, step, model := "answer to "+q.Messages[0].Content, "provider", "big"
	cost, saved := 0.01, 0.0
	switch {
	case n > 100 && n <= 340:
		step, model = "student", "v1"
		if n > 300 {
			answer = "wrong"
		}
	case n > 360:
		step, model = "student", "v2"
	}
	if step == "student" {
		cost, saved = 0, 0.01
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"choices": []any{map[string]any{"message": map[string]any{"role": "assistant", "content": answer}}},
		"tandem":  map[string]any{"step": step, "model": model, "cost_usd": cost, "saved_usd": saved},
	})
}

func (d *desk) state(context.Context) (State, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := State{Gate: "closed", Event: "started"}
	if d.n > 100 {
		s = State{Open: true, Gate: "v1 answers", Event: "v1 promoted", Promotions: 1}
	}
	if d.n > 340 {
		s = State{Gate: "closed by an alarm", Event: "alarm", Promotions: 1, Alarms: 1}
	}
	if d.n > 360 {
		s = State{Open: true, Gate: "v2 answers", Event: "v2 promoted", Promotions: 2, Alarms: 1, Relearned: true}
	}
	return s, nil
}

func player(url string, state func(context.Context) (State, error)) *Player {
	p := &Player{
		URL: url, Task: "desk", Change: 300, Rate: 2000, Workers: 1, Alpha: 0.05, Speed: 20,
		State: state, Show: func(Frame) error { return nil }, Every: time.Millisecond,
	}
	for i := range 600 {
		text := fmt.Sprint("message ", i)
		p.Messages = append(p.Messages, Message{Text: text, Answer: "answer to " + text, Session: "s"})
	}
	return p
}

func TestPlayerCounts(t *testing.T) {
	d := &desk{}
	server := httptest.NewServer(d)
	defer server.Close()
	p := player(server.URL, d.state)
	var last Frame
	frames := 0
	p.Show = func(f Frame) error { last = f; frames++; return nil }
	r, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 600 || r.Failed != 0 || r.ShareBest != 1 || r.ShareEnd != 1 || r.Alarms != 1 || !r.Relearned || r.Promotions != 2 {
		t.Errorf("result = %+v", r)
	}
	if got := 480.0 / 600; r.ShareAll != got || r.Disagreement != 0 || r.DisagreementAll != 40.0/480 || r.DisagreementAfter != 0 {
		t.Errorf("shares and disagreement = %+v", r)
	}
	if diff := r.SavedUSD - 4.80; diff > 1e-9 || diff < -1e-9 {
		t.Errorf("saved %g", r.SavedUSD)
	}
	// The demo looks inside now and then, so it sees the alarm a little late.
	if r.AlarmAfter < 40 || r.AlarmAfter > 300 {
		t.Errorf("alarm seen after %d requests", r.AlarmAfter)
	}
	if frames < 3 || last.Played != 600 || len(last.Curve) != Columns || last.Curve[0] != 0 || last.Curve[Columns-1] != 1 || last.Now < 0.94 {
		t.Errorf("%d frames, the last %+v", frames, last)
	}
	// Answers of v1 are not counted since the gate opened for v2.
	if last.Wrong != 0 || last.Answers == 0 || last.Answers > 240 || last.Low != 0 || last.High <= 0 {
		t.Errorf("disagreement of the last frame: %d of %d, %g to %g", last.Wrong, last.Answers, last.Low, last.High)
	}
	summary := strings.Join(Summary(r), "\n")
	for _, want := range []string{"600 in", "80.0 % of all", "is a recording", "learnt anew"} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary does not say %q:\n%s", want, summary)
		}
	}
}

func TestPlayerEndsEarly(t *testing.T) {
	d := &desk{}
	server := httptest.NewServer(d)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	p := player(server.URL, d.state)
	p.Show = func(f Frame) error {
		if f.Played > 50 {
			cancel()
		}
		return nil
	}
	r, err := p.Run(ctx)
	if !errors.Is(err, context.Canceled) || r.Requests < 50 || r.Requests == 600 {
		t.Errorf("%d requests, error %v", r.Requests, err)
	}
	if s := strings.Join(Summary(r), "\n"); !strings.Contains(s, "did not come") && r.Requests <= r.Change {
		t.Errorf("summary:\n%s", s)
	}
}

func TestPlayerGivesUp(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":{"message":"no such task"}}`, http.StatusNotFound)
	}))
	defer server.Close()
	p := player(server.URL, (&desk{}).state)
	if _, err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no such task") {
		t.Errorf("error %v", err)
	}
	broken := errors.New("screen gone")
	p = player(server.URL, (&desk{}).state)
	p.Show = func(Frame) error { return broken }
	if _, err := p.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
