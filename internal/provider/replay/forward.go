package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"tandem"
	"tandem/internal/provider"
)

// Header marks every response of a recording.
const Header = "X-Tandem-Recording"

// Speaks says that a recording knows chat completions as they are.
func (m *model) Speaks(d provider.Dialect) bool { return d == provider.ChatCompletions }

// Forward answers a chat completion from the recording, by the text of its
// last user message. Failures are responses, as a provider's would be.
func (m *model) Forward(ctx context.Context, c provider.Call) (*http.Response, error) {
	if err := m.wait(ctx); err != nil {
		if e, ok := errors.AsType[*provider.Error](err); ok && e.Status != 0 {
			return response(e.Status, "application/json", errorBody("the recording plays a failure", "recorded_failure")), nil
		}
		return nil, err
	}
	if !m.Speaks(c.Dialect) {
		return response(http.StatusNotFound, "application/json", errorBody("a recording answers chat completions only", "not_found")), nil
	}
	var req struct {
		Stream        bool `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(c.Body, &req); err != nil {
		return response(http.StatusBadRequest, "application/json", errorBody("the request is not a chat completion", "invalid_request")), nil //nolint:nilerr // the client is told in an HTTP answer
	}
	text := ""
	for i := range req.Messages {
		if req.Messages[i].Role == "user" {
			text = plainText(req.Messages[i].Content)
		}
	}
	answer, ok := m.source.Answer(tandem.TextInput(text))
	if !ok {
		return response(http.StatusNotFound, "application/json", errorBody(unknown().Message, "not_recorded")), nil
	}
	u := m.usage(len(c.Body), len(answer))
	if req.Stream {
		return response(http.StatusOK, "text/event-stream", m.stream(answer, u, req.StreamOptions.IncludeUsage)), nil
	}
	return response(http.StatusOK, "application/json", encode(completion{
		ID: m.id(), Object: "chat.completion", Model: m.name, Fingerprint: "recording",
		Choices: []choice{{Message: &message{Role: "assistant", Content: answer}, FinishReason: "stop"}},
		Usage:   usageOf(u),
	})), nil
}

// Complete answers a translated conversation by the text of its last message.
func (m *model) Complete(ctx context.Context, c *provider.Conversation) (*provider.Completion, error) {
	if err := m.wait(ctx); err != nil {
		return nil, err
	}
	text, size := "", 0
	for i := range c.Messages {
		var texts []string
		for j := range c.Messages[i].Blocks {
			texts = append(texts, c.Messages[i].Blocks[j].Text)
			size += len(c.Messages[i].Blocks[j].Text)
		}
		if c.Messages[i].Role == provider.User {
			text = strings.Join(texts, "\n")
		}
	}
	answer, ok := m.source.Answer(tandem.TextInput(text))
	if !ok {
		return nil, unknown()
	}
	return &provider.Completion{
		ID: m.id(), Model: m.name, Stop: provider.StopEnd, Usage: m.usage(size, len(answer)),
		Blocks: []provider.Block{{Kind: provider.TextBlock, Text: answer}},
	}, nil
}

// Stream is the same reply in pieces.
func (m *model) Stream(ctx context.Context, c *provider.Conversation) (*provider.Stream, error) {
	reply, err := m.Complete(ctx, c)
	if err != nil {
		return nil, err
	}
	return provider.Play(reply), nil
}

// stream is the whole stream of an answer.
func (m *model) stream(answer string, u tandem.Usage, withUsage bool) []byte {
	var b bytes.Buffer
	id := m.id()
	write := func(choices []choice, u *usage) {
		b.WriteString("data: ")
		b.Write(encode(completion{
			ID: id, Object: "chat.completion.chunk", Model: m.name, Fingerprint: "recording", Choices: choices, Usage: u,
		}))
		b.WriteString("\n\n")
	}
	write([]choice{{Delta: &message{Role: "assistant"}}}, nil)
	write([]choice{{Delta: &message{Content: answer}}}, nil)
	write([]choice{{Delta: &message{}, FinishReason: "stop"}}, nil)
	if withUsage {
		write([]choice{}, usageOf(u))
	}
	b.WriteString("data: [DONE]\n\n")
	return b.Bytes()
}

// id counts the calls, so that a run gives the same ids again.
func (m *model) id() string { return fmt.Sprintf("chatcmpl-recording-%d", m.calls.Load()) }

// The wire types of a recorded completion.
type (
	completion struct {
		ID          string   `json:"id"`
		Object      string   `json:"object"`
		Created     int64    `json:"created"` // always 0: a recording has no clock
		Model       string   `json:"model"`
		Fingerprint string   `json:"system_fingerprint"`
		Choices     []choice `json:"choices"`
		Usage       *usage   `json:"usage,omitempty"`
	}
	choice struct {
		Index        int      `json:"index"`
		Message      *message `json:"message,omitempty"`
		Delta        *message `json:"delta,omitempty"`
		FinishReason string   `json:"finish_reason,omitempty"`
	}
	message struct {
		Role    string `json:"role,omitempty"`
		Content string `json:"content,omitempty"`
	}
	usage struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
	}
)

func usageOf(u tandem.Usage) *usage {
	return &usage{Prompt: u.InputTokens, Completion: u.OutputTokens, Total: u.InputTokens + u.OutputTokens}
}

// encode cannot fail: the types hold strings and numbers only.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		return []byte("{}")
	}
	return data
}

func errorBody(message, code string) []byte {
	return encode(map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error", "param": nil, "code": code}})
}

// plainText reads a message's content: a string, or the texts of its parts.
func plainText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return ""
	}
	texts := make([]string, 0, len(parts))
	for _, p := range parts {
		if p.Text != "" {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n")
}

// response wraps bytes as what an upstream would have sent.
func response(status int, contentType string, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {contentType}, Header: {"true"}},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}
}
