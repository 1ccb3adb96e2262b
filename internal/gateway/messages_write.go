package gateway

import (
	"encoding/json"
	"strconv"

	"tandem"
	"tandem/internal/provider"
)

// messagesWriter writes replies as Anthropic's messages.
type messagesWriter struct {
	index int // of the open block
	kind  provider.BlockKind
}

// blockOut is a content block. Pointers are written also when they are empty.
type blockOut struct {
	Type      string          `json:"type"`
	Text      *string         `json:"text,omitempty"`
	Thinking  *string         `json:"thinking,omitempty"`
	Signature *string         `json:"signature,omitempty"`
	Data      string          `json:"data,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
}

// messagesBlockOf writes a block; of a tool's use a signature is a field that
// clients keep without knowing it.
func messagesBlockOf(k *provider.Block) blockOut {
	switch k.Kind {
	case provider.ThinkingBlock:
		return blockOut{Type: "thinking", Thinking: &k.Text, Signature: &k.Signature}
	case provider.SealedBlock:
		return blockOut{Type: "redacted_thinking", Data: k.Text}
	case provider.ToolUse:
		b := blockOut{Type: "tool_use", ID: k.ID, Name: k.Name, Input: object(k.Input)}
		if k.Signature != "" {
			b.Signature = &k.Signature
		}
		return b
	default:
		return blockOut{Type: "text", Text: &k.Text}
	}
}

func messagesStop(r provider.StopReason) string {
	switch r {
	case provider.StopLength:
		return "max_tokens"
	case provider.StopTool:
		return "tool_use"
	case provider.StopSequence:
		return "stop_sequence"
	case provider.StopRefused, provider.StopFiltered:
		return "refusal"
	case provider.StopEnd:
	}
	return "end_turn"
}

// whole encodes a message.
func (w *messagesWriter) whole(b []byte, c *provider.Completion) []byte {
	content := make([]blockOut, 0, len(c.Blocks))
	for i := range c.Blocks {
		content = append(content, messagesBlockOf(&c.Blocks[i]))
	}
	b = w.head(b, c.ID, c.Model)
	b = append(b, `"content":`...)
	b = encode(b, content)
	b = append(b, `,"stop_reason":"`...)
	b = append(b, messagesStop(c.Stop)...)
	b = append(b, `","stop_sequence":`...)
	b = appendOptional(b, c.Hit)
	b = append(b, `,"usage":`...)
	b = appendMessageUsage(b, c.Usage)
	return append(b, '}')
}

func (w *messagesWriter) head(b []byte, id, model string) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, id)
	b = append(b, `,"type":"message","role":"assistant","model":`...)
	b = appendString(b, model)
	return append(b, ',')
}

func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// event encodes an event.
func (w *messagesWriter) event(b []byte, e *provider.Event) []byte {
	switch e.Kind {
	case provider.Began:
		w.index = -1
		b = append(b, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"...)
		b = w.head(b, e.ID, e.Model)
		b = append(b, `"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
		b = appendMessageUsage(b, e.Usage)
		return append(b, "}}\n\n"...)
	case provider.Opened:
		w.index++
		w.kind = e.Block.Kind
		b = w.place(b, "content_block_start")
		b = append(b, `"content_block":`...)
		b = encode(b, messagesBlockOf(&e.Block))
		return append(b, "}\n\n"...)
	case provider.Grew:
		switch w.kind {
		case provider.ThinkingBlock:
			return w.delta(b, "thinking_delta", "thinking", e.Delta)
		case provider.ToolUse:
			return w.delta(b, "input_json_delta", "partial_json", e.Delta)
		default:
			return w.delta(b, "text_delta", "text", e.Delta)
		}
	case provider.Signed:
		if w.kind == provider.ThinkingBlock {
			return w.delta(b, "signature_delta", "signature", e.Delta)
		}
	case provider.Closed:
		b = w.place(b, "content_block_stop")
		b[len(b)-1] = '}'
		return append(b, "\n\n"...)
	case provider.Ended:
		b = append(b, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\""...)
		b = append(b, messagesStop(e.Stop)...)
		b = append(b, `","stop_sequence":`...)
		b = appendOptional(b, e.Hit)
		b = append(b, `},"usage":`...)
		b = appendMessageUsage(b, e.Usage)
		return append(b, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
	}
	return b
}

// place begins an event about the open block.
func (w *messagesWriter) place(b []byte, kind string) []byte {
	b = append(b, "event: "...)
	b = append(b, kind...)
	b = append(b, "\ndata: {\"type\":\""...)
	b = append(b, kind...)
	b = append(b, `","index":`...)
	b = strconv.AppendInt(b, int64(w.index), 10)
	return append(b, ',')
}

func (w *messagesWriter) delta(b []byte, kind, key, value string) []byte {
	b = w.place(b, "content_block_delta")
	b = append(b, `"delta":{"type":"`...)
	b = append(b, kind...)
	b = append(b, `","`...)
	b = append(b, key...)
	b = append(b, `":`...)
	b = appendString(b, value)
	return append(b, "}}\n\n"...)
}

// failed ends the stream with Anthropic's event of an error.
func (w *messagesWriter) failed(b []byte, status int, e *tandem.Error) []byte {
	b = append(b, "event: error\ndata: "...)
	b = appendMessagesError(b, status, e, "")
	return append(b, "\n\n"...)
}
