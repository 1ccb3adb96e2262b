package anthropic

import (
	"encoding/json"
	"strings"

	"tandem/internal/provider"
)

// The wire types of a request, as far as conversations need.
type (
	request struct {
		Model        string        `json:"model"`
		MaxTokens    int           `json:"max_tokens"`
		System       []block       `json:"system,omitempty"`
		Messages     []message     `json:"messages"`
		Stream       bool          `json:"stream,omitempty"`
		Temperature  *float64      `json:"temperature,omitempty"`
		TopP         *float64      `json:"top_p,omitempty"`
		TopK         *int          `json:"top_k,omitempty"`
		Stop         []string      `json:"stop_sequences,omitempty"`
		Tools        []toolSpec    `json:"tools,omitempty"`
		ToolChoice   *toolChoice   `json:"tool_choice,omitempty"`
		Thinking     *thinking     `json:"thinking,omitempty"`
		OutputConfig *outputConfig `json:"output_config,omitempty"`
		Metadata     *metadata     `json:"metadata,omitempty"`
	}
	message struct {
		Role    provider.Role `json:"role"`
		Content []block       `json:"content"`
	}
	// block is a content block of a request or a reply.
	block struct {
		Type      string          `json:"type"`
		Text      string          `json:"text,omitempty"`
		Source    *source         `json:"source,omitempty"`
		Title     string          `json:"title,omitempty"`
		ID        string          `json:"id,omitempty"`
		Name      string          `json:"name,omitempty"`
		Input     json.RawMessage `json:"input,omitempty"`
		ToolUseID string          `json:"tool_use_id,omitempty"`
		Content   []block         `json:"content,omitempty"`
		IsError   bool            `json:"is_error,omitempty"`
		Thinking  string          `json:"thinking,omitempty"`
		Signature string          `json:"signature,omitempty"`
		Data      string          `json:"data,omitempty"`
	}
	source struct {
		Type      string `json:"type"`
		MediaType string `json:"media_type,omitempty"`
		Data      string `json:"data,omitempty"`
		URL       string `json:"url,omitempty"`
	}
	toolSpec struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		InputSchema json.RawMessage `json:"input_schema"`
		Strict      bool            `json:"strict,omitempty"`
	}
	toolChoice struct {
		Type    string `json:"type"`
		Name    string `json:"name,omitempty"`
		OneTool bool   `json:"disable_parallel_tool_use,omitempty"`
	}
	thinking struct {
		Type   string `json:"type"`
		Budget int    `json:"budget_tokens,omitempty"`
	}
	outputConfig struct {
		Effort string        `json:"effort,omitempty"`
		Format *outputFormat `json:"format,omitempty"`
	}
	outputFormat struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
	metadata struct {
		UserID string `json:"user_id"`
	}
)

// answerTokens is room enough for any label in any format.
const answerTokens = 1024

// question encodes a task's question.
func (m *model) question(q provider.Question, how provider.Asked) ([]byte, error) {
	c, err := q.Conversation(how.Format != plain)
	if err != nil {
		return nil, err
	}
	c.MaxTokens = answerTokens
	if !how.Warm {
		c.Temperature = new(float64)
	}
	schema, err := provider.Encode(provider.AnswerSchema(q.Task))
	if err != nil {
		return nil, err
	}
	switch how.Format {
	case jsonSchema:
		c.Format = provider.Format{Kind: "schema", Schema: schema}
	case tool:
		c.Tools = []provider.Tool{{Name: "answer", Description: "Gives the answer.", Schema: schema}}
		c.Choice = provider.Choice{Mode: "tool", Name: "answer"}
	}
	req, err := m.request(c)
	if err != nil {
		return nil, provider.Unreadable(err)
	}
	return provider.Encode(req)
}

