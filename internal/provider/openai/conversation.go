package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"tandem/internal/provider"
)

// The wire types of a conversation.
type (
	talkRequest struct {
		Model               string         `json:"model"`
		Messages            []talkMessage  `json:"messages"`
		Stream              bool           `json:"stream,omitempty"`
		StreamOptions       *streamOptions `json:"stream_options,omitempty"`
		MaxTokens           int            `json:"max_tokens,omitempty"`
		MaxCompletionTokens int            `json:"max_completion_tokens,omitempty"`
		Temperature         *float64       `json:"temperature,omitempty"`
		TopP                *float64       `json:"top_p,omitempty"`
		Seed                *int64         `json:"seed,omitempty"`
		PresencePenalty     *float64       `json:"presence_penalty,omitempty"`
		FrequencyPenalty    *float64       `json:"frequency_penalty,omitempty"`
		Stop                []string       `json:"stop,omitempty"`
		Tools               []talkTool     `json:"tools,omitempty"`
		ToolChoice          any            `json:"tool_choice,omitempty"` // a word or a tool
		ParallelToolCalls   *bool          `json:"parallel_tool_calls,omitempty"`
		ResponseFormat      *talkFormat    `json:"response_format,omitempty"`
		ReasoningEffort     string         `json:"reasoning_effort,omitempty"`
		User                string         `json:"user,omitempty"`
	}
	streamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	}
	talkMessage struct {
		Role       string     `json:"role"`
		Content    any        `json:"content"` // a string, []talkPart or null
		Reasoning  string     `json:"reasoning_content,omitempty"`
		ToolCalls  []talkCall `json:"tool_calls,omitempty"`
		ToolCallID string     `json:"tool_call_id,omitempty"`
	}
	talkPart struct {
		Type  string      `json:"type"`
		Text  *string     `json:"text,omitempty"`
		Image *talkImage  `json:"image_url,omitempty"`
		Audio *inputAudio `json:"input_audio,omitempty"`
		File  *talkFile   `json:"file,omitempty"`
	}
	talkImage struct {
		URL    string `json:"url"`
		Detail string `json:"detail,omitempty"`
	}
	inputAudio struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	}
	talkFile struct {
		Data string `json:"file_data"`
		Name string `json:"filename"`
	}
	talkCall struct {
		Index    int          `json:"index,omitempty"` // of streamed replies
		ID       string       `json:"id,omitempty"`
		Type     string       `json:"type,omitempty"`
		Function talkFunction `json:"function"`
		Extra    *talkSeal    `json:"extra_content,omitempty"`
	}
	talkFunction struct {
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	}
	// talkSeal is where Google's servers of this dialect keep the seal on a
	// tool call.
	talkSeal struct {
		Google struct {
			Signature string `json:"thought_signature,omitempty"`
		} `json:"google"`
	}
	talkTool struct {
		Type     string   `json:"type"`
		Function toolSpec `json:"function"`
	}
	toolSpec struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters,omitempty"`
		Strict      bool            `json:"strict,omitempty"`
	}
	talkFormat struct {
		Type   string      `json:"type"`
		Schema *talkSchema `json:"json_schema,omitempty"`
	}
	talkSchema struct {
		Name   string          `json:"name"`
		Strict bool            `json:"strict"`
		Schema json.RawMessage `json:"schema"`
	}
)

