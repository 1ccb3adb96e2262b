package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem"
	"tandem/client"
	"tandem/internal/gateway"
	"tandem/internal/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk answers with the text in capitals and fails on "bad".
type desk struct {
	last     chan tandem.Request
	feedback chan tandem.Feedback
}

func (d *desk) Answer(ctx context.Context, req tandem.Request) (tandem.Decision, error) {
	if d.last != nil {
		d.last <- req
	}
	switch text := req.Input.Text(); text {
	case "bad":
		return tandem.Decision{}, &tandem.Error{Code: tandem.InputTooLarge, Message: "too large", Param: "input"}
	case "slow":
		<-ctx.Done()
		return tandem.Decision{}, ctx.Err()
	default:
		return tandem.Decision{
			TraceID: "t", Task: req.Task, Answer: strings.ToUpper(text), Step: tandem.StudentStep, SavedUSD: 0.5, Took: time.Millisecond,
			Attempts: []tandem.Attempt{{Step: tandem.StudentStep, Score: 0.5}},
		}, nil
	}
}

func (d *desk) Feedback(_ context.Context, id string, f tandem.Feedback) error {
	if id != "t/1" {
		return tandem.Errorf(tandem.NotFound, "no trace %s", id)
	}
	d.feedback <- f
	return nil
}

func (d *desk) Trace(_ context.Context, id string) (tandem.Trace, error) {
	return tandem.Trace{ID: id, Task: "support"}, nil
}

type tasks struct{}

func (tasks) Task(name string) (*tandem.Task, bool) {
	return &tandem.Task{Name: name}, name == "support"
}
func (tasks) Tasks() []string                                   { return []string{"support"} }
func (tasks) Model(string) (provider.Model, tandem.Price, bool) { return nil, tandem.Price{}, false }
func (tasks) Models() []string                                  { return []string{"gpt"} }

// open makes a client of a real gateway.
func open(t *testing.T, d *desk, o client.Options, tokens ...string) *client.Client {
	t.Helper()
	s, err := gateway.New(gateway.Options{Answerer: d, Directory: tasks{}, Traces: d, Log: slog.New(slog.DiscardHandler), Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	c, err := client.New(srv.URL+"/v1/", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); srv.Close() })
	return c
}

func TestAnswer(t *testing.T) {
	d := &desk{last: make(chan tandem.Request, 8)}
	c := open(t, d, client.Options{})
	for _, req := range []tandem.Request{
		{Task: "support", Input: tandem.TextInput("hello"), Session: "s", Teacher: true},
		{Task: "support", Input: tandem.Input{Parts: []tandem.Part{{Kind: tandem.Text, Text: "a"}, {Kind: tandem.Image, MIME: "image/png", Data: []byte{1, 2}}}}},
	} {
		got, err := c.Answer(t.Context(), req)
		if err != nil || got.Answer != strings.ToUpper(req.Input.Text()) || got.Took != time.Millisecond || len(got.Attempts) != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
		if asked := <-d.last; fmt.Sprint(asked) != fmt.Sprint(req) {
			t.Errorf("asked %+v, want %+v", asked, req)
		}
	}
	_, err := c.Answer(t.Context(), tandem.Request{Task: "support", Input: tandem.TextInput("bad")})
	if e, ok := errors.AsType[*tandem.Error](err); !ok || e.Code != tandem.InputTooLarge || e.Message != "too large" || e.Param != "input" {
		t.Errorf("got %v", err)
	}
}

