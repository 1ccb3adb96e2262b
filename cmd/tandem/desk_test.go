package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/config"
	"tandem/internal/console"
	"tandem/internal/gateway"
	"tandem/internal/lifecycle"
	"tandem/internal/provider"
)

// call runs a command line in a folder's configuration.
func call(t *testing.T, file string, environment map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	sys := system{args: append(args, "--config", file), getenv: func(name string) string { return environment[name] }, stdin: strings.NewReader("from standard input"), stdout: &out, stderr: &errs}
	code = run(t.Context(), sys)
	return code, out.String(), errs.String()
}

func configure(t *testing.T, dir, listen string) string {
	t.Helper()
	file := filepath.Join(dir, "tandem.yaml")
	text := fmt.Sprintf("listen: %s\ndata: %s/data\napi_tokens: [one-token, other-token]\n"+
		"providers: { up: { replay: { file: a.jsonl }, models: { large: {} } } }\n"+
		"tasks: { support: { teacher: large, labels: [refund, delivery] } }\n", listen, dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestHeldFolder asks the server that has the data folder.
func TestHeldFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tasks := []tandem.Task{{Name: "support", Teacher: "large", Takes: []tandem.Kind{tandem.Text}, Labels: []tandem.Label{{Name: "refund"}, {Name: "delivery"}}}}
	f, err := openFolder(t.Context(), filepath.Join(dir, "data"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.store.Close()
	var told []string
	c := console.Console{
		Tasks: func() []tandem.Task { return tasks }, Reader: f.store, Registry: f.registry, Tokens: []string{"one-token"},
		Importer: importer{traces: f.store, key: f.key, labelled: func(task, label string) { told = append(told, task+"="+label) }},
	}
	server := httptest.NewServer(c.Handler())
	defer server.Close()
	file := configure(t, dir, server.Listener.Addr().String())

	rows := filepath.Join(dir, "rows.jsonl")
	if err := os.WriteFile(rows, []byte("{\"input\":\"money\",\"teacher\":\"refund\"}\n{\"input\":\"van\",\"teacher\":\"delivery\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, file, nil, "traces", "import", rows); code != 0 || !strings.Contains(out, "2 imported") || len(told) != 2 {
		t.Errorf("import: %d %s %s %v", code, out, errs, told)
	}
	if code, out, errs := call(t, file, nil, "tasks", "--json"); code != 0 || !strings.Contains(out, `"labelled": 2`) {
		t.Errorf("tasks: %d %s %s", code, out, errs)
	}
	if code, out, errs := call(t, file, nil, "traces", "export", "--format", "pairs"); code != 0 || !strings.Contains(out, `{"input":"van","teacher":"delivery"}`) {
		t.Errorf("export: %d %s %s", code, out, errs)
	}
	wrong := map[string]string{"TANDEM_TOKEN": "not-the-token"}
	if code, _, errs := call(t, file, wrong, "tasks"); code != exitFailure || !strings.Contains(errs, "api_tokens") {
		t.Errorf("wrong token: %d %s", code, errs)
	}

	// Whoever has the folder does not answer: both facts are told.
	server.Close()
	if code, _, errs := call(t, file, nil, "tasks"); code != exitFailure || !strings.Contains(errs, "is in use by") || !strings.Contains(errs, "no tandem answers at http://127.0.0.1") {
		t.Errorf("dead server: %d %s", code, errs)
	}
}

func TestNotTandem(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	file := configure(t, t.TempDir(), "127.0.0.1:1")
	if code, _, errs := call(t, file, nil, "tasks", "--server", server.URL); code != exitFailure || !strings.Contains(errs, "is not tandem's way") {
		t.Errorf("%d %s", code, errs)
	}
}

// echo answers every question with what it was asked.
type echo struct{ failure error }

func (a echo) Answer(_ context.Context, r tandem.Request) (tandem.Decision, error) {
	return tandem.Decision{
		TraceID: "t-1", Task: r.Task, Answer: strings.ToUpper(r.Input.Text()), Step: tandem.StudentStep, Model: "v3", Score: 0.97,
		Certified: true, Reason: tandem.Accepted, Why: fmt.Sprintf("session %q, teacher %v", r.Session, r.Teacher), SavedUSD: 0.0004, Took: 12 * time.Microsecond,
	}, a.failure
}

func (echo) Feedback(context.Context, string, tandem.Feedback) error { return nil }

func (echo) Task(name string) (*tandem.Task, bool) {
	return &tandem.Task{Name: name, Takes: []tandem.Kind{tandem.Text}}, name == "support"
}
func (echo) Tasks() []string { return []string{"support"} }
func (echo) Model(string) (provider.Model, tandem.Price, bool) {
	return nil, tandem.Price{}, false
}
func (echo) Models() []string { return nil }

func TestAsk(t *testing.T) {
	t.Parallel()
	var a echo
	g, err := gateway.New(gateway.Options{Answerer: a, Directory: a, Log: newLogger(config.Log{Level: "error"}, t.Output()), Tokens: []string{"one-token"}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	defer server.Close()
	file := configure(t, t.TempDir(), server.Listener.Addr().String())

	code, out, errs := call(t, file, nil, "ask", "support", "where is it?", "--session", "s7", "--teacher")
	for _, want := range []string{"WHERE IS IT?", "by     student v3 (score 0.970)", `why    session "s7", teacher true`, "saved $0.000400", "trace  t-1"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d %q %s lacks %q", code, out, errs, want)
		}
	}
	var d tandem.Decision
	if code, out, errs := call(t, file, nil, "ask", "support", "-", "--json"); code != 0 || json.Unmarshal([]byte(out), &d) != nil || d.Answer != "FROM STANDARD INPUT" {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, _, errs := call(t, file, nil, "ask", "nothing", "x", "--token", "wrong-token"); code != exitFailure || !strings.HasPrefix(errs, "tandem: ") {
		t.Errorf("%d %s", code, errs)
	}
}

// TestSecondInterrupt forces what the first one only asked for.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	signals, drains := make(chan os.Signal, 2), make(chan struct{})
	var stderr bytes.Buffer
	sys := system{stderr: &stderr, notify: func(...os.Signal) (<-chan os.Signal, func()) { return signals, func() {} }}
	group := lifecycle.Group{Grace: time.Hour, Parts: []lifecycle.Part{{Name: "server", Run: func(ctx context.Context) error {
		<-ctx.Done()
		close(drains)
		<-lifecycle.Drain(ctx).Done()
		return context.Cause(lifecycle.Drain(ctx))
	}}}}
	signals <- os.Interrupt
	go func() {
		<-drains
		signals <- os.Interrupt
	}()
	err := untilSignal(t.Context(), sys, &group)
	if !errors.Is(err, lifecycle.ErrForced) || !strings.Contains(stderr.String(), "interrupt again") {
		t.Errorf("%v, %q", err, stderr.String())
	}
}
