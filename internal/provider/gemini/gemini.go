// Package gemini asks models behind Google's Gemini API.
package gemini

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"tandem/internal/provider"
)

// Config describes an endpoint.
type Config struct {
	provider.Server `yaml:",inline"`
	// AnswerFormat is how the model is held to the task's labels. auto begins
	// with enum and settles for what the model takes.
	AnswerFormat string `yaml:"answer_format" jsonschema:"enum=auto,enum=enum,enum=json_schema,enum=none"`
}

// String leaves the key and the headers out.
func (c Config) String() string { return "gemini " + c.BaseURL }

// GoString leaves the key and the headers out.
func (c Config) GoString() string { return c.String() }

// The formats, the most binding first.
const (
	enum = iota
	jsonSchema
	plain
)

var formats = map[string]int{"": enum, "auto": enum, "enum": enum, "json_schema": jsonSchema, "none": plain}

// Check says what is wrong with the configuration.
func (c Config) Check() error {
	err := c.Server.Check("https://generativelanguage.googleapis.com/v1beta")
	if _, known := formats[c.AnswerFormat]; !known {
		err = errors.Join(err, fmt.Errorf("answer_format: %q is none of auto, enum, json_schema, none", c.AnswerFormat))
	}
	return err
}

// Open makes the endpoint without calling it.
func (c Config) Open() (provider.Endpoint, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	w, err := c.Wire(func(h http.Header, key string) { h.Set("X-Goog-Api-Key", key) })
	if err != nil {
		return nil, err
	}
	return &endpoint{Wire: w, configured: c.AnswerFormat}, nil
}

// endpoint is a server with the connections to it.
type endpoint struct {
	*provider.Wire
	configured string // the format
}

// Model returns the server's model of that name.
func (e *endpoint) Model(name string) provider.Model {
	first := formats[e.configured]
	last := first
	if e.configured == "" || e.configured == "auto" {
		last = plain
	}
	path := "/models/" + url.PathEscape(name)
	if kind, id, ok := strings.Cut(name, "/"); ok { // tunedModels/…, models/…
		path = "/" + url.PathEscape(kind) + "/" + url.PathEscape(id)
	}
	return &model{endpoint: e, path: path, manner: provider.NewManner(first, last)}
}

// model is one model of the server and what has been learnt about it.
type model struct {
	*endpoint
	path   string
	manner *provider.Manner
}

// Speaks is false: no client of tandem speaks Gemini's dialect.
func (m *model) Speaks(provider.Dialect) bool { return false }

// Forward refuses every call.
func (m *model) Forward(_ context.Context, c provider.Call) (*http.Response, error) {
	return nil, provider.Unspoken(c.Dialect)
}

// Ask puts a task's question in one call.
func (m *model) Ask(ctx context.Context, q provider.Question) (provider.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout())
	defer cancel()
	how := m.manner.Now()
	body, err := question(q, how)
	if err != nil {
		return provider.Reply{}, err
	}
	res, err := m.Post(ctx, m.path+":generateContent", "", body, nil)
	if err != nil {
		return provider.Reply{}, provider.Failed(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // nothing more is wanted of it
	if res.StatusCode != http.StatusOK {
		e, body := failure(ctx, res)
		if res.StatusCode == http.StatusBadRequest && e.Status == http.StatusBadRequest {
			e.Adapted = m.manner.Learn(body, "", how, "response_mime_type", "responsemimetype", "response_schema", "responseschema",
				"response_json_schema", "responsejsonschema", "x.enum", "json mode", "mime_type")
		}
		e.Detail = "" // it may quote the question
		return provider.Reply{}, e
	}
	c, err := readWhole(ctx, res, provider.MaxAnswer)
	if err != nil {
		return provider.Reply{}, err
	}
	return provider.Answered(res, c)
}

// Complete holds a client's conversation in one call.
func (m *model) Complete(ctx context.Context, c *provider.Conversation) (*provider.Completion, error) {
	res, err := m.send(ctx, c, ":generateContent", "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it is read
	return readWhole(ctx, res, provider.MaxReply)
}

// Stream holds it in one call that is answered piece by piece.
func (m *model) Stream(ctx context.Context, c *provider.Conversation) (*provider.Stream, error) {
	res, err := m.send(ctx, c, ":streamGenerateContent", "alt=sse") //nolint:bodyclose // the stream owns it
	if err != nil {
		return nil, err
	}
	return provider.NewStream(ctx, res, true, &decoder{})
}

// send makes the call of a conversation; its response is a success.
func (m *model) send(ctx context.Context, c *provider.Conversation, method, query string) (*http.Response, error) {
	req, err := newRequest(c)
	if err != nil {
		return nil, err
	}
	body, err := provider.Encode(req)
	if err != nil {
		return nil, err
	}
	res, err := m.Send(ctx, m.path+method, query, body, http.Header{})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }() // the call is over
		e, _ := failure(ctx, res)
		return nil, e
	}
	return res, nil
}
