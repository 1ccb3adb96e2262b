package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// The wire types of a chat completion, as far as a question needs.
type (
	chatReply struct {
		Model   string       `json:"model"`
		Choices []chatChoice `json:"choices"`
		Usage   *chatUsage   `json:"usage"`
		Error   *chatError   `json:"error"`
	}
	chatChoice struct {
		FinishReason string `json:"finish_reason"`
		Message      struct {
			Content content `json:"content"`
			Refusal string  `json:"refusal"`
		} `json:"message"`
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
	chatError struct {
		Type  provider.Word `json:"type"`
		Code  provider.Word `json:"code"`
		Param provider.Word `json:"param"`
	}
)

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

// readReply reads a response of status 200.
func readReply(ctx context.Context, res *http.Response) (provider.Reply, error) {
	body, err := provider.Body(ctx, res, provider.MaxAnswer)
	if err != nil {
		return provider.Reply{}, err
	}
	var reply chatReply
	if err := json.Unmarshal(body, &reply); err != nil {
		return provider.Reply{}, provider.Garbage(res, "something that is not a chat completion", nil)
	}
	if reply.Error != nil {
		return provider.Reply{}, provider.Garbage(res, "an error in place of a reply"+provider.Paren(reply.Error.kind()), nil)
	}
	usage := reply.usage()
	if len(reply.Choices) == 0 {
		e := provider.Garbage(res, "a completion without choices", nil)
		e.Usage = usage
		return provider.Reply{}, e
	}
	choice := reply.Choices[0]
	text := provider.Unwrap(string(choice.Message.Content))
	switch {
	case choice.Message.Refusal != "":
		return provider.Reply{}, provider.Refusal("the model refused to answer", usage)
	case choice.FinishReason == "content_filter":
		return provider.Reply{}, provider.Refusal("the provider's content filter held the answer back", usage)
	case strings.TrimSpace(text) == "":
		e := provider.Garbage(res, "an empty answer"+provider.Paren(choice.FinishReason), nil)
		e.Usage = usage
		return provider.Reply{}, e
	}
	return provider.Reply{Text: text, Model: reply.Model, Usage: usage}, nil
}

// usage reads the token counts.
func (r *chatReply) usage() tandem.Usage { return r.Usage.read() }

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

// refusedStatus reads a failed response and learns from it what the server
// does not take.
func (m *model) refusedStatus(ctx context.Context, res *http.Response, how provider.Asked) error {
	body, err := provider.FailureBody(ctx, res)
	if err != nil {
		return err
	}
	var reply struct {
		Error *chatError `json:"error"`
	}
	kind, param := "", ""
	if json.Unmarshal(body, &reply) == nil && reply.Error != nil {
		kind, param = reply.Error.kind(), string(reply.Error.Param)
	}
	if param != "" {
		kind = strings.TrimPrefix(kind+": "+param, ": ")
	}
	e := provider.StatusError(res.StatusCode, provider.RetryAfter(res.Header, time.Now()), kind)
	if res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity {
		e.Adapted = m.manner.Learn(body, param, how,
			"response_format", "json_schema", "json_object", "json schema", "structured output", "guided", "grammar")
	}
	return e
}

// kind is the upstream's short name for its error.
func (e *chatError) kind() string {
	if e.Code != "" {
		return string(e.Code)
	}
	return string(e.Type)
}
