// Package providertest is the conformance suite of providers. Every provider
// runs it against the real protocol: a server on the loopback interface where
// it has a server.
package providertest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// Scenario is a way for an upstream to behave.
type Scenario string

// The scenarios of a question.
const (
	Success      Scenario = "success"           // answers Answer, having used Usage
	NoUsage      Scenario = "no usage"          // answers Answer and does not say what it used
	Refusal      Scenario = "refusal"           // the model refuses in words, having used Usage
	Filtered     Scenario = "content filter"    // the provider holds the answer back
	Hang         Scenario = "hang"              // never answers
	Refused      Scenario = "refuse connection" // nothing listens
	RateLimited  Scenario = "429"               // without Retry-After
	RateLimitedS Scenario = "429 Retry-After"   // with RetryAfter
	NoCredit     Scenario = "429 no credit"     // the account is empty
	ServerError  Scenario = "500"
	BadKey       Scenario = "401" // with a message that holds Secret
	BadRequest   Scenario = "400" // with a message that holds Secret
	Garbage      Scenario = "garbage"
	WrongType    Scenario = "wrong content type" // a web page with status 200
	Truncated    Scenario = "truncated JSON"     // whole by its length, half by its content
	Cut          Scenario = "cut"                // the connection ends within the body
	Huge         Scenario = "10 MB body"
	Empty        Scenario = "empty answer"
	Reasoned     Scenario = "reasoning"   // answers Answer after thinking, having used Reasoning
	CacheWritten Scenario = "cache write" // answers Answer, having used CacheWrite
)

// What the scenarios speak of.
const (
	Answer     = "refund"
	Secret     = "sk-very-secret-prompt"
	RetryAfter = 7 * time.Second
)

// Usage is what the upstream reports to have used.
func Usage() tandem.Usage { return tandem.Usage{InputTokens: 21, OutputTokens: 4, CachedTokens: 16} }

// Reasoning is the usage of an answer that was thought about.
func Reasoning() tandem.Usage {
	return tandem.Usage{InputTokens: 21, OutputTokens: 40, CachedTokens: 16, ReasoningTokens: 36}
}

// CacheWrite is the usage of an answer whose prompt was put into the cache.
func CacheWrite() tandem.Usage {
	return tandem.Usage{InputTokens: 2069, OutputTokens: 4, CacheWriteTokens: 2048}
}

// Traits are what a provider is like.
type Traits struct {
	Recording bool // its replies name themselves as recordings
	Uncached  bool // it does not tell cached tokens
}

// Task is the task that is asked.
func Task() *tandem.Task {
	return &tandem.Task{
		Name: "support", Instructions: "Which department?", Takes: []tandem.Kind{tandem.Text},
		Labels: []tandem.Label{{Name: Answer, Description: "wants money back"}, {Name: "other"}},
	}
}

// Input is what it is asked about.
func Input() tandem.Input { return tandem.TextInput("I want my money back") }

// Body is a client's call to pass through.
const Body = `{"model":"alias", "unknown_field":{"a":[1, 2]}, "messages":[{"role":"user","content":"I want my money back"}]}`

// Make returns a model whose upstream behaves as the scenario says, or false
// when the provider cannot have the scenario. The upstream ends with the test.
type Make func(t *testing.T, s Scenario) (provider.Model, bool)

// want is what Ask must make of a scenario.
type want struct {
	scenario   Scenario
	code       tandem.Code // "" for success
	status     int
	retryable  bool
	retryAfter time.Duration
	usage      tandem.Usage
}

func wants() []want {
	return []want{
		{scenario: Success, usage: Usage()},
		{scenario: NoUsage},
		{scenario: Refusal, code: tandem.TeacherUnavailable, status: 200, usage: Usage()},
		{scenario: Filtered, code: tandem.TeacherUnavailable, status: 200, usage: Usage()},
		{scenario: Hang, code: tandem.TeacherTimeout, retryable: true},
		{scenario: Refused, code: tandem.TeacherUnavailable, retryable: true},
		{scenario: RateLimited, code: tandem.TeacherUnavailable, status: 429, retryable: true},
		{scenario: RateLimitedS, code: tandem.TeacherUnavailable, status: 429, retryable: true, retryAfter: RetryAfter},
		{scenario: NoCredit, code: tandem.TeacherUnavailable, status: 429},
		{scenario: ServerError, code: tandem.TeacherUnavailable, status: 500, retryable: true},
		{scenario: BadKey, code: tandem.TeacherUnavailable, status: 401},
		{scenario: BadRequest, code: tandem.TeacherUnavailable, status: 400},
		{scenario: Garbage, code: tandem.TeacherUnavailable, status: 200, retryable: true},
		{scenario: WrongType, code: tandem.TeacherUnavailable, status: 200, retryable: true},
		{scenario: Truncated, code: tandem.TeacherUnavailable, status: 200, retryable: true},
		{scenario: Cut, code: tandem.TeacherUnavailable, status: 200, retryable: true},
		{scenario: Huge, code: tandem.TeacherUnavailable, status: 200, retryable: true},
		{scenario: Reasoned, usage: Reasoning()},
		{scenario: CacheWritten, usage: CacheWrite()},
		{scenario: Empty, code: tandem.TeacherUnavailable, status: 200, retryable: true, usage: Usage()},
	}
}

