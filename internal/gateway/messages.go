package gateway

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"

	"tandem"
	"tandem/internal/provider"
)

// messagesRequest holds the fields of Anthropic's Messages that matter when a
// task answers.
type messagesRequest struct {
	Messages json.RawMessage `json:"messages"`
	Stream   json.RawMessage `json:"stream"`
	Metadata struct {
		UserID json.RawMessage `json:"user_id"`
	} `json:"metadata"`

	// These would change what the answer is.
	Tools        json.RawMessage `json:"tools"`
	ToolChoice   json.RawMessage `json:"tool_choice"`
	OutputConfig struct {
		Format json.RawMessage `json:"format"`
	} `json:"output_config"`
	OutputFormat json.RawMessage `json:"output_format"`
	MCPServers   json.RawMessage `json:"mcp_servers"`
	Container    json.RawMessage `json:"container"`
}

// messages is POST /v1/messages: a task's when "model" names one, passed
// through to a provider that speaks the dialect, translated for others.
func (s *Server) messages(w http.ResponseWriter, r *http.Request) error {
	c, err := s.readCall(r, provider.Messages)
	if err != nil {
		return err
	}
	if task, ok := s.task(c.name); ok {
		defer s.release(c.buf)
		return s.messagesTask(w, r, *c.buf, task, c.name)
	}
	m, price, ok := s.Directory.Model(c.name)
	if !ok {
		s.release(c.buf)
		return s.noModel(c.name)
	}
	t := target{model: m, price: price, name: c.name}
	if m.Speaks(provider.Messages) {
		return s.forward(w, r, t, provider.Messages, *c.buf)
	}
	defer s.release(c.buf)
	return s.translate(w, r, t, *c.buf, messagesDialect{})
}

// countTokens is POST /v1/messages/count_tokens. Only a model's own provider
// can count its tokens.
func (s *Server) countTokens(w http.ResponseWriter, r *http.Request) error {
	c, err := s.readCall(r, provider.CountTokens)
	if err != nil {
		return err
	}
	m, price, ok := s.Directory.Model(c.name)
	switch {
	case ok && m.Speaks(provider.CountTokens):
		return s.forward(w, r, target{model: m, price: price, name: c.name}, provider.CountTokens, *c.buf)
	case ok:
		err = unspoken(provider.CountTokens, c.name)
	default:
		if _, isTask := s.task(c.name); isTask {
			err = invalid("model", "%q is a task: what its teacher is sent is not this request, so there is nothing to count", clip(c.name))
		} else {
			err = s.noModel(c.name)
		}
	}
	s.release(c.buf)
	return err
}

// messagesTask answers with a task's decision in the shape of a message.
func (s *Server) messagesTask(w http.ResponseWriter, r *http.Request, body []byte, task *tandem.Task, name string) error {
	if err := checkUTF8(body); err != nil {
		return err
	}
	var req messagesRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return wrongJSON(err)
	}
	if err := refuseMessages(&req); err != nil {
		return err
	}
	var stream bool
	var session string
	if err := field("stream", req.Stream, &stream); err != nil {
		return err
	}
	if err := field("metadata.user_id", req.Metadata.UserID, &session); err != nil {
		return err
	}
	input, err := lastOfUser(req.Messages, "messages", messagesContent)
	if err != nil {
		return err
	}
	d, err := s.ask(r, task.Name, input, session)
	if err != nil {
		return err
	}
	w.Header().Set("Request-Id", w.Header().Get("X-Request-Id"))
	s.reply(w, &d, stream, func(b []byte) []byte {
		if stream {
			return appendMessageStream(b, &d, name)
		}
		return appendMessage(b, &d, name)
	})
	return nil
}

// refuseMessages names the first field that a task cannot honour and that
// would change the answer's meaning or shape.
func refuseMessages(req *messagesRequest) error {
	no := func(param, why string) error { return invalid(param, `a task does not take %q: %s`, param, why) }
	var choice struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(req.ToolChoice, &choice) // another shape is no "none"
	switch {
	case !isEmpty(req.Tools) && choice.Type != "none":
		return no("tools", "it answers with one of its labels and calls nothing")
	case given(req.OutputConfig.Format):
		return no("output_config.format", "its answer is the bare label")
	case given(req.OutputFormat):
		return no("output_format", "its answer is the bare label")
	case !isEmpty(req.MCPServers):
		return no("mcp_servers", "it calls nothing")
	case given(req.Container):
		return no("container", "it runs nothing")
	}
	return nil
}

