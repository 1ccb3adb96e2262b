package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// The wire types of a reply to a conversation, whole or a chunk.
type (
	talkReply struct {
		ID      string       `json:"id"`
		Model   string       `json:"model"`
		Choices []talkChoice `json:"choices"`
		Usage   *chatUsage   `json:"usage"`
		Error   *talkError   `json:"error"`
	}
	talkChoice struct {
		Index   int       `json:"index"`
		Message *talkSaid `json:"message"`
		Delta   *talkSaid `json:"delta"`
		Finish  string    `json:"finish_reason"`
	}
	talkSaid struct {
		Content       content    `json:"content"`
		Refusal       string     `json:"refusal"`
		Reasoning     string     `json:"reasoning_content"`
		ReasoningText string     `json:"reasoning"` // the same, of other servers
		ToolCalls     []talkCall `json:"tool_calls"`
	}
	talkError struct {
		Type    provider.Word `json:"type"`
		Code    provider.Word `json:"code"`
		Param   provider.Word `json:"param"`
		Message string        `json:"message"`
	}
	chatUsage struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
		Details          struct {
			CachedTokens     int `json:"cached_tokens"`
			CacheWriteTokens int `json:"cache_write_tokens"` // of servers that pass others' caches on
		} `json:"prompt_tokens_details"`
		OutputDetails struct {
			ReasoningTokens int `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	}
)

// readCompletion reads a reply of status 200 and at most so many bytes.
func readCompletion(ctx context.Context, res *http.Response, most int64) (*provider.Completion, error) {
	body, err := provider.Body(ctx, res, most)
	if err != nil {
		return nil, err
	}
	var r talkReply
	switch err := json.Unmarshal(body, &r); {
	case err != nil:
		return nil, provider.Garbage(res, "something that is not a chat completion", nil)
	case r.Error != nil:
		return nil, provider.Garbage(res, "an error in place of a reply"+provider.Paren(r.Error.kind()), nil)
	case len(r.Choices) == 0 || r.Choices[0].Message == nil:
		e := provider.Garbage(res, "a completion without choices", nil)
		e.Usage = r.Usage.read()
		return nil, e
	}
	d, w := &decoder{tool: -1}, &provider.EventWriter{}
	for i := range r.Choices[0].Message.ToolCalls {
		r.Choices[0].Message.ToolCalls[i].Index = i
	}
	d.take(w, r.Choices[0].Message)
	d.finish(r.Choices[0].Finish)
	d.closeTool(w)
	w.End(d.stop, "", r.Usage.read())
	c := provider.Put(w.Events)
	c.ID, c.Model = r.ID, r.Model
	for i := range c.Blocks {
		if c.Blocks[i].Kind == provider.ToolUse && !json.Valid(c.Blocks[i].Input) {
			e := provider.Garbage(res, "a tool call whose arguments are not JSON", nil)
			e.Usage = c.Usage
			return nil, e
		}
	}
	return c, nil
}

// decoder reads the chunks of a stream.
type decoder struct {
	usage    tandem.Usage
	stop     provider.StopReason
	refused  bool
	finished bool
	tool     int  // index of the open tool call, -1 when none is
	input    bool // it has some
	tools    int  // begun
}

var errNoEnd = errors.New("the stream ended without a finish_reason")

// Decode reads one chunk.
func (d *decoder) Decode(w *provider.EventWriter, data []byte) error {
	if string(data) == "[DONE]" {
		if !d.finished {
			return errNoEnd
		}
		d.closeTool(w)
		w.End(d.stop, "", d.usage)
		return nil
	}
	var r talkReply
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	if r.Error != nil {
		return &provider.Error{
			Code: tandem.TeacherUnavailable, Retryable: true, Detail: r.Error.Message, Usage: d.usage,
			Message: "the provider broke its stream off" + provider.Paren(r.Error.kind()),
		}
	}
	w.Begin(r.ID, r.Model, tandem.Usage{})
	if r.Usage != nil {
		d.usage = r.Usage.read()
	}
	for i := range r.Choices {
		if r.Choices[i].Index != 0 {
			continue // one was asked for
		}
		if r.Choices[i].Delta != nil {
			d.take(w, r.Choices[i].Delta)
		}
		if r.Choices[i].Finish != "" {
			d.finish(r.Choices[i].Finish)
		}
	}
	return nil
}

// take makes events of a message or a piece of one.
func (d *decoder) take(w *provider.EventWriter, m *talkSaid) {
	text := func(kind provider.BlockKind, s string) {
		if s != "" {
			d.closeTool(w)
			w.Grow(kind, s)
		}
	}
	reasoning := m.Reasoning
	if reasoning == "" {
		reasoning = m.ReasoningText
	}
	text(provider.ThinkingBlock, reasoning)
	text(provider.TextBlock, string(m.Content))
	d.refused = d.refused || m.Refusal != ""
	text(provider.TextBlock, m.Refusal)
	for i := range m.ToolCalls {
		t := &m.ToolCalls[i]
		// Some servers number all calls 0: a new id is a new call too.
		if t.Index != d.tool || t.ID != "" && t.Function.Name != "" {
			d.closeTool(w)
			b := provider.Block{Kind: provider.ToolUse, ID: t.ID, Name: t.Function.Name}
			if b.ID == "" {
				b.ID = provider.NewCallID()
			}
			if t.Extra != nil {
				b.Signature = t.Extra.Google.Signature
			}
			w.Open(b)
			d.tool, d.input, d.tools = max(0, t.Index), false, d.tools+1
		}
		if strings.TrimSpace(t.Function.Arguments) != "" {
			d.input = true
			w.Grow(provider.ToolUse, t.Function.Arguments)
		}
	}
}

// closeTool ends the open tool call, if there is one.
func (d *decoder) closeTool(w *provider.EventWriter) {
	if d.tool < 0 {
		return
	}
	if !d.input {
		w.Grow(provider.ToolUse, "{}")
	}
	d.tool = -1
	w.Close()
}

// finish notes why the reply ended.
func (d *decoder) finish(reason string) {
	d.finished = true
	switch {
	case d.refused:
		d.stop = provider.StopRefused
	case reason == "content_filter":
		d.stop = provider.StopFiltered
	case reason == "length":
		d.stop = provider.StopLength
	case reason == "tool_calls" || reason == "function_call" || d.tools > 0:
		d.stop = provider.StopTool
	default:
		d.stop = provider.StopEnd
	}
}

// failure reads a failed response; it returns the body and the field that the
// server names, too.
func failure(ctx context.Context, res *http.Response) (failed *provider.Error, body []byte, param string) {
	body, err := provider.FailureBody(ctx, res)
	if e, ok := errors.AsType[*provider.Error](err); ok {
		return e, nil, ""
	}
	var r talkReply
	kind, detail := "", ""
	if json.Unmarshal(body, &r) == nil && r.Error != nil {
		kind, detail, param = r.Error.kind(), r.Error.Message, string(r.Error.Param)
	}
	if param != "" {
		kind = strings.TrimPrefix(kind+": "+param, ": ")
	}
	e := provider.StatusError(res.StatusCode, provider.RetryAfter(res.Header, time.Now()), kind)
	e.Detail = detail
	return e, body, param
}

// kind is the upstream's short name for its error.
func (e *talkError) kind() string {
	if e.Code != "" {
		return string(e.Code)
	}
	return string(e.Type)
}

// content is a message's text, which some servers send in parts.
type content string

// UnmarshalJSON reads a string, a list of text parts or null.
func (c *content) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if data[0] != '[' {
		return json.Unmarshal(data, (*string)(c))
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	*c = content(b.String())
	return nil
}

// read takes the token counts, never negative and never more than the whole.
func (u *chatUsage) read() tandem.Usage {
	if u == nil {
		return tandem.Usage{}
	}
	in, out := provider.Count(u.PromptTokens), provider.Count(u.CompletionTokens)
	cached := min(in, max(0, u.Details.CachedTokens))
	return tandem.Usage{
		InputTokens: in, OutputTokens: out, CachedTokens: cached,
		CacheWriteTokens: min(in-cached, max(0, u.Details.CacheWriteTokens)),
		ReasoningTokens:  min(out, max(0, u.OutputDetails.ReasoningTokens)),
	}
}
