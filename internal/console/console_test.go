package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem"
	"tandem/internal/console"
	"tandem/internal/registry"
	"tandem/internal/store"
	"tandem/internal/store/sqlite"
	"tandem/internal/student"
	"tandem/internal/student/all"
	"tandem/internal/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a console over a real store with a task, its traces and two
// versions.
type house struct {
	console.Console
	store  *sqlite.Store
	log    bytes.Buffer
	learnt []string
	files  []string
}

func (h *house) Learn(_ context.Context, task, why string) error {
	if len(h.learnt) > 0 {
		return tandem.Errorf(tandem.Conflict, "a training of %s is under way", task)
	}
	h.learnt = append(h.learnt, task+": "+why)
	return nil
}

func (h *house) Import(_ context.Context, task tandem.Task, f console.Fields, rows io.Reader) (console.ImportReport, error) {
	data, err := io.ReadAll(rows)
	h.files = append(h.files, fmt.Sprintf("%s %s %s %q", task.Name, f.Text, f.Teacher, data))
	return console.ImportReport{Lines: 1, Imported: 1}, err
}

func build(t *testing.T) *house {
	t.Helper()
	s, err := sqlite.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{store: s}
	h.Console = console.Console{
		Families: func() map[string]student.Family { return all.With(nil, errors.New("model x is not here")) },
		Tasks: func() []tandem.Task {
			return []tandem.Task{{Name: "support", Teacher: "large", Guarantee: tandem.Guarantee{Alpha: 0.05, Delta: 0.1}}, {Name: "empty"}}
		},
		Reader: s, Registry: registry.New(s, 0), Learner: h, Importer: h, Export: trace.Export,
		Log: slog.New(slog.NewTextHandler(&h.log, nil)),
	}
	var batch store.Batch
	for i := range 5 {
		trace := tandem.Trace{
			ID: fmt.Sprintf("t%d", i), Task: "support", Time: time.Date(2026, 3, 1+i, 0, 0, 0, 0, time.UTC),
			Input: tandem.TextInput(fmt.Sprintf("text %d <&>", i)), Source: tandem.Live, Answer: "refund", Propensity: 1,
			Step: tandem.ProviderStep, Reason: tandem.LastStep, SavedUSD: 0.5,
		}
		if i < 3 {
			trace.Labelled, trace.Teacher = true, "refund"
		} else {
			trace.Step = tandem.StudentStep
		}
		batch.Traces = append(batch.Traces, trace)
	}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) version(t *testing.T, status tandem.Status, why string) {
	t.Helper()
	v := tandem.Version{Task: "support", Stage: tandem.Candidate, Created: time.Now(), Families: []string{"linear"}, Trigger: "growth"}
	c := tandem.Certificate{Task: "support", Time: time.Now(), Status: status, Threshold: 0.5, Alpha: 0.05, Delta: 0.1, Coverage: 0.6, Why: why}
	if _, _, err := registry.New(h.store, 0).Put(t.Context(), v, []byte(why), c); err != nil {
		t.Fatal(err)
	}
}

// call returns the status and the decoded answer of a call from this machine.
func (h *house) call(t *testing.T, method, target, body string, change ...func(*http.Request)) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8080"+target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:4444"
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, r)
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s %s answers %q: %v", method, target, w.Body, err)
	}
	return w.Code, v
}

func code(v map[string]any) string {
	e, _ := v["error"].(map[string]any)
	return fmt.Sprint(e["code"])
}

