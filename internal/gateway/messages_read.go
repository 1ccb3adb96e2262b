package gateway

import (
	"encoding/json"
	"strings"

	"tandem/internal/provider"
)

// messagesDialect translates Anthropic's Messages.
type messagesDialect struct{}

// messagesCall holds every field of a request: those that conversations have,
// and those that must say nothing because they have not.
type messagesCall struct {
	Model         string          `json:"model"`
	MaxTokens     *int            `json:"max_tokens"`
	Messages      json.RawMessage `json:"messages"`
	System        json.RawMessage `json:"system"`
	Metadata      json.RawMessage `json:"metadata"`
	StopSequences []string        `json:"stop_sequences"`
	Stream        bool            `json:"stream"`
	Temperature   *float64        `json:"temperature"`
	TopP          *float64        `json:"top_p"`
	TopK          *int            `json:"top_k"`
	Tools         json.RawMessage `json:"tools"`
	ToolChoice    json.RawMessage `json:"tool_choice"`
	Thinking      json.RawMessage `json:"thinking"`
	OutputConfig  json.RawMessage `json:"output_config"`
	OutputFormat  json.RawMessage `json:"output_format"`
	CacheControl  json.RawMessage `json:"cache_control"`

	ServiceTier       json.RawMessage `json:"service_tier"`
	Container         json.RawMessage `json:"container"`
	ContextManagement json.RawMessage `json:"context_management"`
	MCPServers        json.RawMessage `json:"mcp_servers"`
	InferenceGeo      json.RawMessage `json:"inference_geo"`
	Speed             json.RawMessage `json:"speed"`
}

// messagesNames are the dialect's names of the fields of conversations.
func messagesNames() map[string]string {
	return map[string]string{
		provider.FieldStop: "stop_sequences", provider.FieldFormat: "output_config.format", provider.FieldEffort: "output_config.effort",
		provider.FieldUser: "metadata.user_id", provider.FieldOneTool: "tool_choice.disable_parallel_tool_use",
	}
}

// read makes a conversation of a request.
func (messagesDialect) read(body []byte) (*conversation, error) {
	var req messagesCall
	if err := strict(body, "", &req); err != nil {
		return nil, err
	}
	if err := allNeutral("", neutral{"service_tier", req.ServiceTier, []string{`"auto"`}}, neutral{"container", req.Container, nil},
		neutral{"context_management", req.ContextManagement, []string{"{}"}}, neutral{"mcp_servers", req.MCPServers, []string{"[]"}},
		neutral{"inference_geo", req.InferenceGeo, nil}, neutral{"speed", req.Speed, []string{`"standard"`}}); err != nil {
		return nil, err
	}
	if req.MaxTokens == nil || *req.MaxTokens < 1 {
		return nil, invalid("max_tokens", `"max_tokens" is missing or not positive`)
	}
	c := &provider.Conversation{
		MaxTokens: *req.MaxTokens, Stop: req.StopSequences, Temperature: req.Temperature, TopP: req.TopP, TopK: req.TopK, Names: messagesNames(),
	}
	var meta struct {
		UserID string `json:"user_id"`
	}
	if given(req.Metadata) {
		if err := strict(req.Metadata, "metadata", &meta); err != nil {
			return nil, err
		}
		c.User = meta.UserID
	}
	cached(c, req.CacheControl)
	for _, read := range []func() error{
		func() error { return readSystem(c, req.System) },
		func() error { return readMessages(c, req.Messages) },
		func() error { return readTools(c, req.Tools) },
		func() error { return readChoice(c, req.ToolChoice) },
		func() error { return readOutput(c, req.OutputConfig, req.OutputFormat) },
		func() error { return readThinking(c, req.Thinking) },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return &conversation{Conversation: c, stream: req.Stream, writer: &messagesWriter{}}, nil
}

// cached notes a hint about what to cache.
func cached(c *provider.Conversation, raw json.RawMessage) {
	if given(raw) {
		c.Drop("cache_control")
	}
}

func readSystem(c *provider.Conversation, raw json.RawMessage) error {
	blocks, err := readBlocks(c, raw, "system")
	if err != nil {
		return err
	}
	for i := range blocks {
		if blocks[i].Kind != provider.TextBlock {
			return invalid(blocks[i].At, "the system prompt is text")
		}
	}
	if len(blocks) > 0 {
		c.Messages = append(c.Messages, provider.Message{Role: provider.System, Blocks: blocks, At: "system"})
	}
	return nil
}

func readMessages(c *provider.Conversation, raw json.RawMessage) error {
	messages, err := list(raw, "messages")
	if err != nil {
		return err
	}
	for i := range messages {
		at := item("messages", i)
		var m struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		}
		if err := strict(messages[i], at, &m); err != nil {
			return err
		}
		to := provider.Message{At: at, Role: provider.Role(m.Role)}
		if to.Role != provider.User && to.Role != provider.Assistant {
			return invalid(at+".role", `the role must be "user" or "assistant"`)
		}
		if to.Blocks, err = readBlocks(c, m.Content, at+".content"); err != nil {
			return err
		}
		c.Messages = append(c.Messages, to)
	}
	return nil
}