func TestDeadline(t *testing.T) {
	c := open(t, &desk{}, client.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Answer(ctx, tandem.Request{Task: "support", Input: tandem.TextInput("slow")})
	if tandem.CodeOf(err) != tandem.TeacherTimeout {
		t.Errorf("got %v", err)
	}
}

func TestTheRest(t *testing.T) {
	d := &desk{feedback: make(chan tandem.Feedback, 1)}
	c := open(t, d, client.Options{Token: "good-token"}, "good-token")
	models, err := c.Models(t.Context())
	if err != nil || !slices.Equal(models, []client.Model{{ID: "support", Task: true}, {ID: "gpt"}}) {
		t.Errorf("got %+v, %v", models, err)
	}
	if err := c.Feedback(t.Context(), "t/1", tandem.Feedback{Label: "x"}); err != nil || (<-d.feedback).Label != "x" {
		t.Error(err)
	}
	if err := c.Feedback(t.Context(), "t/2", tandem.Feedback{Label: "x"}); tandem.CodeOf(err) != tandem.NotFound {
		t.Errorf("got %v", err)
	}
	if trace, err := c.Trace(t.Context(), "t/1"); err != nil || trace.ID != "t/1" {
		t.Errorf("got %+v, %v", trace, err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	bad := open(t, d, client.Options{Token: "bad-token"}, "good-token")
	if _, err := bad.Models(t.Context()); tandem.CodeOf(err) != tandem.Unauthorized {
		t.Errorf("got %v", err)
	}
}

func TestBatch(t *testing.T) {
	c := open(t, &desk{}, client.Options{})
	const n = 1000
	requests := func(yield func(tandem.Request) bool) {
		for i := range n {
			text := fmt.Sprint("m", i)
			if i == 500 {
				text = "bad"
			}
			if !yield(tandem.Request{Input: tandem.TextInput(text)}) {
				return
			}
		}
	}
	var totals client.Totals
	got := 0
	for line, err := range c.Batch(t.Context(), "support", requests, &totals) {
		if err != nil {
			t.Fatal(err)
		}
		got++
		if line.N != got {
			t.Errorf("line %d is numbered %d", got, line.N)
		}
		if (line.Err != nil) != (got == 501) || line.Err == nil && line.Decision.Answer != fmt.Sprint("M", got-1) {
			t.Errorf("line %d is %+v", got, line)
		}
	}
	if want := (client.Totals{Lines: n, Errors: 1, Served: n - 1, SavedUSD: 0.5 * (n - 1)}); got != n || totals != want {
		t.Errorf("%d lines, totals %+v", got, totals)
	}

	for _, err := range c.Batch(t.Context(), "nope", requests, nil) {
		if tandem.CodeOf(err) != tandem.NotFound {
			t.Errorf("got %v", err)
		}
	}
	for range c.Batch(t.Context(), "support", requests, nil) {
		break // goleak looks for what is left
	}
}

// TestBatchSends shows that answers come before the last request is sent.
func TestBatchSends(t *testing.T) {
	c := open(t, &desk{}, client.Options{})
	next := make(chan string, 1)
	next <- "first"
	requests := func(yield func(tandem.Request) bool) {
		for text := range next {
			if !yield(tandem.Request{Input: tandem.TextInput(text)}) {
				return
			}
		}
	}
	var answers []string
	for line, err := range c.Batch(t.Context(), "support", requests, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if answers = append(answers, line.Decision.Answer); len(answers) == 1 {
			next <- "second"
			close(next)
		}
	}
	if !slices.Equal(answers, []string{"FIRST", "SECOND"}) {
		t.Errorf("got %v", answers)
	}
}

// TestOthers calls servers that are not tandem.
func TestOthers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"page":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"error":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
		"cut":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"odd error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); _ = json.NewEncoder(w).Encode("x") },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			c, err := client.New(srv.URL, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Answer(t.Context(), tandem.Request{Task: "support"}); tandem.CodeOf(err) != tandem.Internal {
				t.Errorf("got %v", err)
			}
			for _, err := range c.Batch(t.Context(), "support", func(yield func(tandem.Request) bool) { yield(tandem.Request{}) }, nil) {
				if err == nil {
					t.Error("a batch went well")
				}
			}
		})
	}
	for _, base := range []string{"", "localhost:8080", "ftp://a", "http://"} {
		if _, err := client.New(base, client.Options{}); err == nil {
			t.Errorf("%q is an address", base)
		}
	}
}
