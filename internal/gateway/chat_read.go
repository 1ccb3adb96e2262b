package gateway

import (
	"encoding/json"
	"mime"
	"strings"
	"time"

	"tandem/internal/provider"
)

// chatDialect translates chat completions.
type chatDialect struct{}

// chatCall holds every field of a chat completion: those that conversations
// have, and those that must say nothing.
type chatCall struct {
	Model         string          `json:"model"`
	Messages      json.RawMessage `json:"messages"`
	Stream        bool            `json:"stream"`
	StreamOptions json.RawMessage `json:"stream_options"`

	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	Temperature         *float64        `json:"temperature"`
	TopP                *float64        `json:"top_p"`
	TopK                *int            `json:"top_k"`
	Seed                *int64          `json:"seed"`
	PresencePenalty     *float64        `json:"presence_penalty"`
	FrequencyPenalty    *float64        `json:"frequency_penalty"`
	Stop                json.RawMessage `json:"stop"`
	Tools               json.RawMessage `json:"tools"`
	ToolChoice          json.RawMessage `json:"tool_choice"`
	ParallelToolCalls   *bool           `json:"parallel_tool_calls"`
	ResponseFormat      json.RawMessage `json:"response_format"`
	ReasoningEffort     string          `json:"reasoning_effort"`
	User                string          `json:"user"`
	SafetyIdentifier    string          `json:"safety_identifier"`
	PromptCacheKey      string          `json:"prompt_cache_key"`
	CacheRetention      json.RawMessage `json:"prompt_cache_retention"`

	chatSilent
}

// chatSilent holds the fields that conversations have not.
type chatSilent struct {
	N            json.RawMessage `json:"n"`
	Logprobs     json.RawMessage `json:"logprobs"`
	TopLogprobs  json.RawMessage `json:"top_logprobs"`
	LogitBias    json.RawMessage `json:"logit_bias"`
	Modalities   json.RawMessage `json:"modalities"`
	Store        json.RawMessage `json:"store"`
	Metadata     json.RawMessage `json:"metadata"`
	ServiceTier  json.RawMessage `json:"service_tier"`
	Functions    json.RawMessage `json:"functions"`
	FunctionCall json.RawMessage `json:"function_call"`
	Audio        json.RawMessage `json:"audio"`
	Prediction   json.RawMessage `json:"prediction"`
	WebSearch    json.RawMessage `json:"web_search_options"`
	Verbosity    json.RawMessage `json:"verbosity"`
}