// messagesBlock holds every field of the blocks that conversations have.
type messagesBlock struct {
	Type         string          `json:"type"`
	Text         string          `json:"text"`
	Source       json.RawMessage `json:"source"`
	Title        string          `json:"title"`
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Input        json.RawMessage `json:"input"`
	ToolUseID    string          `json:"tool_use_id"`
	Content      json.RawMessage `json:"content"`
	IsError      bool            `json:"is_error"`
	Thinking     string          `json:"thinking"`
	Signature    string          `json:"signature"`
	Data         string          `json:"data"`
	CacheControl json.RawMessage `json:"cache_control"`

	Citations json.RawMessage `json:"citations"`
	Context   json.RawMessage `json:"context"`
	Caller    json.RawMessage `json:"caller"`
}

// readBlocks reads a string or a list of blocks.
func readBlocks(c *provider.Conversation, raw json.RawMessage, at string) ([]provider.Block, error) {
	if !given(raw) {
		return nil, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []provider.Block{{Kind: provider.TextBlock, Text: text, At: at}}, nil
	}
	items, err := list(raw, at)
	if err != nil {
		return nil, err
	}
	blocks := make([]provider.Block, 0, len(items))
	for i := range items {
		b, err := readBlock(c, items[i], item(at, i))
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

func readBlock(c *provider.Conversation, raw json.RawMessage, at string) (provider.Block, error) {
	b := provider.Block{At: at}
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return b, invalid(at, "it is no block")
	}
	switch kind.Type {
	case "text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking":
	default: // its fields are its own too
		return b, cannotCarry(at + ".type")
	}
	var m messagesBlock
	if err := strict(raw, at, &m); err != nil {
		return b, err
	}
	if err := allNeutral(at, neutral{"citations", m.Citations, []string{"[]", `{"enabled":false}`}}, neutral{"context", m.Context, []string{`""`}},
		neutral{"caller", m.Caller, []string{`{"type":"direct"}`}}); err != nil {
		return b, err
	}
	cached(c, m.CacheControl)
	switch m.Type {
	case "text":
		b.Kind, b.Text = provider.TextBlock, m.Text
	case "image":
		b.Kind = provider.ImageBlock
		err := readSource(&b, m.Source)
		return b, err
	case "document":
		b.Kind, b.Name = provider.DocumentBlock, m.Title
		err := readSource(&b, m.Source)
		return b, err
	case "tool_use":
		b.Kind, b.ID, b.Name, b.Signature = provider.ToolUse, m.ID, m.Name, m.Signature
		if b.Input = object(m.Input); given(m.Input) && !strings.HasPrefix(strings.TrimSpace(string(m.Input)), "{") {
			return b, invalid(at+".input", "the input must be an object")
		}
	case "tool_result":
		b.Kind, b.ID, b.Failed = provider.ToolResult, m.ToolUseID, m.IsError
		var err error
		if b.Result, err = readBlocks(c, m.Content, at+".content"); err != nil {
			return b, err
		}
	case "thinking":
		b.Kind, b.Text, b.Signature = provider.ThinkingBlock, m.Thinking, m.Signature
	case "redacted_thinking":
		b.Kind, b.Text = provider.SealedBlock, m.Data
	}
	return b, nil
}

// readSource reads where the bytes of an image or a document are.
func readSource(b *provider.Block, raw json.RawMessage) error {
	var s struct {
		Type      string `json:"type"`
		MediaType string `json:"media_type"`
		Data      string `json:"data"`
		URL       string `json:"url"`
	}
	at := b.At + ".source"
	if !given(raw) {
		return invalid(at, "the source is missing")
	}
	var kind struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &kind) == nil && kind.Type != "base64" && kind.Type != "url" && kind.Type != "text" {
		return cannotCarry(at + ".type") // a file of one provider
	}
	if err := strict(raw, at, &s); err != nil {
		return err
	}
	switch {
	case s.Type == "base64" && s.Data != "" && isMIME(s.MediaType):
		b.MIME, b.Data = s.MediaType, s.Data
	case s.Type == "url" && s.URL != "":
		b.URL = s.URL
	case s.Type == "text" && b.Kind == provider.DocumentBlock:
		b.MIME, b.Text = "text/plain", s.Data
	default:
		return invalid(at, "the source needs base64 data with its media_type, or a url")
	}
	return nil
}

