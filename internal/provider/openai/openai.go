// Package openai asks models behind any server that speaks OpenAI's chat
// completions: OpenAI itself, Qianfan, Ollama, vLLM, llama.cpp, other gateways.
package openai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"tandem/internal/provider"
)

// Config describes an endpoint.
type Config struct {
	provider.Server `yaml:",inline"`
	// ResponseFormat is how the model is held to the task's labels. auto
	// begins with json_schema and settles for what the server takes.
	ResponseFormat string `yaml:"response_format" jsonschema:"enum=auto,enum=json_schema,enum=json_object,enum=none"`
}

// String leaves the key and the headers out.
func (c Config) String() string { return "openai " + c.BaseURL }

// GoString leaves the key and the headers out.
func (c Config) GoString() string { return c.String() }

// Check says what is wrong with the configuration.
func (c Config) Check() error {
	err := c.Server.Check("https://api.openai.com/v1")
	if _, known := formats[c.ResponseFormat]; !known {
		err = errors.Join(err, fmt.Errorf("response_format: %q is none of auto, json_schema, json_object, none", c.ResponseFormat))
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
	return &endpoint{Wire: w, configured: c.ResponseFormat}, nil
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
	return &model{endpoint: e, name: name, manner: provider.NewManner(first, last)}
}

// model is one model of the server and what has been learnt about it.
type model struct {
	*endpoint
	name   string
	manner *provider.Manner

	completionTokens atomic.Bool // the model takes max_completion_tokens only
}

// Speaks holds for all of OpenAI's endpoints: a server that lacks one says so
// itself.
func (m *model) Speaks(d provider.Dialect) bool { return d.OpenAI() }

// Forward passes a client's call on.
func (m *model) Forward(ctx context.Context, c provider.Call) (*http.Response, error) {
	if !m.Speaks(c.Dialect) {
		return nil, provider.Unspoken(c.Dialect)
	}
	return m.Wire.Forward(ctx, c, c.Dialect.Path(), m.name, nil)
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
	res, err := m.Post(ctx, provider.ChatCompletions.Path(), "", body, nil)
	if err != nil {
		return provider.Reply{}, provider.Failed(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // nothing more is wanted of it
	if res.StatusCode != http.StatusOK {
		e, body, param := failure(ctx, res)
		if res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity {
			e.Adapted = m.manner.Learn(body, param, how,
				"response_format", "json_schema", "json_object", "json schema", "structured output", "guided", "grammar")
		}
		e.Detail = "" // it may quote the question
		return provider.Reply{}, e
	}
	c, err := readCompletion(ctx, res, provider.MaxAnswer)
	if err != nil {
		return provider.Reply{}, err
	}
	return provider.Answered(res, c)
}