// patience bounds a scenario; a hanging upstream is given up after hangs.
const (
	patience = 20 * time.Second
	hangs    = 100 * time.Millisecond
)

// Run holds a provider to the contract.
func Run(t *testing.T, traits Traits, mk Make) {
	t.Helper()
	for _, w := range wants() {
		if traits.Uncached {
			w.usage.CachedTokens = 0
		}
		t.Run("ask/"+string(w.scenario), func(t *testing.T) {
			if m, ok := mk(t, w.scenario); ok {
				ask(t, m, w, traits.Recording)
			}
		})
	}
	t.Run("ask/cancelled", func(t *testing.T) {
		m, ok := mk(t, Hang)
		if !ok {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := m.Ask(ctx, provider.Question{Task: Task(), Input: Input()})
		e, ok := errors.AsType[*provider.Error](err)
		if !ok || e.Retryable || !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled question fails with %v, want an unretryable *Error caused by context.Canceled", err)
		}
	})
	forward(t, mk)
}

func ask(t *testing.T, m provider.Model, w want, recording bool) {
	limit := patience
	if w.scenario == Hang {
		limit = hangs
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	reply, err := m.Ask(ctx, provider.Question{Task: Task(), Input: Input()})
	if took := time.Since(start); took > limit+5*time.Second {
		t.Errorf("took %s with a deadline of %s", took, limit)
	}
	if w.code == "" {
		if err != nil {
			t.Fatal(err)
		}
		if reply.Text != Answer || reply.Model == "" || reply.Recording != recording {
			t.Errorf("got %+v", reply)
		}
		if reply.Usage != w.usage && !recording {
			t.Errorf("usage %+v, want %+v", reply.Usage, w.usage)
		}
		if recording && !strings.HasPrefix(reply.Model, "recording:") {
			t.Errorf("the model of a recording is called %q", reply.Model)
		}
		return
	}
	e, ok := errors.AsType[*provider.Error](err)
	if !ok {
		t.Fatalf("got %+v and %v, want a *provider.Error", reply, err)
	}
	if e.Code != w.code || e.Status != w.status && !recording || e.Retryable != w.retryable || e.RetryAfter != w.retryAfter || e.Usage != w.usage {
		t.Errorf("got %+v, want %+v", *e, w)
	}
	if e.Message == "" || strings.Contains(err.Error(), Secret) || strings.Contains(err.Error(), "money back") {
		t.Errorf("the message is empty or tells what it must not: %v", err)
	}
}

// forward passes a call in the first dialect that the provider speaks.
func forward(t *testing.T, mk Make) {
	var spoken provider.Dialect
	t.Run("forward/unspoken", func(t *testing.T) {
		m, ok := mk(t, Success)
		if !ok {
			t.Fatal("a provider must be able to succeed")
		}
		for _, d := range []provider.Dialect{provider.ChatCompletions, provider.Messages, "made up"} {
			if m.Speaks(d) {
				if spoken == "" {
					spoken = d
				}
				continue
			}
			res, err := m.Forward(t.Context(), provider.Call{Dialect: d, Header: http.Header{}, Body: []byte(Body), Alias: "alias"})
			if err == nil {
				_ = res.Body.Close()
				if res.StatusCode < 400 {
					t.Errorf("a call in %q got %d", d, res.StatusCode)
				}
			} else if e, ok := errors.AsType[*provider.Error](err); !ok || e.Retryable {
				t.Errorf("a call in %q fails with %v", d, err)
			}
		}
	})
	if spoken == "" {
		return
	}
	call := func() provider.Call {
		return provider.Call{Dialect: spoken, Header: http.Header{"Authorization": {"Bearer of the client"}}, Body: []byte(Body), Alias: "alias"}
	}
	open := func(t *testing.T, s Scenario, limit time.Duration) (*http.Response, error, bool) {
		m, ok := mk(t, s)
		if !ok {
			return nil, nil, false
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		t.Cleanup(cancel)
		res, err := m.Forward(ctx, call())
		return res, err, true
	}
	for s, status := range map[Scenario]int{Success: 200, RateLimited: 429, ServerError: 500, BadRequest: 400, Garbage: 200, Huge: 200} {
		t.Run("forward/"+string(s), func(t *testing.T) {
			res, err, ok := open(t, s, patience)
			if !ok {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || len(body) == 0 {
				t.Errorf("read %d bytes: %v", len(body), err)
			}
			if res.StatusCode != status && (status != 500 || res.StatusCode < 500) {
				t.Errorf("got status %d, want %d", res.StatusCode, status)
			}
		})
	}
	t.Run("forward/cut", func(t *testing.T) {
		res, err, ok := open(t, Cut, patience)
		if !ok {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("a cut response reads as %d bytes without an error", len(body))
		}
	})
	for _, s := range []Scenario{Hang, Refused} {
		t.Run("forward/"+string(s), func(t *testing.T) {
			res, err, ok := open(t, s, hangs)
			if !ok {
				return
			}
			if err == nil {
				res.Body.Close()
				t.Fatal("got a response")
			}
			e, ok := errors.AsType[*provider.Error](err)
			if !ok || s == Hang && e.Code != tandem.TeacherTimeout {
				t.Errorf("got %v", err)
			}
		})
	}
}