// request writes a conversation.
func (m *model) request(c *provider.Conversation) (*request, error) {
	if err := refuse(c); err != nil {
		return nil, err
	}
	system, turns, err := c.Leading()
	if err != nil {
		return nil, err
	}
	req := &request{
		Model: m.name, MaxTokens: c.MaxTokens, Temperature: c.Temperature, TopP: c.TopP, TopK: c.TopK, Stop: c.Stop,
		Thinking: thought(c.Thinking), ToolChoice: choice(c),
	}
	if req.MaxTokens == 0 {
		req.MaxTokens = m.maxTokens
	}
	if req.System, err = blocks(c, system); err != nil {
		return nil, err
	}
	for i := range turns {
		content, err := blocks(c, turns[i].Blocks)
		if err != nil {
			return nil, err
		}
		// Results of parallel tool calls belong into one turn.
		if last := len(req.Messages) - 1; last >= 0 && req.Messages[last].Role == turns[i].Role {
			req.Messages[last].Content = append(req.Messages[last].Content, content...)
			continue
		}
		req.Messages = append(req.Messages, message{Role: turns[i].Role, Content: content})
	}
	for i := range c.Tools {
		t := &c.Tools[i]
		spec := toolSpec{Name: t.Name, Description: t.Description, InputSchema: t.Schema, Strict: t.Strict}
		if len(spec.InputSchema) == 0 {
			spec.InputSchema = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		req.Tools = append(req.Tools, spec)
	}
	if c.Format.Kind == "schema" {
		req.OutputConfig = &outputConfig{Format: &outputFormat{Type: "json_schema", Schema: c.Format.Schema}}
	}
	if e := c.Thinking.Effort; e != "" && e != "none" {
		if req.OutputConfig == nil {
			req.OutputConfig = &outputConfig{}
		}
		req.OutputConfig.Effort = e
	}
	if c.User != "" {
		req.Metadata = &metadata{UserID: c.User}
	}
	return req, nil
}

// refuse names what the API has no place for.
func refuse(c *provider.Conversation) error {
	switch {
	case c.Temperature != nil && (*c.Temperature < 0 || *c.Temperature > 1):
		return c.Cannot(provider.FieldTemperature, "its temperatures reach from 0 to 1")
	case c.Seed != nil:
		return c.Cannot(provider.FieldSeed, "it has no seed")
	case c.PresencePenalty != nil && *c.PresencePenalty != 0:
		return c.Cannot(provider.FieldPresence, "it has no such penalty")
	case c.FrequencyPenalty != nil && *c.FrequencyPenalty != 0:
		return c.Cannot(provider.FieldFrequency, "it has no such penalty")
	case c.Format.Kind == "json":
		return c.Cannot(provider.FieldFormat, "it writes JSON by a schema only; send a json_schema")
	case c.Thinking.Effort == "minimal":
		return c.Cannot(provider.FieldEffort, "its least effort is low; none turns thinking off")
	}
	return nil
}

func thought(t provider.Thinking) *thinking {
	switch {
	case t.Mode == "off" || t.Effort == "none":
		return &thinking{Type: "disabled"}
	case t.Budget > 0:
		return &thinking{Type: "enabled", Budget: t.Budget}
	case t.Mode == "on":
		return &thinking{Type: "adaptive"}
	}
	return nil
}

func choice(c *provider.Conversation) *toolChoice {
	mode := c.Choice.Mode
	if mode == "" && c.OneTool && len(c.Tools) > 0 {
		mode = "auto"
	}
	if mode == "" {
		return nil
	}
	return &toolChoice{Type: mode, Name: c.Choice.Name, OneTool: c.OneTool && mode != "none"}
}

// blocks writes blocks of content.
func blocks(c *provider.Conversation, from []provider.Block) ([]block, error) {
	out := make([]block, 0, len(from))
	for i := range from {
		b := &from[i]
		switch b.Kind {
		case provider.TextBlock:
			if strings.TrimSpace(b.Text) != "" { // empty texts are an error there and say nothing
				out = append(out, block{Type: "text", Text: b.Text})
			}
		case provider.ImageBlock:
			if b.Detail != "" {
				return nil, c.Cannot(b.At, "it cannot be told the detail to look at an image with")
			}
			out = append(out, block{Type: "image", Source: sourceOf(b)})
		case provider.DocumentBlock:
			out = append(out, block{Type: "document", Source: sourceOf(b), Title: b.Name})
		case provider.ToolUse:
			out = append(out, block{Type: "tool_use", ID: b.ID, Name: b.Name, Input: b.Input})
		case provider.ToolResult:
			content, err := blocks(c, b.Result)
			if err != nil {
				return nil, err
			}
			out = append(out, block{Type: "tool_result", ToolUseID: b.ID, Content: content, IsError: b.Failed})
		case provider.ThinkingBlock:
			if b.Signature == "" {
				return nil, c.Cannot(b.At, "it takes back only thoughts that it has signed")
			}
			out = append(out, block{Type: "thinking", Thinking: b.Text, Signature: b.Signature})
		case provider.SealedBlock:
			out = append(out, block{Type: "redacted_thinking", Data: b.Text})
		default:
			return nil, c.Cannot(b.At, "it does not take "+string(b.Kind)+" parts")
		}
	}
	return out, nil
}

func sourceOf(b *provider.Block) *source {
	switch {
	case b.Data == "" && b.URL != "":
		return &source{Type: "url", URL: b.URL}
	case b.Data == "" && b.Kind == provider.DocumentBlock:
		return &source{Type: "text", MediaType: "text/plain", Data: b.Text}
	}
	return &source{Type: "base64", MediaType: b.MIME, Data: b.Data}
}
