package gateway

import (
	"net/http"
	"strconv"

	"tandem"
)

// completion writes a decision as a chat completion, whole or streamed.
type completion struct {
	decision *tandem.Decision
	model    string // as the client called it
	created  int64  // Unix seconds
}

// append encodes the whole completion.
func (c *completion) append(b []byte) []byte {
	b = c.appendHead(b, "chat.completion")
	b = append(b, `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	b = appendString(b, c.decision.Answer)
	b = append(b, `,"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":`...)
	b = c.appendUsage(b)
	b = c.appendTandem(b)
	return append(b, '}')
}

// appendStream encodes the stream: the role, the answer, the end, with usage
// if asked for, and the mark after which clients stop reading. The decision
// rides in the last chunk.
func (c *completion) appendStream(b []byte, withUsage bool) []byte {
	chunk := func(delta, finish string, last bool) {
		b = append(b, "data: "...)
		b = c.appendHead(b, "chat.completion.chunk")
		b = append(b, `,"choices":[{"index":0,"delta":`...)
		b = append(b, delta...)
		b = append(b, `,"logprobs":null,"finish_reason":`...)
		b = append(b, finish...)
		b = append(b, "}]"...)
		if withUsage {
			b = append(b, `,"usage":null`...)
		}
		if last {
			b = c.appendTandem(b)
		}
		b = append(b, "}\n\n"...)
	}
	chunk(`{"role":"assistant","content":"","refusal":null}`, "null", false)
	chunk(string(append(appendString([]byte(`{"content":`), c.decision.Answer), '}')), "null", false)
	chunk(`{}`, `"stop"`, !withUsage)
	if withUsage {
		b = append(b, "data: "...)
		b = c.appendHead(b, "chat.completion.chunk")
		b = append(b, `,"choices":[],"usage":`...)
		b = c.appendUsage(b)
		b = c.appendTandem(b)
		b = append(b, "}\n\n"...)
	}
	return append(b, "data: [DONE]\n\n"...)
}

func (c *completion) appendHead(b []byte, object string) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, "chatcmpl-"+c.decision.TraceID)
	b = append(b, `,"object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, c.created, 10)
	b = append(b, `,"model":`...)
	return appendString(b, c.model)
}

// appendUsage encodes the teacher's tokens; a student uses none.
func (c *completion) appendUsage(b []byte) []byte {
	u := c.decision.Usage
	b = append(b, `{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(u.InputTokens), 10)
	b = append(b, `,"completion_tokens":`...)
	b = strconv.AppendInt(b, int64(u.OutputTokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(u.InputTokens+u.OutputTokens), 10)
	b = append(b, `,"prompt_tokens_details":{"cached_tokens":`...)
	b = strconv.AppendInt(b, int64(u.CachedTokens), 10)
	return append(b, "}}"...)
}

func (c *completion) appendTandem(b []byte) []byte {
	b = append(b, `,"tandem":`...)
	return appendDecision(b, c.decision)
}

// sendStream writes a whole stream of server-sent events.
func sendStream(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(body) // the client may have gone
}
