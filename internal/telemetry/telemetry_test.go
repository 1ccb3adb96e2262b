package telemetry_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem"
	"tandem/internal/telemetry"
)

func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := telemetry.New("v1")
	m.Served("POST /v1/chat/completions", 200, 3*time.Millisecond)
	m.Served("POST /v1/chat/completions", 200, 3*time.Millisecond)
	m.Forwarded("gpt", tandem.Usage{InputTokens: 10, OutputTokens: 2, CachedTokens: 4}, 0.25)
	m.Decided(&tandem.Decision{Task: "support", Step: tandem.StudentStep, Reason: tandem.Accepted, SavedUSD: 0.5, Recorded: tandem.Queued, Took: time.Millisecond})
	m.Decided(&tandem.Decision{
		Task: "support", Step: tandem.ProviderStep, Reason: tandem.LastStep, CostUSD: 0.125, Recorded: tandem.Dropped,
		Usage: tandem.Usage{InputTokens: 7, OutputTokens: 1}, Attempts: []tandem.Attempt{{Error: tandem.TeacherTimeout}},
	})
	m.Audited("support", "disagreed", 0.25)
	m.Happened(tandem.Event{Task: "support", Kind: tandem.EventAlarm})
	m.Trained("support", 2*time.Second)
	m.Queue("traces", func() int { return 3 }, func() int { return 8 }, func() int { return 5 })
	got := scrape(t, m)
	for _, line := range []string{
		`tandem_build_info{version="v1"} 1`,
		`tandem_http_requests_total{route="POST /v1/chat/completions",status="200"} 2`,
		`tandem_http_request_seconds_bucket{route="POST /v1/chat/completions",le="0.005"} 2`,
		`tandem_passthrough_total{model="gpt"} 1`,
		`tandem_passthrough_cost_usd_total{model="gpt"} 0.25`,
		`tandem_passthrough_tokens_total{kind="cached",model="gpt"} 4`,
		`tandem_decisions_total{reason="accepted",step="student",task="support"} 1`,
		`tandem_decisions_total{reason="last_step",step="provider",task="support"} 1`,
		`tandem_decision_seconds_count{step="student",task="support"} 1`,
		`tandem_saved_usd_total{task="support"} 0.5`,
		`tandem_cost_usd_total{task="support"} 0.125`,
		`tandem_traces_dropped_total{task="support"} 1`,
		`tandem_tokens_total{kind="input",task="support"} 7`,
		`tandem_teacher_errors_total{code="teacher_timeout",task="support"} 1`,
		`tandem_audits_total{result="disagreed",task="support"} 1`,
		`tandem_audit_cost_usd_total{task="support"} 0.25`,
		`tandem_events_total{kind="alarm",task="support"} 1`,
		`tandem_training_seconds_sum{task="support"} 2`,
		`tandem_queue_length{queue="traces"} 3`,
		`tandem_queue_capacity{queue="traces"} 8`,
		`tandem_queue_dropped_total{queue="traces"} 5`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	// Two registries do not know of each other.
	if strings.Contains(scrape(t, telemetry.New("v2")), "support") {
		t.Error("registries share state")
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	m := telemetry.New("v1")
	d := &tandem.Decision{Task: "support", Step: tandem.StudentStep, Reason: tandem.Accepted, SavedUSD: 0.5, Took: time.Millisecond}
	if n := testing.AllocsPerRun(100, func() { m.Decided(d); m.Served("route", 200, time.Millisecond) }); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

// TestBounded keeps the number of series bounded whatever labels come, and
// loses no count.
func TestBounded(t *testing.T) {
	m := telemetry.New("v1")
	var wg sync.WaitGroup
	const each = 1200
	for g := range 2 {
		wg.Go(func() {
			for i := range each {
				m.Served(fmt.Sprint("route", g, "-", i), 200, time.Millisecond)
			}
		})
	}
	wg.Wait()
	series, total := 0, 0
	for line := range strings.Lines(scrape(t, m)) {
		if rest, ok := strings.CutPrefix(line, "tandem_http_requests_total{"); ok {
			var n int
			if _, err := fmt.Sscan(rest[strings.LastIndex(rest, " ")+1:], &n); err != nil {
				t.Fatal(err)
			}
			series++
			total += n
		}
	}
	if series > 2049 || total != 2*each {
		t.Errorf("%d series count %d requests", series, total)
	}
}

func TestLog(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var b bytes.Buffer
		log := telemetry.NewLog(&b, slog.LevelInfo, asJSON)
		log.Debug("not this")
		log.With("api_key", "k-1").WithGroup("g").Error("Bearer abcdef failed", "error", fmt.Errorf("call: %w", errors.New("key sk-proj-abcdefghijkl is wrong")),
			"Prompt", "p-1", "url", "http://user:pass@host/x", "input", tandem.TextInput("p-2"), "authorization", "Basic p-3",
			"status", 502, "task", "support", "raw", []byte("sk-abcdefghijkl"))
		got := b.String()
		for _, secret := range []string{"not this", "k-1", "abcdef", "p-1", "p-2", "p-3", "user:pass"} {
			if strings.Contains(got, secret) {
				t.Errorf("%q was logged: %s", secret, got)
			}
		}
		for _, word := range []string{"502", "support", "call: key [redacted] is wrong", "failed"} {
			if !strings.Contains(got, word) {
				t.Errorf("%q is missing: %s", word, got)
			}
		}
	}
}

func BenchmarkDecided(b *testing.B) {
	m := telemetry.New("v1")
	d := &tandem.Decision{Task: "support", Step: tandem.StudentStep, Reason: tandem.Accepted, SavedUSD: 0.5, Took: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.Decided(d)
	}
}
