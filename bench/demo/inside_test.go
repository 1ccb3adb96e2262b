package demo

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/console"
)

func TestInsideReadsTheConsole(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	at := func(minutes int, kind tandem.EventKind, version, why string) tandem.Event {
		return tandem.Event{Time: start.Add(time.Duration(minutes) * time.Minute), Kind: kind, Version: version, Why: why}
	}
	log := []tandem.Event{ // newest first, as the console gives them
		at(4, tandem.EventTrained, "v4", "runs in shadow"),
		at(3, tandem.EventAlarm, "v3", "too many"),
		at(2, tandem.EventReloaded, "", ""),
		at(1, tandem.EventPromoted, "v3", "certified"),
		at(-9, tandem.EventAlarm, "v1", "from an earlier demo"),
	}
	status := console.TaskStatus{
		Name: "desk", Gate: console.GateClosed, Why: "an alarm withdrew it", CostUSD: 1.5, Version: "v3",
		Certificate: &tandem.Certificate{Threshold: 0.8125},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, `{"error":{"message":"no token"}}`, http.StatusUnauthorized)
			return
		}
		body := map[string]any{"tasks": []console.TaskStatus{{Name: "other"}, status}}
		if r.URL.Path == "/api/events" {
			if r.URL.Query().Get("task") != "desk" {
				t.Errorf("events of %q", r.URL.RawQuery)
			}
			body = map[string]any{"events": log}
		}
		if err := json.NewEncoder(w).Encode(body); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	in := Inside{Client: server.Client(), URL: server.URL, Task: "desk", Token: "secret", Since: start}

	s, err := in.State(t.Context())
	want := State{Gate: "an alarm withdrew it", Event: "v4 trained: runs in shadow", Alarms: 1, Promotions: 1, CostUSD: 1.5}
	if err != nil || s != want {
		t.Errorf("after the alarm: %+v (%v), want %+v", s, err, want)
	}

	log = append([]tandem.Event{at(5, tandem.EventPromoted, "v5", "certified anew")}, log...)
	status.Gate, status.Version = console.GateOpen, "v5"
	s, err = in.State(t.Context())
	want = State{
		Open: true, Gate: "v5 answers when its score is at least 0.812", Event: "v5 promoted: certified anew",
		Alarms: 1, Promotions: 2, Relearned: true, CostUSD: 1.5,
	}
	if err != nil || s != want {
		t.Errorf("learnt anew: %+v (%v), want %+v", s, err, want)
	}

	log = nil
	if s, err = in.State(t.Context()); err != nil || s.Event != "started" || s.Alarms != 0 {
		t.Errorf("nothing has happened: %+v (%v)", s, err)
	}
	if _, err := (Inside{Client: server.Client(), URL: server.URL, Task: "desk"}).State(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a token: %v", err)
	}
}