func readTools(c *provider.Conversation, raw json.RawMessage) error {
	tools, err := list(raw, "tools")
	if err != nil {
		return err
	}
	for i := range tools {
		at := item("tools", i)
		var kind struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(tools[i], &kind) == nil && kind.Type != "" && kind.Type != "custom" {
			return cannotCarry(at + ".type") // a tool that Anthropic runs or has trained
		}
		var t struct {
			Type         string          `json:"type"`
			Name         string          `json:"name"`
			Description  string          `json:"description"`
			InputSchema  json.RawMessage `json:"input_schema"`
			Strict       bool            `json:"strict"`
			CacheControl json.RawMessage `json:"cache_control"`
			DeferLoading json.RawMessage `json:"defer_loading"`
			EagerInput   json.RawMessage `json:"eager_input_streaming"`
		}
		if err := strict(tools[i], at, &t); err != nil {
			return err
		}
		if err := allNeutral(at, neutral{"defer_loading", t.DeferLoading, []string{"false"}}, neutral{"eager_input_streaming", t.EagerInput, []string{"false", "true"}}); err != nil {
			return err
		}
		cached(c, t.CacheControl)
		c.Tools = append(c.Tools, provider.Tool{Name: t.Name, Description: t.Description, Schema: t.InputSchema, Strict: t.Strict, At: at})
	}
	return nil
}

func readChoice(c *provider.Conversation, raw json.RawMessage) error {
	if !given(raw) {
		return nil
	}
	var t struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		OneTool bool   `json:"disable_parallel_tool_use"`
	}
	if err := strict(raw, "tool_choice", &t); err != nil {
		return err
	}
	switch t.Type {
	case "auto", "any", "none", "tool":
	default:
		return invalid("tool_choice.type", `"tool_choice" must be of the type auto, any, tool or none`)
	}
	c.Choice, c.OneTool = provider.Choice{Mode: t.Type, Name: t.Name}, t.OneTool
	return nil
}

func readOutput(c *provider.Conversation, config, format json.RawMessage) error {
	var o struct {
		Effort string          `json:"effort"`
		Format json.RawMessage `json:"format"`
	}
	if given(config) {
		if err := strict(config, "output_config", &o); err != nil {
			return err
		}
	}
	at := "output_config.format"
	if given(format) {
		o.Format, at = format, "output_format"
	}
	c.Thinking.Effort = o.Effort
	if !given(o.Format) {
		return nil
	}
	var f struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
	if err := strict(o.Format, at, &f); err != nil {
		return err
	}
	if f.Type != "json_schema" || !given(f.Schema) {
		return cannotCarry(at + ".type")
	}
	c.Format = provider.Format{Kind: "schema", Name: "answer", Schema: f.Schema, Strict: true}
	return nil
}

func readThinking(c *provider.Conversation, raw json.RawMessage) error {
	if !given(raw) {
		return nil
	}
	var t struct {
		Type    string          `json:"type"`
		Budget  int             `json:"budget_tokens"`
		Display json.RawMessage `json:"display"`
	}
	if err := strict(raw, "thinking", &t); err != nil {
		return err
	}
	if err := allNeutral("thinking", neutral{"display", t.Display, []string{`"summarized"`}}); err != nil {
		return err
	}
	switch t.Type {
	case "disabled":
		c.Thinking.Mode = "off"
	case "adaptive":
		c.Thinking.Mode = "on"
	case "enabled":
		c.Thinking.Mode, c.Thinking.Budget = "on", t.Budget
	default:
		return cannotCarry("thinking.type")
	}
	return nil
}