// messagesContent reads a message's content: a string or a list of blocks.
func messagesContent(raw json.RawMessage, at string) (tandem.Input, error) {
	var text string
	if given(raw) && json.Unmarshal(raw, &text) == nil {
		return tandem.TextInput(text), nil
	}
	var blocks []struct {
		Type   string `json:"type"`
		Text   string `json:"text"`
		Source struct {
			Type      string `json:"type"`
			MediaType string `json:"media_type"`
			Data      string `json:"data"`
			URL       string `json:"url"`
		} `json:"source"`
	}
	if !given(raw) || json.Unmarshal(raw, &blocks) != nil {
		return tandem.Input{}, invalid(at, `the content must be a text or a list of blocks`)
	}
	in := tandem.Input{Parts: make([]tandem.Part, len(blocks))}
	for i := range blocks {
		b, at := &blocks[i], at+"["+strconv.Itoa(i)+"]"
		switch {
		case b.Type == "text":
			in.Parts[i] = tandem.Part{Kind: tandem.Text, Text: b.Text}
		case b.Type == "image" && b.Source.Type == "url" && b.Source.URL != "":
			in.Parts[i] = tandem.Part{Kind: tandem.Image, URL: b.Source.URL}
		case b.Type == "image" && b.Source.Type == "base64":
			data, err := base64.StdEncoding.DecodeString(b.Source.Data)
			if err != nil || len(data) == 0 || !isMIME(b.Source.MediaType) {
				return tandem.Input{}, invalid(at, "an image needs its media_type and base64 data")
			}
			in.Parts[i] = tandem.Part{Kind: tandem.Image, MIME: b.Source.MediaType, Data: data}
		default:
			e := tandem.Errorf(tandem.UnsupportedModality, "a task does not take blocks of the type %q; it takes text and image", clip(b.Type))
			e.Param = at
			return tandem.Input{}, e
		}
	}
	return in, nil
}

// appendMessage encodes a decision as a message.
func appendMessage(b []byte, d *tandem.Decision, model string) []byte {
	b = appendMessageHead(b, d, model)
	b = append(b, `"content":[{"type":"text","text":`...)
	b = appendString(b, d.Answer)
	b = append(b, `}],"stop_reason":"end_turn","stop_sequence":null,"usage":`...)
	b = appendMessageUsage(b, d.Usage)
	b = append(b, `,"tandem":`...)
	b = appendDecision(b, d)
	return append(b, '}')
}

// appendMessageStream encodes the stream: the message without content, the
// answer, the end. The decision rides in the first event, whose message
// clients keep.
func appendMessageStream(b []byte, d *tandem.Decision, model string) []byte {
	b = append(b, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"...)
	b = appendMessageHead(b, d, model)
	b = append(b, `"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	b = appendMessageUsage(b, tandem.Usage{InputTokens: d.Usage.InputTokens, CachedTokens: d.Usage.CachedTokens, CacheWriteTokens: d.Usage.CacheWriteTokens})
	b = append(b, `,"tandem":`...)
	b = appendDecision(b, d)
	b = append(b, "}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"...)
	b = append(b, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":"...)
	b = appendString(b, d.Answer)
	b = append(b, "}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"...)
	b = append(b, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":"...)
	b = appendMessageUsage(b, d.Usage)
	return append(b, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
}

func appendMessageHead(b []byte, d *tandem.Decision, model string) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, "msg_"+d.TraceID)
	b = append(b, `,"type":"message","role":"assistant","model":`...)
	b = appendString(b, model)
	return append(b, ',')
}

// appendMessageUsage encodes usage as Anthropic counts: cached tokens beside
// the input.
func appendMessageUsage(b []byte, u tandem.Usage) []byte {
	b = append(b, `{"input_tokens":`...)
	b = strconv.AppendInt(b, int64(u.InputTokens-u.CachedTokens-u.CacheWriteTokens), 10)
	b = append(b, `,"cache_creation_input_tokens":`...)
	b = strconv.AppendInt(b, int64(u.CacheWriteTokens), 10)
	b = append(b, `,"cache_read_input_tokens":`...)
	b = strconv.AppendInt(b, int64(u.CachedTokens), 10)
	b = append(b, `,"output_tokens":`...)
	b = strconv.AppendInt(b, int64(u.OutputTokens), 10)
	return append(b, '}')
}

// appendMessagesError encodes an error in Anthropic's shape, with tandem's own
// code and field beside it.
func appendMessagesError(b []byte, status int, e *tandem.Error, requestID string) []byte {
	b = append(b, `{"type":"error","error":{"type":"`...)
	b = append(b, messagesErrorType(status)...)
	b = append(b, `","message":`...)
	b = appendString(b, e.Message)
	b = append(b, `,"code":`...)
	b = appendString(b, string(e.Code))
	if e.Param != "" {
		b = append(b, `,"param":`...)
		b = appendString(b, e.Param)
	}
	b = append(b, '}')
	if requestID != "" {
		b = append(b, `,"request_id":`...)
		b = appendString(b, requestID)
	}
	return append(b, '}')
}

// messagesErrorType is Anthropic's name for a status.
func messagesErrorType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable, 529:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if status < 500 {
		return "invalid_request_error"
	}
	return "api_error"
}
