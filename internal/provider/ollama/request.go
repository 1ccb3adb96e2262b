package ollama

import (
	"encoding/json"

	"tandem/internal/provider"
)

// The wire types of a request, as far as conversations need.
type (
	request struct {
		Model    string          `json:"model"`
		Messages []message       `json:"messages"`
		Stream   bool            `json:"stream"` // Ollama streams unless told not to
		Tools    []toolSpec      `json:"tools,omitempty"`
		Format   json.RawMessage `json:"format,omitempty"`
		Think    any             `json:"think,omitempty"` // true, false or an effort
		Options  options         `json:"options"`
	}
	message struct {
		Role     string     `json:"role"`
		Content  string     `json:"content"`
		Thinking string     `json:"thinking,omitempty"`
		Images   []string   `json:"images,omitempty"`
		Calls    []toolCall `json:"tool_calls,omitempty"`
		ToolName string     `json:"tool_name,omitempty"`
	}
	toolCall struct {
		Function struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"function"`
	}
	toolSpec struct {
		Type     string   `json:"type"`
		Function function `json:"function"`
	}
	function struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters"`
	}
	options struct {
		Context          int      `json:"num_ctx,omitempty"`
		MaxTokens        int      `json:"num_predict,omitempty"`
		Temperature      *float64 `json:"temperature,omitempty"`
		TopP             *float64 `json:"top_p,omitempty"`
		TopK             *int     `json:"top_k,omitempty"`
		Seed             *int64   `json:"seed,omitempty"`
		Stop             []string `json:"stop,omitempty"`
		PresencePenalty  *float64 `json:"presence_penalty,omitempty"`
		FrequencyPenalty *float64 `json:"frequency_penalty,omitempty"`
	}
)

// question encodes a task's question.
func (m *model) question(q provider.Question, how provider.Asked) ([]byte, error) {
	c, err := q.Conversation(how.Format != plain)
	if err != nil {
		return nil, err
	}
	if !how.Warm {
		c.Temperature = new(float64)
	}
	switch how.Format {
	case jsonSchema:
		schema, err := provider.Encode(provider.AnswerSchema(q.Task))
		if err != nil {
			return nil, err
		}
		c.Format = provider.Format{Kind: "schema", Schema: schema}
	case jsonMode:
		c.Format.Kind = "json"
	}
	req, err := m.request(c)
	if err != nil {
		return nil, provider.Unreadable(err)
	}
	return provider.Encode(req)
}

// request writes a conversation.
func (m *model) request(c *provider.Conversation) (*request, error) {
	req := &request{Model: m.name, Options: options{
		Context: m.context, MaxTokens: c.MaxTokens, Temperature: c.Temperature, TopP: c.TopP, TopK: c.TopK, Seed: c.Seed, Stop: c.Stop,
		PresencePenalty: c.PresencePenalty, FrequencyPenalty: c.FrequencyPenalty,
	}}
	names := provider.ToolNames{}
	for i := range c.Messages {
		names.See(&c.Messages[i])
		if err := req.add(c, &c.Messages[i], names); err != nil {
			return nil, err
		}
	}
	if err := req.addTools(c); err != nil {
		return nil, err
	}
	switch c.Format.Kind {
	case "json":
		req.Format = json.RawMessage(`"json"`)
	case "schema":
		req.Format = c.Format.Schema
	}
	if err := req.think(c); err != nil {
		return nil, err
	}
	if c.User != "" {
		c.Drop(provider.FieldUser)
	}
	return req, nil
}

// add writes a turn: results of tools as messages of their own, before the
// rest.
func (r *request) add(c *provider.Conversation, from *provider.Message, names provider.ToolNames) error {
	to := message{Role: string(from.Role)}
	rest := false
	for i := range from.Blocks {
		b := &from.Blocks[i]
		switch b.Kind {
		case provider.TextBlock:
			if to.Content != "" {
				to.Content += "\n"
			}
			to.Content += b.Text
		case provider.ThinkingBlock:
			to.Thinking += b.Text
		case provider.ImageBlock:
			switch {
			case b.Data == "":
				return c.Cannot(b.At, "it takes images as base64 data only")
			case b.Detail != "":
				return c.Cannot(b.At, "it cannot be told the detail to look at an image with")
			}
			to.Images = append(to.Images, b.Data)
		case provider.ToolUse:
			var call toolCall
			call.Function.Name, call.Function.Arguments = b.Name, b.Input
			to.Calls = append(to.Calls, call)
		case provider.ToolResult:
			name, ok := names[b.ID]
			if !ok {
				return c.Cannot(b.At, "it is the result of a tool call that is not in the conversation")
			}
			text, err := c.ResultText(b)
			if err != nil {
				return err
			}
			if b.Failed {
				text = "Error: " + text
			}
			r.Messages = append(r.Messages, message{Role: "tool", Content: text, ToolName: name})
			continue
		default:
			return c.Cannot(b.At, "it does not take "+string(b.Kind)+" parts")
		}
		rest = true
	}
	if rest {
		r.Messages = append(r.Messages, to)
	}
	return nil
}

// addTools declares the tools; that none may be used is said by leaving them
// out.
func (r *request) addTools(c *provider.Conversation) error {
	switch {
	case c.OneTool:
		return c.Cannot(provider.FieldOneTool, "it cannot be held to one tool call")
	case c.Choice.Mode == "any" || c.Choice.Mode == "tool":
		return c.Cannot(provider.FieldChoice, "it cannot be made to use a tool")
	case c.Choice.Mode == "none":
		return nil
	}
	for i := range c.Tools {
		t := &c.Tools[i]
		if t.Strict {
			return c.Cannot(t.At+".strict", "it cannot be held to a tool's schema")
		}
		spec := toolSpec{Type: "function", Function: function{Name: t.Name, Description: t.Description, Parameters: t.Schema}}
		if len(t.Schema) == 0 {
			spec.Function.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		r.Tools = append(r.Tools, spec)
	}
	return nil
}

func (r *request) think(c *provider.Conversation) error {
	t := c.Thinking
	switch {
	case t.Budget > 0:
		return c.Cannot(provider.FieldBudget, "it takes an effort, not a number of tokens")
	case t.Effort == "none" || t.Mode == "off":
		r.Think = false
	case t.Effort == "low" || t.Effort == "medium" || t.Effort == "high":
		r.Think = t.Effort
	case t.Effort != "":
		return c.Cannot(provider.FieldEffort, "its efforts are none, low, medium and high")
	case t.Mode == "on":
		r.Think = true
	}
	return nil
}