// read makes a conversation of a chat completion.
func (chatDialect) read(body []byte) (*conversation, error) {
	var req chatCall
	if err := strict(body, "", &req); err != nil {
		return nil, err
	}
	if err := allNeutral("", neutral{"n", req.N, []string{"1"}}, neutral{"logprobs", req.Logprobs, []string{"false"}},
		neutral{"top_logprobs", req.TopLogprobs, []string{"0"}}, neutral{"logit_bias", req.LogitBias, []string{"{}"}},
		neutral{"modalities", req.Modalities, []string{`["text"]`}}, neutral{"store", req.Store, []string{"false"}},
		neutral{"metadata", req.Metadata, []string{"{}"}}, neutral{"service_tier", req.ServiceTier, []string{`"auto"`, `"default"`}},
		neutral{"functions", req.Functions, []string{"[]"}}, neutral{"function_call", req.FunctionCall, []string{`"auto"`, `"none"`}},
		neutral{"audio", req.Audio, nil}, neutral{"prediction", req.Prediction, nil}, neutral{"web_search_options", req.WebSearch, nil},
		neutral{"verbosity", req.Verbosity, []string{`"medium"`}}); err != nil {
		return nil, err
	}
	c := &provider.Conversation{
		Temperature: req.Temperature, TopP: req.TopP, TopK: req.TopK, Seed: req.Seed, PresencePenalty: req.PresencePenalty,
		FrequencyPenalty: req.FrequencyPenalty, User: req.User, Thinking: provider.Thinking{Effort: req.ReasoningEffort},
		OneTool: req.ParallelToolCalls != nil && !*req.ParallelToolCalls,
	}
	if c.User == "" {
		c.User = req.SafetyIdentifier
	}
	if req.PromptCacheKey != "" {
		c.Drop("prompt_cache_key")
	}
	if given(req.CacheRetention) {
		c.Drop("prompt_cache_retention")
	}
	for name, n := range map[string]*int{"max_tokens": req.MaxTokens, "max_completion_tokens": req.MaxCompletionTokens} {
		if n == nil {
			continue
		}
		if *n < 1 {
			return nil, invalid(name, "%q must be positive", name)
		}
		if c.MaxTokens = *n; name != provider.FieldMaxTokens {
			c.Names = map[string]string{provider.FieldMaxTokens: name}
		}
	}
	w := &chatWriter{created: time.Now().Unix()}
	var options struct {
		IncludeUsage bool            `json:"include_usage"`
		Obfuscation  json.RawMessage `json:"include_obfuscation"` // padding against eavesdroppers
	}
	if given(req.StreamOptions) {
		if err := strict(req.StreamOptions, "stream_options", &options); err != nil {
			return nil, err
		}
		if !req.Stream {
			return nil, invalid("stream_options", `"stream_options" needs "stream": true`)
		}
		w.withUsage = options.IncludeUsage
	}
	for _, read := range []func() error{
		func() error { return readStop(c, req.Stop) },
		func() error { return readChatTools(c, req.Tools) },
		func() error { return readChatChoice(c, req.ToolChoice) },
		func() error { return readChatFormat(c, req.ResponseFormat) },
		func() error { return readChatMessages(c, req.Messages) },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return &conversation{Conversation: c, stream: req.Stream, writer: w}, nil
}

// readStop reads one stop sequence or several.
func readStop(c *provider.Conversation, raw json.RawMessage) error {
	var one string
	if given(raw) && json.Unmarshal(raw, &one) == nil {
		c.Stop = []string{one}
		return nil
	}
	return field("stop", raw, &c.Stop)
}

func readChatTools(c *provider.Conversation, raw json.RawMessage) error {
	tools, err := list(raw, "tools")
	if err != nil {
		return err
	}
	for i := range tools {
		at := item("tools", i)
		var t struct {
			Type     string          `json:"type"`
			Function json.RawMessage `json:"function"`
			Custom   json.RawMessage `json:"custom"`
		}
		if err := strict(tools[i], at, &t); err != nil {
			return err
		}
		if t.Type != "function" {
			return cannotCarry(at + ".type")
		}
		var f struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Parameters  json.RawMessage `json:"parameters"`
			Strict      *bool           `json:"strict"`
		}
		if err := strict(t.Function, at+".function", &f); err != nil {
			return err
		}
		tool := provider.Tool{Name: f.Name, Description: f.Description, Strict: f.Strict != nil && *f.Strict, At: at + ".function"}
		if given(f.Parameters) {
			tool.Schema = f.Parameters
		}
		c.Tools = append(c.Tools, tool)
	}
	return nil
}

func readChatChoice(c *provider.Conversation, raw json.RawMessage) error {
	if !given(raw) {
		return nil
	}
	var word string
	if json.Unmarshal(raw, &word) == nil {
		mode, ok := map[string]string{"auto": "auto", "none": "none", "required": "any"}[word]
		if !ok {
			return invalid("tool_choice", `"tool_choice" must be none, auto, required or a tool`)
		}
		c.Choice.Mode = mode
		return nil
	}
	var choice struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if err := strict(raw, "tool_choice", &choice); err != nil {
		return err
	}
	if choice.Type != "function" || choice.Function.Name == "" {
		return cannotCarry("tool_choice.type")
	}
	c.Choice = provider.Choice{Mode: "tool", Name: choice.Function.Name}
	return nil
}