func TestLifeOfATask(t *testing.T) {
	t.Parallel()
	h := build(t)
	support := func() map[string]any {
		t.Helper()
		status, v := h.call(t, "GET", "/api/tasks", "")
		if status != 200 {
			t.Fatalf("tasks: %d %v", status, v)
		}
		return v["tasks"].([]any)[0].(map[string]any)
	}
	expect := func(gate, version, why string) {
		t.Helper()
		got := support()
		if got["gate"] != gate || fmt.Sprint(got["version"]) != version || !strings.Contains(got["why"].(string), why) {
			t.Fatalf("task is %v, want gate %s, version %s, why %q", got, gate, version, why)
		}
	}
	expect("none", "<nil>", "no student yet")
	if got := support(); got["traces"] != 5.0 || got["labelled"] != 3.0 || got["served"] != 2.0 || got["saved_usd"] != 2.5 {
		t.Errorf("counts %v", got)
	}

	h.version(t, tandem.Refused, "needs 200 more")
	expect("none", "v1", "needs 200 more")
	if status, v := h.call(t, "POST", "/api/tasks/support/students/v1/promote", ""); status != 409 || code(v) != "conflict" {
		t.Errorf("promoting a refused version: %d %v", status, v)
	}

	h.version(t, tandem.Valid, "6 of 10 served")
	expect("none", "v2", "v2 is certified but does not serve; tandem students promote support v2 lets it")
	if status, v := h.call(t, "POST", "/api/tasks/support/students/v2/promote", `{"why":"it is time"}`); status != 200 || v["serving"] != "v2" {
		t.Fatalf("promote: %d %v", status, v)
	}
	expect("open", "v2", "6 of 10 served")

	_, v := h.call(t, "GET", "/api/tasks/support/students", "")
	if absent := v["absent"].(map[string]any); absent["encoder"] != "model x is not here" {
		t.Errorf("families left out: %v", absent)
	}
	list := v["students"].([]any)
	second := list[1].(map[string]any)
	if len(list) != 2 || second["name"] != "v2" || second["stage"] != "serving" || second["certificate"].(map[string]any)["status"] != "valid" {
		t.Errorf("students %v", v)
	}

	if status, v := h.call(t, "POST", "/api/tasks/support/rollback", `{"why":"complaints"}`); status != 200 || v["serving"] != "" {
		t.Fatalf("rollback: %d %v", status, v)
	}
	expect("closed", "v2", "complaints")
	_, v = h.call(t, "GET", "/api/events?task=support&limit=1", "")
	if events := v["events"].([]any); len(events) != 1 || events[0].(map[string]any)["kind"] != "rolled_back" {
		t.Errorf("events %v", v)
	}
}

