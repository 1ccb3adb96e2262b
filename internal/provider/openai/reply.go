package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// Bounds on what is read of an upstream's response to a question.
const (
	maxReply = 1 << 20
	maxError = 64 << 10
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
			CachedTokens int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
	chatError struct {
		Type  word `json:"type"`
		Code  word `json:"code"`
		Param word `json:"param"`
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

// word is a short code of the upstream that is safe to show: upstreams put
// prompts and keys into their messages, but not into codes. Anything else
// becomes "".
type word string

// UnmarshalJSON never fails: an odd code must not hide the error it is in.
func (w *word) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	if len(s) > 64 || s == "null" || strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) || strings.HasPrefix(s, "sk-") {
		return nil
	}
	*w = word(s)
	return nil
}

// readReply reads a response of status 200.
func readReply(ctx context.Context, res *http.Response) (provider.Reply, error) {
	body, err := readAll(res.Body, maxReply)
	if err != nil {
		if errors.Is(err, errTooLarge) {
			return provider.Reply{}, garbage(res, "more than a megabyte", err)
		}
		if ctx.Err() != nil {
			return provider.Reply{}, provider.Failed(ctx, ctx.Err())
		}
		return provider.Reply{}, garbage(res, "a reply that broke off", err)
	}
	var reply chatReply
	if err := json.Unmarshal(body, &reply); err != nil {
		return provider.Reply{}, garbage(res, "something that is not a chat completion", nil)
	}
	if reply.Error != nil {
		return provider.Reply{}, garbage(res, "an error in place of a reply"+paren(reply.Error.kind()), nil)
	}
	usage := reply.usage()
	if len(reply.Choices) == 0 {
		e := garbage(res, "a completion without choices", nil)
		e.Usage = usage
		return provider.Reply{}, e
	}
	choice := reply.Choices[0]
	text := unwrap(string(choice.Message.Content))
	switch {
	case choice.Message.Refusal != "":
		return provider.Reply{}, refusal("the model refused to answer", usage)
	case choice.FinishReason == "content_filter":
		return provider.Reply{}, refusal("the provider's content filter held the answer back", usage)
	case strings.TrimSpace(text) == "":
		e := garbage(res, "an empty answer"+paren(choice.FinishReason), nil)
		e.Usage = usage
		return provider.Reply{}, e
	}
	return provider.Reply{Text: text, Model: reply.Model, Usage: usage}, nil
}

// usage reads the token counts, never negative.
func (r *chatReply) usage() tandem.Usage {
	if r.Usage == nil {
		return tandem.Usage{}
	}
	in := max(0, r.Usage.PromptTokens)
	return tandem.Usage{
		InputTokens: in, OutputTokens: max(0, r.Usage.CompletionTokens),
		CachedTokens: min(in, max(0, r.Usage.Details.CachedTokens)),
	}
}

// unwrap takes the answer out of the JSON object a model was asked for. A
// model may ignore that, or give an object unasked or in a code fence.
func unwrap(text string) string {
	s := strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(s, "```"); ok {
		inner = strings.TrimPrefix(inner, "json")
		s = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(inner), "```"))
	}
	if !strings.HasPrefix(s, "{") {
		return text
	}
	var object struct {
		Answer *string `json:"answer"`
	}
	if err := json.Unmarshal([]byte(s), &object); err != nil || object.Answer == nil {
		return text
	}
	return *object.Answer
}

// garbage is a response that cannot be used; another try may give a better
// one. what completes "the provider sent …".
func garbage(res *http.Response, what string, cause error) *provider.Error {
	message := "the provider sent " + what
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && kind != "application/json" {
		message += fmt.Sprintf(" (content type %s); check its base_url", word(kind))
	}
	return &provider.Error{Code: tandem.TeacherUnavailable, Status: res.StatusCode, Message: message, Retryable: true, Cause: cause}
}

// refusal is the model's own decision: asking again would not change it.
func refusal(message string, u tandem.Usage) *provider.Error {
	return &provider.Error{Code: tandem.TeacherUnavailable, Status: http.StatusOK, Message: message, Usage: u}
}

// refusedStatus reads a failed response and learns from it what the server
// does not take.
func (m *model) refusedStatus(ctx context.Context, res *http.Response, how asked) error {
	body, err := readAll(res.Body, maxError)
	if err != nil && !errors.Is(err, errTooLarge) {
		if ctx.Err() != nil {
			return provider.Failed(ctx, ctx.Err())
		}
		body = nil // the status says enough
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
	e := provider.StatusError(res.StatusCode, retryAfter(res.Header, time.Now()), kind)
	if res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity {
		e.Adapted = m.adapt(bytes.ToLower(body), param, how)
	}
	return e
}

// adapt notes that the server did not take the question's temperature or
// format, and says whether another way is left.
func (m *model) adapt(body []byte, param string, how asked) bool {
	about := func(words ...string) bool {
		for _, w := range words {
			if strings.HasPrefix(param, w) || param == "" && bytes.Contains(body, []byte(w)) {
				return true
			}
		}
		return false
	}
	if !how.warm && about("temperature") {
		m.warm.Store(true)
		return true
	}
	auto := m.config.ResponseFormat == "" || m.config.ResponseFormat == "auto"
	if auto && how.format < plain && about("response_format", "json_schema", "json_object", "json schema", "structured output", "guided", "grammar") {
		// Compare: another request may have learnt the same meanwhile.
		m.format.CompareAndSwap(int32(how.format), int32(how.format+1))
		return true
	}
	return false
}

// kind is the upstream's short name for its error.
func (e *chatError) kind() string {
	if e.Code != "" {
		return string(e.Code)
	}
	return string(e.Type)
}

func paren(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// maxRetryAfter bounds how long an upstream can ask us to wait.
const maxRetryAfter = time.Hour

// retryAfter reads how long the upstream wants to be left alone.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		return seconds(ms / 1000)
	}
	if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil {
		return seconds(s)
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return seconds(at.Sub(now).Seconds())
	}
	return 0
}

// seconds is s as a duration in [0, maxRetryAfter].
func seconds(s float64) time.Duration {
	if !(s > 0) { // NaN too
		return 0
	}
	return time.Duration(min(s, maxRetryAfter.Seconds()) * float64(time.Second))
}

var errTooLarge = errors.New("response too large")

// readAll reads at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		return body[:limit], errTooLarge
	}
	return body, err
}
