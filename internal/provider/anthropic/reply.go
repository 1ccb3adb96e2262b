package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// The wire types of a reply, whole or streamed.
type (
	reply struct {
		Type         string  `json:"type"`
		ID           string  `json:"id"`
		Model        string  `json:"model"`
		Content      []block `json:"content"`
		StopReason   string  `json:"stop_reason"`
		StopSequence string  `json:"stop_sequence"`
		Usage        *usage  `json:"usage"`
		Error        *apiErr `json:"error"`
	}
	usage struct {
		Input      *int `json:"input_tokens"`
		Output     *int `json:"output_tokens"`
		CacheWrite *int `json:"cache_creation_input_tokens"`
		CacheRead  *int `json:"cache_read_input_tokens"`
		Details    struct {
			Thinking int `json:"thinking_tokens"`
		} `json:"output_tokens_details"`
	}
	apiErr struct {
		Type    provider.Word `json:"type"`
		Message string        `json:"message"`
	}
)

// update takes over what the wire says; counts that it leaves out stay. The
// API counts cached tokens beside the input, tandem as part of it.
func (u *usage) update(t *tandem.Usage) {
	if u == nil {
		return
	}
	count := func(to *int, from *int) {
		if from != nil {
			*to = provider.Count(*from)
		}
	}
	fresh := t.InputTokens - t.CachedTokens - t.CacheWriteTokens
	count(&fresh, u.Input)
	count(&t.CachedTokens, u.CacheRead)
	count(&t.CacheWriteTokens, u.CacheWrite)
	count(&t.OutputTokens, u.Output)
	t.InputTokens = fresh + t.CachedTokens + t.CacheWriteTokens
	if n := u.Details.Thinking; n > 0 {
		t.ReasoningTokens = provider.Count(n)
	}
	t.ReasoningTokens = min(t.ReasoningTokens, t.OutputTokens)
}

// readWhole reads a reply of status 200.
func readWhole(ctx context.Context, res *http.Response, limit int64) (*provider.Completion, error) {
	body, err := provider.Body(ctx, res, limit)
	if err != nil {
		return nil, err
	}
	var r reply
	switch err := json.Unmarshal(body, &r); {
	case err != nil:
		return nil, provider.Garbage(res, "something that is not a message", nil)
	case r.Error != nil:
		return nil, provider.Garbage(res, "an error in place of a reply"+provider.Paren(string(r.Error.Type)), nil)
	case r.Type != "message":
		return nil, provider.Garbage(res, "something that is not a message", nil)
	}
	c := &provider.Completion{ID: r.ID, Model: r.Model, Stop: stopReason(r.StopReason), Hit: r.StopSequence}
	r.Usage.update(&c.Usage)
	for i := range r.Content {
		b, err := blockOf(&r.Content[i])
		if err != nil {
			return nil, provider.Garbage(res, "a reply that cannot be read", err)
		}
		c.Blocks = append(c.Blocks, b)
	}
	return c, nil
}

var errBlock = errors.New("a block of an unknown type")

// blockOf reads a block of a reply.
func blockOf(b *block) (provider.Block, error) {
	switch b.Type {
	case "text":
		return provider.Block{Kind: provider.TextBlock, Text: b.Text}, nil
	case "thinking":
		return provider.Block{Kind: provider.ThinkingBlock, Text: b.Thinking, Signature: b.Signature}, nil
	case "redacted_thinking":
		return provider.Block{Kind: provider.SealedBlock, Text: b.Data}, nil
	case "tool_use":
		if len(b.Input) == 0 {
			b.Input = json.RawMessage("{}")
		}
		return provider.Block{Kind: provider.ToolUse, ID: b.ID, Name: b.Name, Input: b.Input}, nil
	}
	return provider.Block{}, errBlock
}

func stopReason(s string) provider.StopReason {
	switch s {
	case "max_tokens", "model_context_window_exceeded":
		return provider.StopLength
	case "tool_use":
		return provider.StopTool
	case "stop_sequence":
		return provider.StopSequence
	case "refusal":
		return provider.StopRefused
	}
	return provider.StopEnd
}

