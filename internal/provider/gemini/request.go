package gemini

import (
	"encoding/json"

	"tandem/internal/provider"
)

// The wire types of a request, as far as conversations need.
type (
	request struct {
		Contents   []content   `json:"contents"`
		System     *content    `json:"systemInstruction,omitempty"`
		Tools      []tools     `json:"tools,omitempty"`
		ToolConfig *toolConfig `json:"toolConfig,omitempty"`
		Config     genConfig   `json:"generationConfig"`
	}
	content struct {
		Role  string `json:"role,omitempty"`
		Parts []part `json:"parts"`
	}
	// part is a piece of a request or a reply.
	part struct {
		Text      *string       `json:"text,omitempty"`
		Thought   bool          `json:"thought,omitempty"`
		Signature string        `json:"thoughtSignature,omitempty"`
		Data      *inlineData   `json:"inlineData,omitempty"`
		Call      *functionCall `json:"functionCall,omitempty"`
		Response  *functionResp `json:"functionResponse,omitempty"`
	}
	inlineData struct {
		MIME string `json:"mimeType"`
		Data string `json:"data"`
	}
	functionCall struct {
		ID   string          `json:"id,omitempty"`
		Name string          `json:"name"`
		Args json.RawMessage `json:"args,omitempty"`
	}
	functionResp struct {
		ID       string            `json:"id,omitempty"`
		Name     string            `json:"name"`
		Response map[string]string `json:"response"`
	}
	tools struct {
		Functions []function `json:"functionDeclarations"`
	}
	function struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parametersJsonSchema,omitempty"`
	}
	toolConfig struct {
		Calling calling `json:"functionCallingConfig"`
	}
	calling struct {
		Mode  string   `json:"mode"`
		Names []string `json:"allowedFunctionNames,omitempty"`
	}
	genConfig struct {
		Temperature      *float64        `json:"temperature,omitempty"`
		TopP             *float64        `json:"topP,omitempty"`
		TopK             *int            `json:"topK,omitempty"`
		Seed             *int64          `json:"seed,omitempty"`
		MaxTokens        int             `json:"maxOutputTokens,omitempty"`
		Stop             []string        `json:"stopSequences,omitempty"`
		PresencePenalty  *float64        `json:"presencePenalty,omitempty"`
		FrequencyPenalty *float64        `json:"frequencyPenalty,omitempty"`
		MIME             string          `json:"responseMimeType,omitempty"`
		JSONSchema       json.RawMessage `json:"responseJsonSchema,omitempty"`
		Schema           *enumSchema     `json:"responseSchema,omitempty"`
		Thinking         *thinking       `json:"thinkingConfig,omitempty"`
	}
	enumSchema struct {
		Type string   `json:"type"`
		Enum []string `json:"enum"`
	}
	thinking struct {
		Budget  *int   `json:"thinkingBudget,omitempty"`
		Level   string `json:"thinkingLevel,omitempty"`
		Include bool   `json:"includeThoughts,omitempty"`
	}
)

// question encodes a task's question. The most binding format is Gemini's own
// for a choice: a text that is one of an enum.
func question(q provider.Question, how provider.Asked) ([]byte, error) {
	names := provider.LabelNames(q.Task)
	bare := how.Format == plain || how.Format == enum && names != nil
	c, err := q.Conversation(!bare)
	if err != nil {
		return nil, err
	}
	if !how.Warm {
		c.Temperature = new(float64)
	}
	if !bare {
		schema, err := provider.Encode(provider.AnswerSchema(q.Task))
		if err != nil {
			return nil, err
		}
		c.Format = provider.Format{Kind: "schema", Schema: schema}
	}
	req, err := newRequest(c)
	if err != nil {
		return nil, provider.Unreadable(err)
	}
	if bare && how.Format == enum {
		req.Config.MIME, req.Config.Schema = "text/x.enum", &enumSchema{Type: "STRING", Enum: names}
	}
	return provider.Encode(req)
}