func readChatFormat(c *provider.Conversation, raw json.RawMessage) error {
	if !given(raw) {
		return nil
	}
	var f struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"json_schema"`
	}
	if err := strict(raw, "response_format", &f); err != nil {
		return err
	}
	switch f.Type {
	case "text":
	case "json_object":
		c.Format.Kind = "json"
	case "json_schema":
		var s struct {
			Name   string          `json:"name"`
			Schema json.RawMessage `json:"schema"`
			Strict *bool           `json:"strict"`
		}
		if err := strict(f.Schema, "response_format.json_schema", &s); err != nil {
			return err
		}
		if !given(s.Schema) {
			return invalid("response_format.json_schema.schema", "the schema is missing")
		}
		c.Format = provider.Format{Kind: "schema", Name: s.Name, Schema: s.Schema, Strict: s.Strict != nil && *s.Strict}
	default:
		return cannotCarry("response_format.type")
	}
	return nil
}

// chatMessage holds every field of a message.
type chatMessage struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	ToolCalls  json.RawMessage `json:"tool_calls"`
	ToolCallID string          `json:"tool_call_id"`
	Reasoning  string          `json:"reasoning_content"`
	Thinking   json.RawMessage `json:"thinking_blocks"`

	Name         json.RawMessage `json:"name"`
	Refusal      json.RawMessage `json:"refusal"`
	Annotations  json.RawMessage `json:"annotations"`
	Audio        json.RawMessage `json:"audio"`
	FunctionCall json.RawMessage `json:"function_call"`
}

func readChatMessages(c *provider.Conversation, raw json.RawMessage) error {
	messages, err := list(raw, "messages")
	if err != nil {
		return err
	}
	for i := range messages {
		at := item("messages", i)
		var m chatMessage
		if err := strict(messages[i], at, &m); err != nil {
			return err
		}
		if err := allNeutral(at, neutral{"name", m.Name, []string{`""`}}, neutral{"refusal", m.Refusal, nil},
			neutral{"annotations", m.Annotations, []string{"[]"}}, neutral{"audio", m.Audio, nil}, neutral{"function_call", m.FunctionCall, nil}); err != nil {
			return err
		}
		to, err := readChatMessage(&m, at)
		if err != nil {
			return err
		}
		c.Messages = append(c.Messages, to)
	}
	return nil
}

func readChatMessage(m *chatMessage, at string) (provider.Message, error) {
	to := provider.Message{At: at}
	blocks, err := readChatContent(m.Content, at+".content")
	if err != nil {
		return to, err
	}
	if m.Role != "assistant" && (m.Reasoning != "" || !isEmpty(m.Thinking) || !isEmpty(m.ToolCalls)) {
		return to, invalid(at, "only a message of the assistant has thoughts and tool calls")
	}
	switch m.Role {
	case "system", "developer":
		to.Role, to.Blocks = provider.System, blocks
	case "user":
		to.Role, to.Blocks = provider.User, blocks
	case "tool":
		to.Role = provider.User
		to.Blocks = []provider.Block{{Kind: provider.ToolResult, ID: m.ToolCallID, Result: blocks, At: at}}
	case "assistant":
		to.Role = provider.Assistant
		if to.Blocks, err = readThoughts(m, at); err != nil {
			return to, err
		}
		to.Blocks = append(to.Blocks, blocks...)
		calls, err := readToolCalls(m.ToolCalls, at+".tool_calls")
		if err != nil {
			return to, err
		}
		to.Blocks = append(to.Blocks, calls...)
	default:
		return to, invalid(at+".role", "there is no role %q", clip(m.Role))
	}
	return to, nil
}

// readThoughts reads what the model thought, with the provider's signatures
// when the client kept them.
func readThoughts(m *chatMessage, at string) ([]provider.Block, error) {
	thoughts, err := list(m.Thinking, at+".thinking_blocks")
	if err != nil {
		return nil, err
	}
	if len(thoughts) == 0 && m.Reasoning != "" {
		return []provider.Block{{Kind: provider.ThinkingBlock, Text: m.Reasoning, At: at + ".reasoning_content"}}, nil
	}
	var blocks []provider.Block
	for i := range thoughts {
		at := item(at+".thinking_blocks", i)
		var t messagesBlock
		if err := strict(thoughts[i], at, &t); err != nil {
			return nil, err
		}
		switch t.Type {
		case "thinking":
			blocks = append(blocks, provider.Block{Kind: provider.ThinkingBlock, Text: t.Thinking, Signature: t.Signature, At: at})
		case "redacted_thinking":
			blocks = append(blocks, provider.Block{Kind: provider.SealedBlock, Text: t.Data, At: at})
		default:
			return nil, cannotCarry(at + ".type")
		}
	}
	return blocks, nil
}

func readToolCalls(raw json.RawMessage, at string) ([]provider.Block, error) {
	calls, err := list(raw, at)
	if err != nil {
		return nil, err
	}
	var blocks []provider.Block
	for i := range calls {
		at := item(at, i)
		var t struct {
			ID       string          `json:"id"`
			Index    json.RawMessage `json:"index"` // where a client keeps streamed calls as they came
			Type     string          `json:"type"`
			Extra    json.RawMessage `json:"extra_content"`
			Function struct {
				Name      string `json:"name"`
				Arguments string `json:"arguments"`
			} `json:"function"`
		}
		if err := strict(calls[i], at, &t); err != nil {
			return nil, err
		}
		if t.Type != "function" && t.Type != "" {
			return nil, cannotCarry(at + ".type")
		}
		var seal chatSeal
		if given(t.Extra) {
			if err := strict(t.Extra, at+".extra_content", &seal); err != nil {
				return nil, err
			}
		}
		input := json.RawMessage(strings.TrimSpace(t.Function.Arguments))
		if len(input) == 0 {
			input = json.RawMessage("{}")
		}
		if input[0] != '{' || !json.Valid(input) {
			return nil, invalid(at+".function.arguments", "the arguments must be a JSON object")
		}
		blocks = append(blocks, provider.Block{Kind: provider.ToolUse, ID: t.ID, Name: t.Function.Name, Input: input, Signature: seal.Google.Signature, At: at})
	}
	return blocks, nil
}

// chatSeal is where the seal on a tool call is kept, as Google's own servers
// do in this dialect.
type chatSeal struct {
	Google struct {
		Signature string `json:"thought_signature"`
	} `json:"google"`
}

// readChatContent reads a string or a list of parts.
func readChatContent(raw json.RawMessage, at string) ([]provider.Block, error) {
	if !given(raw) {
		return nil, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []provider.Block{{Kind: provider.TextBlock, Text: text, At: at}}, nil
	}
	parts, err := list(raw, at)
	if err != nil {
		return nil, err
	}
	blocks := make([]provider.Block, 0, len(parts))
	for i := range parts {
		b, err := readChatPart(parts[i], item(at, i))
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

func readChatPart(raw json.RawMessage, at string) (provider.Block, error) {
	var p struct {
		Type  string          `json:"type"`
		Text  string          `json:"text"`
		Image json.RawMessage `json:"image_url"`
		Audio json.RawMessage `json:"input_audio"`
		File  json.RawMessage `json:"file"`
	}
	b := provider.Block{At: at}
	if err := strict(raw, at, &p); err != nil {
		return b, err
	}
	switch p.Type {
	case "text":
		b.Kind, b.Text = provider.TextBlock, p.Text
	case "image_url":
		var image struct {
			URL    string `json:"url"`
			Detail string `json:"detail"`
		}
		if err := strict(p.Image, at+".image_url", &image); err != nil {
			return b, err
		}
		b.Kind, b.URL, b.Detail = provider.ImageBlock, image.URL, image.Detail
		if b.Detail == "auto" {
			b.Detail = ""
		}
		err := inline(&b)
		return b, err
	case "input_audio":
		var audio struct {
			Data   string `json:"data"`
			Format string `json:"format"`
		}
		if err := strict(p.Audio, at+".input_audio", &audio); err != nil {
			return b, err
		}
		kind, ok := map[string]string{"wav": "audio/wav", "mp3": "audio/mpeg"}[audio.Format]
		if !ok {
			return b, invalid(at+".input_audio.format", "audio is wav or mp3")
		}
		b.Kind, b.MIME, b.Data = provider.AudioBlock, kind, audio.Data
	case "file":
		var file struct {
			Data string `json:"file_data"`
			Name string `json:"filename"`
		}
		if err := strict(p.File, at+".file", &file); err != nil { // a file_id is of one provider
			return b, err
		}
		b.Kind, b.URL, b.Name = provider.DocumentBlock, file.Data, file.Name
		err := inline(&b)
		return b, err
	default:
		return b, cannotCarry(at + ".type")
	}
	return b, nil
}

// inline takes the data out of a data: URL.
func inline(b *provider.Block) error {
	rest, ok := strings.CutPrefix(b.URL, "data:")
	if !ok {
		if b.URL == "" || b.Kind == provider.DocumentBlock {
			return invalid(b.At, "it needs a URL or base64 data in a data: URL")
		}
		return nil
	}
	kind, data, ok := strings.Cut(rest, ";base64,")
	media, _, err := mime.ParseMediaType(kind)
	if !ok || err != nil || data == "" {
		return invalid(b.At, "the data URL must have the form data:image/png;base64,…")
	}
	b.MIME, b.Data, b.URL = media, data, ""
	return nil
}