func TestLearnAndImport(t *testing.T) {
	t.Parallel()
	h := build(t)
	if status, v := h.call(t, "POST", "/api/tasks/support/learn", `{"why":"now"}`); status != 200 || h.learnt[0] != "support: now" {
		t.Errorf("learn: %d %v %v", status, v, h.learnt)
	}
	if status, v := h.call(t, "POST", "/api/tasks/support/learn", ""); status != 409 {
		t.Errorf("learn twice: %d %v", status, v)
	}
	h.Learner = nil
	if status, v := h.call(t, "POST", "/api/tasks/support/learn", ""); status != 409 || !strings.Contains(fmt.Sprint(v), "tandem serve") {
		t.Errorf("learn without a learner: %d %v", status, v)
	}
	if status, v := h.call(t, "POST", "/api/traces/import?task=support&text=a.b&teacher=c", "{}\n"); status != 200 ||
		v["imported"] != 1.0 || v["faults"] == nil || h.files[0] != `support a.b c "{}\n"` {
		t.Errorf("import: %d %v %v", status, v, h.files)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	h := build(t)
	server := httptest.NewServer(h.Handler())
	defer server.Close()
	get := func(query string) (*http.Response, []string) {
		t.Helper()
		resp, err := server.Client().Get(server.URL + "/api/traces/export?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, strings.Split(strings.TrimSpace(string(body)), "\n")
	}
	resp, lines := get("task=support")
	var last struct{ ID, Input string }
	if err := json.Unmarshal([]byte(lines[4]), &last); err != nil || len(lines) != 5 || last.ID != "t4" || last.Input != "text 4 <&>" || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("export: %v, %d lines, %+v", err, len(lines), last)
	}
	if _, lines := get("task=support&format=pairs&limit=2"); len(lines) != 2 || lines[0] != `{"input":"text 0 <&>","teacher":"refund"}` {
		t.Errorf("pairs %q", lines)
	}
	if _, lines := get("task=support&since=2026-03-04T00:00:00Z"); len(lines) != 2 {
		t.Errorf("since: %q", lines)
	}
	if _, lines := get("task=empty"); lines[0] != "" {
		t.Errorf("empty: %q", lines)
	}
}

func TestBadCalls(t *testing.T) {
	t.Parallel()
	h := build(t)
	for _, tc := range []struct {
		method, target, body string
		status               int
		code                 string
	}{
		{"GET", "/api/nothing", "", 404, "not_found"},
		{"GET", "/api/tasks/nix/students", "", 404, "not_found"},
		{"POST", "/api/tasks/nix/rollback", "", 404, "not_found"},
		{"POST", "/api/tasks/support/students/v9/promote", "", 404, "not_found"},
		{"POST", "/api/tasks/support/rollback", "", 409, "conflict"},
		{"POST", "/api/tasks/support/rollback", "{", 400, "invalid_request"},
		{"POST", "/api/tasks/support/rollback", `{"reason":"x"}`, 400, "invalid_request"},
		{"POST", "/api/tasks/support/rollback", `{"why":"` + strings.Repeat("x", 501) + `"}`, 400, "invalid_request"},
		{"POST", "/api/traces/import", "", 404, "not_found"},
		{"GET", "/api/events?limit=0", "", 400, "invalid_request"},
		{"GET", "/api/events?task=nix", "", 404, "not_found"},
		{"GET", "/api/traces/export?task=support&limit=x", "", 400, "invalid_request"},
		{"GET", "/api/traces/export?task=support&since=yesterday", "", 400, "invalid_request"},
		{"GET", "/api/traces/export", "", 404, "not_found"},
	} {
		if status, v := h.call(t, tc.method, tc.target, tc.body); status != tc.status || code(v) != tc.code {
			t.Errorf("%s %s: %d %v, want %d %s", tc.method, tc.target, status, v, tc.status, tc.code)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	h := build(t)
	remote := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	own := func(r *http.Request) {
		*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 8080}))
		r.RemoteAddr, r.Host = "10.0.0.5:999", "10.0.0.5:8080"
	}
	for _, tc := range []struct {
		name   string
		tokens []string
		change []func(*http.Request)
		status int
	}{
		{"this machine", nil, nil, 200},
		{"by name", nil, []func(*http.Request){host("localhost:8080")}, 200},
		{"IPv6", nil, []func(*http.Request){remote("[::1]:9"), host("[::1]:8080")}, 200},
		{"through its own address", nil, []func(*http.Request){own}, 200},
		{"another machine", nil, []func(*http.Request){remote("10.0.0.7:9")}, 401},
		{"another machine on its address", nil, []func(*http.Request){own, remote("10.0.0.7:9")}, 401},
		{"a name that was bent", nil, []func(*http.Request){host("evil.example")}, 401},
		{"no address", nil, []func(*http.Request){remote("")}, 401},
		{"token", []string{"one-token", "other-token"}, []func(*http.Request){header("Authorization", "Bearer other-token")}, 200},
		{"no token", []string{"one-token"}, nil, 401},
		{"wrong token", []string{"one-token"}, []func(*http.Request){header("Authorization", "Bearer one-toke")}, 401},
		{"empty token", []string{"one-token"}, []func(*http.Request){header("Authorization", "Bearer ")}, 401},
	} {
		h.Tokens = tc.tokens
		if status, v := h.call(t, "GET", "/api/tasks", "", tc.change...); status != tc.status {
			t.Errorf("%s: %d %v, want %d", tc.name, status, v, tc.status)
		}
	}
	h.Tokens = nil
	r := httptest.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:8080/api/tasks/support/rollback", nil)
	r.RemoteAddr = "127.0.0.1:9"
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("a page of another site may roll back: %d", w.Code)
	}
}

// broken fails the way a store does that a client must not hear about.
type broken struct{ *sqlite.Store }

func (broken) Versions(context.Context, string) ([]tandem.Version, error) {
	return nil, errors.New("the disk at /var/secret is gone")
}

func TestForeignErrorsStayInTheLog(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.Reader = broken{h.store}
	status, v := h.call(t, "GET", "/api/tasks", "")
	if status != 500 || code(v) != "internal" || strings.Contains(fmt.Sprint(v), "secret") {
		t.Errorf("answer %d %v", status, v)
	}
	if !strings.Contains(h.log.String(), "/var/secret is gone") {
		t.Errorf("log %q", h.log.String())
	}
}
