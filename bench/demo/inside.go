package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"tandem"
	"tandem/internal/console"
)

// Inside looks at a task through tandem's own console API.
type Inside struct {
	Client *http.Client
	URL    string // of tandem, without a path
	Task   string
	Token  string    // "" when none is asked for
	Since  time.Time // events from before do not count
}

// events is how many of the newest events are read.
const events = 200

// State says where the task stands.
func (in Inside) State(ctx context.Context) (State, error) {
	var tasks struct {
		Tasks []console.TaskStatus `json:"tasks"`
	}
	if err := in.get(ctx, "/api/tasks", &tasks); err != nil {
		return State{}, err
	}
	var log struct {
		Events []tandem.Event `json:"events"`
	}
	if err := in.get(ctx, fmt.Sprintf("/api/events?task=%s&limit=%d", url.QueryEscape(in.Task), events), &log); err != nil {
		return State{}, err
	}
	for _, t := range tasks.Tasks {
		if t.Name == in.Task {
			fresh := slices.DeleteFunc(log.Events, func(e tandem.Event) bool { return e.Time.Before(in.Since) })
			return state(t, fresh), nil
		}
	}
	return State{}, tandem.Errorf(tandem.NotFound, "there is no task %q", in.Task)
}

// state puts a task's status and its events, newest first, into the words of
// the demo.
func state(t console.TaskStatus, log []tandem.Event) State {
	s := State{Open: t.Gate == console.GateOpen, Gate: t.Why, Event: "started", CostUSD: t.CostUSD}
	if s.Open && t.Certificate != nil {
		s.Gate = fmt.Sprintf("%s answers when its score is at least %.3f", t.Version, t.Certificate.Threshold)
	}
	for i, e := range log {
		if i == 0 {
			s.Event = words(e)
		}
		switch e.Kind {
		case tandem.EventAlarm:
			s.Alarms++
		case tandem.EventPromoted:
			s.Promotions++
			// Newest first: an alarm further on came before this promotion.
			s.Relearned = s.Relearned || hasAlarm(log[i:])
		}
	}
	return s
}

func hasAlarm(log []tandem.Event) bool {
	for _, e := range log {
		if e.Kind == tandem.EventAlarm {
			return true
		}
	}
	return false
}

// words says an event in one line.
func words(e tandem.Event) string {
	what := map[tandem.EventKind]string{
		tandem.EventTrained: "trained", tandem.EventRefused: "not taken", tandem.EventPromoted: "promoted",
		tandem.EventAlarm: "alarm", tandem.EventDrift: "drift", tandem.EventRolledBack: "rolled back",
		tandem.EventRetired: "retired", tandem.EventReloaded: "reloaded", tandem.EventBadReload: "reload refused",
	}[e.Kind]
	if what == "" {
		what = string(e.Kind)
	}
	if e.Version != "" {
		what = e.Version + " " + what
	}
	if e.Why == "" {
		return what
	}
	return what + ": " + e.Why
}

func (in Inside) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.URL+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if in.Token != "" {
		req.Header.Set("Authorization", "Bearer "+in.Token)
	}
	resp, err := in.Client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the console: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("read the console's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the console answered %d: %.300s", resp.StatusCode, data)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("decode the console's answer: %w", err)
	}
	return nil
}
