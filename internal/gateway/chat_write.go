package gateway

import (
	"tandem"
	"tandem/internal/provider"
)

// chatWriter writes replies as chat completions.
type chatWriter struct {
	created   int64 // Unix seconds
	withUsage bool

	id, model string
	tools     int // tool calls begun in the stream
	kind      provider.BlockKind
	thought   string // of the open block
	signature string
}

// The wire types of what is written.
type (
	chatOut struct {
		ID      string      `json:"id"`
		Object  string      `json:"object"`
		Created int64       `json:"created"`
		Model   string      `json:"model"`
		Choices []choiceOut `json:"choices"`
		Usage   *usageOut   `json:"usage,omitempty"`
	}
	choiceOut struct {
		Index   int         `json:"index"`
		Message *messageOut `json:"message,omitempty"`
		Delta   *deltaOut   `json:"delta,omitempty"`
		Finish  *string     `json:"finish_reason"`
		Hit     string      `json:"stop_reason,omitempty"` // the stop sequence, as other servers tell it
	}
	messageOut struct {
		Role      string        `json:"role"`
		Content   *string       `json:"content"`
		Refusal   *string       `json:"refusal"`
		Reasoning string        `json:"reasoning_content,omitempty"`
		Thinking  []thoughtOut  `json:"thinking_blocks,omitempty"`
		ToolCalls []toolCallOut `json:"tool_calls,omitempty"`
	}
	deltaOut struct {
		Role      string        `json:"role,omitempty"`
		Content   *string       `json:"content,omitempty"`
		Reasoning string        `json:"reasoning_content,omitempty"`
		Thinking  []thoughtOut  `json:"thinking_blocks,omitempty"`
		ToolCalls []toolCallOut `json:"tool_calls,omitempty"`
	}
	thoughtOut struct {
		Type      string `json:"type"`
		Thinking  string `json:"thinking,omitempty"`
		Signature string `json:"signature,omitempty"`
		Data      string `json:"data,omitempty"`
	}
	toolCallOut struct {
		Index    *int         `json:"index,omitempty"` // in streams
		ID       string       `json:"id,omitempty"`
		Type     string       `json:"type,omitempty"`
		Function *functionOut `json:"function,omitempty"`
		Extra    *chatSeal    `json:"extra_content,omitempty"`
	}
	functionOut struct {
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	}
	usageOut struct {
		Prompt        int `json:"prompt_tokens"`
		Completion    int `json:"completion_tokens"`
		Total         int `json:"total_tokens"`
		PromptDetails struct {
			Cached int `json:"cached_tokens"`
			Write  int `json:"cache_write_tokens,omitempty"`
		} `json:"prompt_tokens_details"`
		CompletionDetails struct {
			Reasoning int `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	}
)

func chatUsageOut(u tandem.Usage) *usageOut {
	o := &usageOut{Prompt: u.InputTokens, Completion: u.OutputTokens, Total: u.InputTokens + u.OutputTokens}
	o.PromptDetails.Cached, o.PromptDetails.Write = u.CachedTokens, u.CacheWriteTokens
	o.CompletionDetails.Reasoning = u.ReasoningTokens
	return o
}

func finishReason(r provider.StopReason) *string {
	word := "stop"
	switch r {
	case provider.StopLength:
		word = "length"
	case provider.StopTool:
		word = "tool_calls"
	case provider.StopRefused, provider.StopFiltered:
		word = "content_filter"
	case provider.StopEnd, provider.StopSequence:
	}
	return &word
}

func sealOf(signature string) *chatSeal {
	if signature == "" {
		return nil
	}
	s := &chatSeal{}
	s.Google.Signature = signature
	return s
}

// whole encodes a completion.
func (w *chatWriter) whole(b []byte, c *provider.Completion) []byte {
	m := &messageOut{Role: "assistant"}
	signed := false
	for i := range c.Blocks {
		k := &c.Blocks[i]
		switch k.Kind {
		case provider.TextBlock:
			text := k.Text
			if m.Content != nil {
				text = *m.Content + text
			}
			m.Content = &text
		case provider.ThinkingBlock:
			m.Reasoning += k.Text
			signed = signed || k.Signature != ""
			m.Thinking = append(m.Thinking, thoughtOut{Type: "thinking", Thinking: k.Text, Signature: k.Signature})
		case provider.SealedBlock:
			signed = true
			m.Thinking = append(m.Thinking, thoughtOut{Type: "redacted_thinking", Data: k.Text})
		case provider.ToolUse:
			m.ToolCalls = append(m.ToolCalls, toolCallOut{
				ID: k.ID, Type: "function", Function: &functionOut{Name: k.Name, Arguments: string(k.Input)}, Extra: sealOf(k.Signature),
			})
		default:
		}
	}
	if !signed {
		m.Thinking = nil // reasoning_content says it all
	}
	if m.Content == nil && len(m.ToolCalls) == 0 {
		m.Content = new(string)
	}
	return encode(b, chatOut{
		ID: c.ID, Object: "chat.completion", Created: w.created, Model: c.Model, Usage: chatUsageOut(c.Usage),
		Choices: []choiceOut{{Message: m, Finish: finishReason(c.Stop), Hit: c.Hit}},
	})
}

// event encodes the chunk of an event.
func (w *chatWriter) event(b []byte, e *provider.Event) []byte {
	switch e.Kind {
	case provider.Began:
		w.id, w.model = e.ID, e.Model
		return w.chunk(b, &deltaOut{Role: "assistant", Content: new(string)}, nil, "")
	case provider.Opened:
		w.kind, w.thought, w.signature = e.Block.Kind, "", ""
		switch e.Block.Kind {
		case provider.ToolUse:
			at := w.tools
			w.tools++
			return w.chunk(b, &deltaOut{ToolCalls: []toolCallOut{{
				Index: &at, ID: e.Block.ID, Type: "function", Function: &functionOut{Name: e.Block.Name}, Extra: sealOf(e.Block.Signature),
			}}}, nil, "")
		case provider.SealedBlock:
			return w.chunk(b, &deltaOut{Thinking: []thoughtOut{{Type: "redacted_thinking", Data: e.Block.Text}}}, nil, "")
		default:
		}
	case provider.Grew:
		switch w.kind {
		case provider.TextBlock:
			return w.chunk(b, &deltaOut{Content: &e.Delta}, nil, "")
		case provider.ThinkingBlock:
			w.thought += e.Delta
			return w.chunk(b, &deltaOut{Reasoning: e.Delta}, nil, "")
		case provider.ToolUse:
			at := w.tools - 1
			return w.chunk(b, &deltaOut{ToolCalls: []toolCallOut{{Index: &at, Function: &functionOut{Arguments: e.Delta}}}}, nil, "")
		default:
		}
	case provider.Signed:
		w.signature += e.Delta
	case provider.Closed:
		return w.closed(b)
	case provider.Ended:
		b = w.chunk(b, &deltaOut{}, finishReason(e.Stop), e.Hit)
		if w.withUsage {
			b = append(b, "data: "...)
			b = encode(b, chatOut{ID: w.id, Object: "chat.completion.chunk", Created: w.created, Model: w.model, Choices: []choiceOut{}, Usage: chatUsageOut(e.Usage)})
			b = append(b, "\n\n"...)
		}
		return append(b, "data: [DONE]\n\n"...)
	}
	return b
}

// closed hands a signed thought over, so that the client can give it back
// whole.
func (w *chatWriter) closed(b []byte) []byte {
	if w.signature == "" || w.kind != provider.ThinkingBlock {
		return b
	}
	return w.chunk(b, &deltaOut{Thinking: []thoughtOut{{Type: "thinking", Thinking: w.thought, Signature: w.signature}}}, nil, "")
}

func (w *chatWriter) chunk(b []byte, d *deltaOut, finish *string, hit string) []byte {
	b = append(b, "data: "...)
	b = encode(b, chatOut{
		ID: w.id, Object: "chat.completion.chunk", Created: w.created, Model: w.model, Choices: []choiceOut{{Delta: d, Finish: finish, Hit: hit}},
	})
	return append(b, "\n\n"...)
}

// failed ends the stream with an error; the mark of a whole one is missing.
func (w *chatWriter) failed(b []byte, _ int, e *tandem.Error) []byte {
	b = append(b, "data: "...)
	b = appendErrorBody(b, e, 0)
	return append(b, "\n\n"...)
}
