// Package anthropic asks models behind Anthropic's Messages API.
package anthropic

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
	// MaxTokens is how long a reply may be when a client's dialect lets it say
	// nothing about that and it does not; 8192 when left out.
	MaxTokens int `yaml:"max_tokens" jsonschema:"minimum=1"`
	// AnswerFormat is how the model is held to the task's labels. auto begins
	// with json_schema and settles for what the model takes.
	AnswerFormat string `yaml:"answer_format" jsonschema:"enum=auto,enum=json_schema,enum=tool,enum=none"`
}

// String leaves the key and the headers out.
func (c Config) String() string { return "anthropic " + c.BaseURL }

// GoString leaves the key and the headers out.
func (c Config) GoString() string { return c.String() }

// The formats, the most binding first.
const (
	jsonSchema = iota
	tool
	plain
)

var formats = map[string]int{"": jsonSchema, "auto": jsonSchema, "json_schema": jsonSchema, "tool": tool, "none": plain}

// Check says what is wrong with the configuration.
func (c Config) Check() error {
	err := c.Server.Check("https://api.anthropic.com/v1")
	if _, known := formats[c.AnswerFormat]; !known {
		err = errors.Join(err, fmt.Errorf("answer_format: %q is none of auto, json_schema, tool, none", c.AnswerFormat))
	}
	if c.MaxTokens < 0 {
		err = errors.Join(err, errors.New("max_tokens: must not be negative"))
	}
	return err
}

// defaultMaxTokens is what Config.MaxTokens is when left out.
const defaultMaxTokens = 8192

// Open makes the endpoint without calling it.
func (c Config) Open() (provider.Endpoint, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	w, err := c.Wire(func(h http.Header, key string) { h.Set("X-Api-Key", key) })
	if err != nil {
		return nil, err
	}
	if c.MaxTokens == 0 {
		c.MaxTokens = defaultMaxTokens
	}
	return &endpoint{Wire: w, configured: c.AnswerFormat, maxTokens: c.MaxTokens}, nil
}

// endpoint is a server with the connections to it.
type endpoint struct {
	*provider.Wire
	configured string // the format
	maxTokens  int
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

// header names the version of the API that this package is written for.
func header() http.Header { return http.Header{"Anthropic-Version": {"2023-06-01"}} }

// Speaks holds for Anthropic's own endpoints.
func (m *model) Speaks(d provider.Dialect) bool { return d.Anthropic() }

// Forward passes a client's call on.
func (m *model) Forward(ctx context.Context, c provider.Call) (*http.Response, error) {
	if !m.Speaks(c.Dialect) {
		return nil, provider.Unspoken(c.Dialect)
	}
	return m.Wire.Forward(ctx, c, c.Dialect.Path(), m.name, header())
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
	res, err := m.Post(ctx, provider.Messages.Path(), "", body, header())
	if err != nil {
		return provider.Reply{}, provider.Failed(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // nothing more is wanted of it
	if res.StatusCode != http.StatusOK {
		e, body := failure(ctx, res)
		if res.StatusCode == http.StatusBadRequest {
			e.Adapted = m.manner.Learn(body, "", how, "output_config", "output_format", "json_schema", "structured output", "tool_choice", "tools")
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
	return provider.NewStream(ctx, res, true, &decoder{})
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
	res, err := m.Send(ctx, provider.Messages.Path(), "", body, header())
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
