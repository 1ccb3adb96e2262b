package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"tandem"
	"tandem/internal/store"
	"tandem/internal/student"
)

const (
	maxBody   = 64 << 10 // of a call that only carries a reason
	maxEvents = 1000
	maxWhy    = 500
)

func (c *Console) task(name string) (tandem.Task, error) {
	for _, t := range c.Tasks() {
		if t.Name == name {
			return t, nil
		}
	}
	return tandem.Task{}, tandem.Errorf(tandem.NotFound, "there is no task %q; tandem tasks lists them", name)
}

// ofTask makes a call of one that is about the task in the path.
func (c *Console) ofTask(f func(*http.Request, tandem.Task) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		t, err := c.task(r.PathValue("task"))
		if err != nil {
			return nil, err
		}
		return f(r, t)
	}
}

// because makes a call of one that changes a task for a reason, which the body
// gives or else is the fallback.
func (c *Console) because(fallback string, f func(r *http.Request, task, why string) (any, error)) func(*http.Request) (any, error) {
	return c.ofTask(func(r *http.Request, t tandem.Task) (any, error) {
		why, err := reason(r, fallback)
		if err != nil {
			return nil, err
		}
		return f(r, t.Name, why)
	})
}

func (c *Console) tasks(r *http.Request) (any, error) {
	out := struct {
		Tasks []TaskStatus `json:"tasks"`
	}{Tasks: []TaskStatus{}}
	for _, t := range c.Tasks() {
		stats, err := c.Reader.Stats(r.Context(), t.Name)
		if err != nil {
			return nil, err
		}
		versions, certificates, err := c.promised(r.Context(), t.Name)
		if err != nil {
			return nil, err
		}
		out.Tasks = append(out.Tasks, status(t, stats, versions, certificates))
	}
	return out, nil
}

// promised lists a task's versions and their certificates.
func (c *Console) promised(ctx context.Context, task string) ([]tandem.Version, []tandem.Certificate, error) {
	versions, err := c.Reader.Versions(ctx, task)
	if err != nil {
		return nil, nil, err
	}
	certificates, err := c.Reader.Certificates(ctx, task)
	return versions, certificates, err
}

func (c *Console) students(r *http.Request, t tandem.Task) (any, error) {
	versions, certificates, err := c.promised(r.Context(), t.Name)
	if err != nil {
		return nil, err
	}
	students := make([]Student, len(versions))
	for i, v := range versions {
		students[i] = Student{Version: v, Certificate: certificateOf(certificates, v.Name)}
	}
	_, absent := student.Fitting(c.Families(), t)
	return map[string]any{"task": t.Name, "students": students, "absent": absent}, nil
}

func (c *Console) promote(r *http.Request, task, why string) (any, error) {
	event, err := c.Registry.Promote(r.Context(), task, r.PathValue("version"), why)
	return c.changed(r, event, err)
}

func (c *Console) rollback(r *http.Request, task, why string) (any, error) {
	event, err := c.Registry.Rollback(r.Context(), task, why)
	return c.changed(r, event, err)
}

// Change is what a promotion or rollback answers.
type Change struct {
	Task    string       `json:"task"`
	Serving string       `json:"serving"` // version, "" for the teacher alone
	Event   tandem.Event `json:"event"`
}

func (c *Console) changed(r *http.Request, event tandem.Event, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	versions, err := c.Reader.Versions(r.Context(), event.Task)
	if err != nil {
		return nil, err
	}
	return Change{Task: event.Task, Serving: servingOf(versions), Event: event}, nil
}

func (c *Console) learn(r *http.Request, task, why string) (any, error) {
	if c.Learner == nil {
		return nil, tandem.Errorf(tandem.Conflict, "no server runs on this data folder, so nothing trains; start tandem serve")
	}
	if err := c.Learner.Learn(r.Context(), task, why); err != nil {
		return nil, err
	}
	return map[string]any{"task": task, "started": true}, nil
}