// failure reads a failed response; it returns the body too.
func failure(ctx context.Context, res *http.Response) (*provider.Error, []byte) {
	body, err := provider.FailureBody(ctx, res)
	if e, ok := errors.AsType[*provider.Error](err); ok {
		return e, nil
	}
	var r reply
	kind, detail := "", ""
	if json.Unmarshal(body, &r) == nil && r.Error != nil {
		kind, detail = string(r.Error.Type), r.Error.Message
	}
	e := provider.StatusError(res.StatusCode, provider.RetryAfter(res.Header, time.Now()), kind)
	e.Detail = detail
	return e, body
}

// decoder reads the events of a stream.
type decoder struct {
	usage tandem.Usage
	stop  provider.StopReason
	hit   string
	tool  bool // the open block is a tool's use
	input bool // and has some input
}

// Decode reads one event.
func (d *decoder) Decode(w *provider.EventWriter, data []byte) error {
	var e struct {
		Type         string  `json:"type"`
		Message      *reply  `json:"message"`
		ContentBlock *block  `json:"content_block"`
		Usage        *usage  `json:"usage"`
		Error        *apiErr `json:"error"`
		Delta        struct {
			Type         string `json:"type"`
			Text         string `json:"text"`
			PartialJSON  string `json:"partial_json"`
			Thinking     string `json:"thinking"`
			Signature    string `json:"signature"`
			StopReason   string `json:"stop_reason"`
			StopSequence string `json:"stop_sequence"`
		} `json:"delta"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	switch e.Type {
	case "message_start":
		if e.Message == nil {
			return errBlock
		}
		e.Message.Usage.update(&d.usage)
		w.Begin(e.Message.ID, e.Message.Model, d.usage)
	case "content_block_start":
		if e.ContentBlock == nil {
			return errBlock
		}
		b, err := blockOf(e.ContentBlock)
		if err != nil {
			return err
		}
		d.start(w, b)
	case "content_block_delta":
		switch e.Delta.Type {
		case "text_delta":
			w.Grow(provider.TextBlock, e.Delta.Text)
		case "thinking_delta":
			w.Grow(provider.ThinkingBlock, e.Delta.Thinking)
		case "signature_delta":
			w.Sign(e.Delta.Signature)
		case "input_json_delta":
			if !d.tool {
				return errBlock
			}
			d.input = d.input || e.Delta.PartialJSON != ""
			w.Grow(provider.ToolUse, e.Delta.PartialJSON)
		}
	case "content_block_stop":
		if d.tool && !d.input {
			w.Grow(provider.ToolUse, "{}")
		}
		d.tool = false
		w.Close()
	case "message_delta":
		e.Usage.update(&d.usage)
		d.stop, d.hit = stopReason(e.Delta.StopReason), e.Delta.StopSequence
	case "message_stop":
		w.End(d.stop, d.hit, d.usage)
	case "error":
		err := &provider.Error{Code: tandem.TeacherUnavailable, Message: "the provider broke its stream off", Retryable: true, Usage: d.usage}
		if e.Error != nil {
			err.Message += provider.Paren(string(e.Error.Type))
			err.Detail = e.Error.Message
		}
		return err
	}
	return nil
}

// start opens a block. A tool's use begins with an empty input that the pieces
// to come take the place of; anything else is kept.
func (d *decoder) start(w *provider.EventWriter, b provider.Block) {
	text, signature := b.Text, b.Signature
	b.Signature = ""
	if b.Kind != provider.SealedBlock {
		b.Text = ""
	}
	d.tool, d.input = b.Kind == provider.ToolUse, false
	input := string(b.Input)
	b.Input = nil
	w.Open(b)
	switch {
	case d.tool && input != "" && input != "{}":
		d.input = true
		w.Grow(provider.ToolUse, input)
	case b.Kind == provider.TextBlock || b.Kind == provider.ThinkingBlock:
		w.Grow(b.Kind, text)
		w.Sign(signature)
	}
}