// newRequest writes a conversation.
func newRequest(c *provider.Conversation) (*request, error) {
	system, turns, err := c.Leading()
	if err != nil {
		return nil, err
	}
	req := &request{Config: genConfig{
		Temperature: c.Temperature, TopP: c.TopP, TopK: c.TopK, Seed: c.Seed, MaxTokens: c.MaxTokens, Stop: c.Stop,
		PresencePenalty: c.PresencePenalty, FrequencyPenalty: c.FrequencyPenalty,
	}}
	names := provider.ToolNames{}
	if len(system) > 0 {
		parts, err := parts(c, system, names)
		if err != nil {
			return nil, err
		}
		req.System = &content{Parts: parts}
	}
	for i := range turns {
		names.See(&turns[i])
		parts, err := parts(c, turns[i].Blocks, names)
		if err != nil {
			return nil, err
		}
		role := "user"
		if turns[i].Role == provider.Assistant {
			role = "model"
		}
		// Results of parallel tool calls belong into one turn.
		if last := len(req.Contents) - 1; last >= 0 && req.Contents[last].Role == role {
			req.Contents[last].Parts = append(req.Contents[last].Parts, parts...)
			continue
		}
		req.Contents = append(req.Contents, content{Role: role, Parts: parts})
	}
	if err := req.addTools(c); err != nil {
		return nil, err
	}
	switch c.Format.Kind {
	case "json":
		req.Config.MIME = "application/json"
	case "schema":
		req.Config.MIME, req.Config.JSONSchema = "application/json", c.Format.Schema
	}
	if req.Config.Thinking, err = thought(c); err != nil {
		return nil, err
	}
	if c.User != "" {
		c.Drop(provider.FieldUser)
	}
	return req, nil
}

// addTools declares the tools and how they may be used.
func (r *request) addTools(c *provider.Conversation) error {
	if c.OneTool {
		return c.Cannot(provider.FieldOneTool, "it cannot be held to one tool call")
	}
	strict := false
	var declared []function
	for i := range c.Tools {
		t := &c.Tools[i]
		strict = strict || t.Strict
		declared = append(declared, function{Name: t.Name, Description: t.Description, Parameters: t.Schema})
	}
	if len(declared) > 0 {
		r.Tools = []tools{{Functions: declared}}
	}
	mode, ok := map[string]string{"auto": "AUTO", "none": "NONE", "any": "ANY", "tool": "ANY"}[c.Choice.Mode]
	if strict && (mode == "" || mode == "AUTO") {
		mode, ok = "VALIDATED", true // the model chooses, and keeps to the schemas
	}
	if ok && len(declared) > 0 {
		r.ToolConfig = &toolConfig{Calling: calling{Mode: mode}}
		if c.Choice.Mode == "tool" {
			r.ToolConfig.Calling.Names = []string{c.Choice.Name}
		}
	}
	return nil
}

func thought(c *provider.Conversation) (*thinking, error) {
	t := c.Thinking
	switch t.Effort {
	case "", "minimal", "low", "medium", "high":
	case "none":
		t.Mode, t.Effort = "off", ""
	default:
		return nil, c.Cannot(provider.FieldEffort, "its efforts are minimal, low, medium and high")
	}
	switch {
	case !t.Given():
		return nil, nil //nolint:nilnil // nothing was said about it
	case t.Mode == "off":
		return &thinking{Budget: new(int)}, nil
	case t.Budget > 0 && t.Effort != "":
		return nil, c.Cannot(provider.FieldBudget, "it takes either an effort or a budget")
	case t.Budget > 0:
		return &thinking{Budget: &t.Budget, Include: t.Mode == "on"}, nil
	}
	return &thinking{Level: t.Effort, Include: t.Mode == "on"}, nil
}

// parts writes blocks of content. names are the tools used so far.
func parts(c *provider.Conversation, from []provider.Block, names provider.ToolNames) ([]part, error) {
	out := make([]part, 0, len(from))
	for i := range from {
		b := &from[i]
		switch b.Kind {
		case provider.TextBlock:
			out = append(out, part{Text: &b.Text, Signature: b.Signature})
		case provider.ThinkingBlock:
			out = append(out, part{Text: &b.Text, Thought: true, Signature: b.Signature})
		case provider.ImageBlock, provider.AudioBlock, provider.DocumentBlock:
			switch {
			case b.Data == "":
				return nil, c.Cannot(b.At, "it takes files as base64 data only")
			case b.Detail != "":
				return nil, c.Cannot(b.At, "it cannot be told the detail to look at an image with")
			}
			out = append(out, part{Data: &inlineData{MIME: b.MIME, Data: b.Data}})
		case provider.ToolUse:
			call := &functionCall{ID: b.ID, Name: b.Name, Args: b.Input}
			if provider.OwnCallID(b.ID) {
				call.ID = ""
			}
			out = append(out, part{Call: call, Signature: b.Signature})
		case provider.ToolResult:
			name, ok := names[b.ID]
			if !ok {
				return nil, c.Cannot(b.At, "it is the result of a tool call that is not in the conversation")
			}
			text, err := c.ResultText(b)
			if err != nil {
				return nil, err
			}
			key := "output"
			if b.Failed {
				key = "error"
			}
			r := &functionResp{ID: b.ID, Name: name, Response: map[string]string{key: text}}
			if provider.OwnCallID(b.ID) {
				r.ID = ""
			}
			out = append(out, part{Response: r})
		default:
			return nil, c.Cannot(b.At, "it does not take "+string(b.Kind)+" parts")
		}
	}
	return out, nil
}
