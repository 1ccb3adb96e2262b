// Package ollama asks models behind Ollama's own chat API.
package ollama

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"tandem/internal/provider"
)

// Config describes an endpoint.
type Config struct {
	provider.Server `yaml:",inline"`
	// Context is the length of the models' context in tokens; Ollama's default
	// when left out, which cuts long prompts without saying so.
	Context int `yaml:"context" jsonschema:"minimum=1"`
	// AnswerFormat is how the model is held to the task's labels. auto begins
	// with json_schema and settles for what the server takes.
	AnswerFormat string `yaml:"answer_format" jsonschema:"enum=auto,enum=json_schema,enum=json,enum=none"`
}

// String leaves the key and the headers out.
func (c Config) String() string { return "ollama " + c.BaseURL }

// GoString leaves the key and the headers out.
func (c Config) GoString() string { return c.String() }

// The formats, the most binding first.
const (
	jsonSchema = iota
	jsonMode
	plain
)

var formats = map[string]int{"": jsonSchema, "auto": jsonSchema, "json_schema": jsonSchema, "json": jsonMode, "none": plain}

// Check says what is wrong with the configuration.
func (c Config) Check() error {
	err := c.Server.Check("http://127.0.0.1:11434")
	if _, known := formats[c.AnswerFormat]; !known {
		err = errors.Join(err, fmt.Errorf("answer_format: %q is none of auto, json_schema, json, none", c.AnswerFormat))
	}
	if c.Context < 0 {
		err = errors.Join(err, errors.New("context: must not be negative"))
	}
	return err
}

// Open makes the endpoint without calling it.
func (c Config) Open() (provider.Endpoint, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	w, err := c.Wire(provider.Bearer)
	if err != nil {
		return nil, err
	}
	return &endpoint{Wire: w, configured: c.AnswerFormat, context: c.Context}, nil
}

// endpoint is a server with the connections to it.
type endpoint struct {
	*provider.Wire
	configured string // the format
	context    int
}

// Model returns the server's model of that name.
func (e *endpoint) Model(name string) provider.Model {
	first := formats[e.configured]
	last := first
	if e.configured == "" || e.configured == "auto" {
		last = plain
	}
	return &model{endpoint: e, name: name, manner: provider.NewManner(first, last)}
}

// model is one model of the server and what has been learnt about it.
type model struct {
	*endpoint
	name   string
	manner *provider.Manner
}

// path is the API's one endpoint that is used.
const path = "/api/chat"

// Speaks is false: no client of tandem speaks Ollama's dialect.
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
	body, err := m.question(q, how)
	if err != nil {
		return provider.Reply{}, err
	}
	res, err := m.Post(ctx, path, "", body, nil)
	if err != nil {
		return provider.Reply{}, provider.Failed(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // nothing more is wanted of it
	if res.StatusCode != http.StatusOK {
		e, body := failure(ctx, res)
		if res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusInternalServerError {
			e.Adapted = m.manner.Learn(body, "", how, "format", "grammar", "schema")
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
	res, err := m.send(ctx, c, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it is read
	return readWhole(ctx, res, provider.MaxReply)
}

// Stream holds it in one call that is answered piece by piece.
func (m *model) Stream(ctx context.Context, c *provider.Conversation) (*provider.Stream, error) {
	res, err := m.send(ctx, c, true) //nolint:bodyclose // the stream owns it
	if err != nil {
		return nil, err
	}
	return provider.NewStream(ctx, res, false, &decoder{})
}

// send makes the call of a conversation; its response is a success.
func (m *model) send(ctx context.Context, c *provider.Conversation, stream bool) (*http.Response, error) {
	req, err := m.request(c)
	if err != nil {
		return nil, err
	}
	req.Stream = stream
	body, err := provider.Encode(req)
	if err != nil {
		return nil, err
	}
	res, err := m.Send(ctx, path, "", body, http.Header{})
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