func (c *Console) events(r *http.Request) (any, error) {
	task := r.URL.Query().Get("task")
	if task != "" {
		if _, err := c.task(task); err != nil {
			return nil, err
		}
	}
	limit, err := number(r, "limit", 100, maxEvents)
	if err != nil {
		return nil, err
	}
	events, err := c.Reader.Events(r.Context(), task, limit)
	if err != nil {
		return nil, err
	}
	if events == nil {
		events = []tandem.Event{}
	}
	return map[string]any{"events": events}, nil
}

// importTraces reads JSON lines for as long as they come.
func (c *Console) importTraces(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	t, err := c.task(q.Get("task"))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	fields := Fields{
		Text: q.Get("text"), Teacher: q.Get("teacher"), Gold: q.Get("gold"),
		Session: q.Get("session"), Time: q.Get("time"), ID: q.Get("id"),
	}
	upload := c.patience(w, r)
	report, err := c.Importer.Import(r.Context(), t, fields, upload)
	if cut := upload.cut(report.Imported); err != nil && cut != nil {
		err = cut
	}
	if report.Faults == nil {
		report.Faults = []LineFault{}
	}
	c.reply(upload, r, report, err)
}

// export streams traces as JSON lines: whole traces, or with format=pairs only
// {"input","teacher"} of labelled text traces. A failure after the first line
// breaks the connection, so that nobody takes a part for the whole.
func (c *Console) export(w http.ResponseWriter, r *http.Request) {
	t, err := c.task(r.URL.Query().Get("task"))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	write, pairs := c.Export, r.URL.Query().Get("format") == "pairs"
	if pairs {
		write = exportPairs
	}
	limit, err := number(r, "limit", 0, 1<<40)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	since, err := moment(r, "since")
	if err != nil {
		c.fail(w, r, err)
		return
	}
	out := &begun{ResponseWriter: c.patience(w, r)}
	_, err = write(out, c.Reader.Traces(r.Context(), store.Query{Task: t.Name, Since: since, Labelled: pairs, Limit: limit}))
	switch {
	case err == nil:
	case out.some:
		panic(http.ErrAbortHandler) // a part must not be taken for the whole
	default:
		c.fail(w, r, err)
	}
}

// begun is a response of JSON lines that knows whether it has begun.
type begun struct {
	http.ResponseWriter
	some bool
}

// Write sends lines.
func (b *begun) Write(p []byte) (int, error) {
	if !b.some {
		b.some = true
		b.Header().Set("Content-Type", "application/x-ndjson")
	}
	return b.ResponseWriter.Write(p)
}

// exportPairs writes what the teacher answered.
func exportPairs(w io.Writer, traces iter.Seq2[tandem.Trace, error]) (int, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	n := 0
	for t, err := range traces {
		if err != nil {
			return n, fmt.Errorf("read traces: %w", err)
		}
		if err := enc.Encode(Pair{Input: t.Input.Text(), Teacher: t.Teacher, Gold: t.Gold}); err != nil {
			return n, fmt.Errorf("write traces: %w", err)
		}
		n++
	}
	return n, out.Flush()
}

// Pair is a question with the teacher's answer.
type Pair struct {
	Input   string `json:"input"`
	Teacher string `json:"teacher"`
	Gold    string `json:"gold,omitempty"`
}

// reason reads {"why": "…"}; an empty body gives the fallback.
func reason(r *http.Request, fallback string) (string, error) {
	var body struct {
		Why string `json:"why"`
	}
	dec := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		return "", &tandem.Error{Code: tandem.InvalidRequest, Message: `the body must be JSON like {"why": "…"}, or empty`, Cause: err}
	}
	if len(body.Why) > maxWhy {
		return "", tandem.Errorf(tandem.InvalidRequest, "why has %d bytes; at most %d", len(body.Why), maxWhy)
	}
	if body.Why == "" {
		return fallback, nil
	}
	return body.Why, nil
}

func number(r *http.Request, name string, fallback, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, &tandem.Error{Code: tandem.InvalidRequest, Param: name, Message: name + " must be a number from 1 to " + strconv.Itoa(most)}
	}
	return n, nil
}

func moment(r *http.Request, name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, &tandem.Error{Code: tandem.InvalidRequest, Param: name, Message: name + " must be a time such as 2026-01-31T00:00:00Z"}
	}
	return t, nil
}