// Complete holds a client's conversation in one call.
func (m *model) Complete(ctx context.Context, c *provider.Conversation) (*provider.Completion, error) {
	res, err := m.send(ctx, c, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it is read
	return readCompletion(ctx, res, provider.MaxReply)
}

// Stream holds it in one call that is answered piece by piece.
func (m *model) Stream(ctx context.Context, c *provider.Conversation) (*provider.Stream, error) {
	res, err := m.send(ctx, c, true) //nolint:bodyclose // the stream owns it
	if err != nil {
		return nil, err
	}
	return provider.NewStream(ctx, res, true, &decoder{tool: -1})
}

// send makes the call of a conversation; its response is a success. Newer
// models take the bound on tokens under another name than most servers: a
// model that says so is asked again, once for all.
func (m *model) send(ctx context.Context, c *provider.Conversation, stream bool) (*http.Response, error) {
	req, err := newTalk(m.name, c)
	if err != nil {
		return nil, err
	}
	if req.Stream = stream; stream {
		req.StreamOptions = &streamOptions{IncludeUsage: true}
	}
	for {
		renamed := m.completionTokens.Load()
		if renamed {
			req.MaxTokens, req.MaxCompletionTokens = 0, c.MaxTokens
		}
		body, err := provider.Encode(req)
		if err != nil {
			return nil, err
		}
		res, err := m.Send(ctx, provider.ChatCompletions.Path(), "", body, http.Header{})
		if err != nil {
			return nil, err
		}
		if res.StatusCode == http.StatusOK {
			return res, nil
		}
		failed, reply, _ := failure(ctx, res)
		_ = res.Body.Close() // the call is over
		if res.StatusCode == http.StatusBadRequest && !renamed && c.MaxTokens > 0 && bytes.Contains(reply, []byte("max_completion_tokens")) {
			m.completionTokens.Store(true)
			continue
		}
		return nil, failed
	}
}

// newTalk writes a conversation.
func newTalk(model string, c *provider.Conversation) (*talkRequest, error) {
	req := &talkRequest{
		Model: model, MaxTokens: c.MaxTokens, Temperature: c.Temperature, TopP: c.TopP, Seed: c.Seed,
		PresencePenalty: c.PresencePenalty, FrequencyPenalty: c.FrequencyPenalty, Stop: c.Stop, User: c.User,
		ToolChoice: toolChoice(c.Choice), ReasoningEffort: c.Thinking.Effort,
	}
	switch {
	case c.TopK != nil:
		return nil, c.Cannot(provider.FieldTopK, "it has no such field")
	case c.Thinking.Budget > 0:
		return nil, c.Cannot(provider.FieldBudget, "it takes an effort, not a number of tokens")
	case c.Thinking.Effort == "max":
		return nil, c.Cannot(provider.FieldEffort, "its efforts end with xhigh")
	case len(c.Stop) > 4:
		return nil, c.Cannot(provider.FieldStop, "it takes four at most")
	case c.Thinking.Mode == "off":
		req.ReasoningEffort = "none"
	}
	for i := range c.Messages {
		if err := req.add(c, &c.Messages[i]); err != nil {
			return nil, err
		}
	}
	for i := range c.Tools {
		t := &c.Tools[i]
		req.Tools = append(req.Tools, talkTool{Type: "function", Function: toolSpec{Name: t.Name, Description: t.Description, Parameters: t.Schema, Strict: t.Strict}})
	}
	if c.OneTool && len(c.Tools) > 0 {
		req.ParallelToolCalls = new(bool)
	}
	switch c.Format.Kind {
	case "json":
		req.ResponseFormat = &talkFormat{Type: "json_object"}
	case "schema":
		req.ResponseFormat = &talkFormat{Type: "json_schema", Schema: &talkSchema{Name: c.Format.Name, Strict: c.Format.Strict, Schema: c.Format.Schema}}
	}
	return req, nil
}

func toolChoice(c provider.Choice) any {
	switch c.Mode {
	case "":
		return nil
	case "any":
		return "required"
	case "tool":
		return map[string]any{"type": "function", "function": map[string]string{"name": c.Name}}
	}
	return c.Mode
}

// add writes a turn: results of tools as messages of their own, before the
// rest.
func (r *talkRequest) add(c *provider.Conversation, from *provider.Message) error {
	to := talkMessage{Role: string(from.Role)}
	var parts []talkPart
	rest := false
	for i := range from.Blocks {
		b := &from.Blocks[i]
		switch b.Kind {
		case provider.ToolResult:
			text, err := c.ResultText(b)
			if err != nil {
				return err
			}
			if b.Failed {
				text = "Error: " + text
			}
			r.Messages = append(r.Messages, talkMessage{Role: "tool", Content: text, ToolCallID: b.ID})
			continue
		case provider.ToolUse:
			call := talkCall{ID: b.ID, Type: "function", Function: talkFunction{Name: b.Name, Arguments: string(b.Input)}}
			if b.Signature != "" {
				call.Extra = &talkSeal{}
				call.Extra.Google.Signature = b.Signature
			}
			to.ToolCalls = append(to.ToolCalls, call)
		case provider.ThinkingBlock:
			to.Reasoning += b.Text
		default:
			p, err := partOf(c, b)
			if err != nil {
				return err
			}
			parts = append(parts, p)
		}
		rest = true
	}
	switch {
	case !rest:
		return nil
	case len(parts) == 1 && parts[0].Type == "text":
		to.Content = *parts[0].Text
	case len(parts) > 0:
		to.Content = parts
	}
	r.Messages = append(r.Messages, to)
	return nil
}

var audioFormats = map[string]string{"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}

func partOf(c *provider.Conversation, b *provider.Block) (talkPart, error) {
	data := "data:" + b.MIME + ";base64," + b.Data
	switch b.Kind {
	case provider.TextBlock:
		return talkPart{Type: "text", Text: &b.Text}, nil
	case provider.ImageBlock:
		if b.Data == "" {
			data = b.URL
		}
		return talkPart{Type: "image_url", Image: &talkImage{URL: data, Detail: b.Detail}}, nil
	case provider.AudioBlock:
		format, ok := audioFormats[b.MIME]
		if !ok || b.Data == "" {
			return talkPart{}, c.Cannot(b.At, "it takes audio as wav or mp3 data only")
		}
		return talkPart{Type: "input_audio", Audio: &inputAudio{Data: b.Data, Format: format}}, nil
	case provider.DocumentBlock:
		if b.Data == "" {
			return talkPart{}, c.Cannot(b.At, "it takes documents as base64 data only")
		}
		name := b.Name
		if name == "" {
			name = "document"
		}
		return talkPart{Type: "file", File: &talkFile{Data: data, Name: name}}, nil
	default:
		return talkPart{}, c.Cannot(b.At, "it does not take "+string(b.Kind)+" parts")
	}
}
