package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// responsesRequest holds the fields of OpenAI's Responses that matter when a
// task answers.
type responsesRequest struct {
	Input            json.RawMessage `json:"input"`
	Stream           json.RawMessage `json:"stream"`
	User             json.RawMessage `json:"user"`
	SafetyIdentifier json.RawMessage `json:"safety_identifier"`

	// These need a memory that tandem does not have.
	PreviousResponse json.RawMessage `json:"previous_response_id"`
	Conversation     json.RawMessage `json:"conversation"`
	Store            json.RawMessage `json:"store"`
	Background       json.RawMessage `json:"background"`
	Prompt           json.RawMessage `json:"prompt"`

	// These would change what the answer is.
	Tools       json.RawMessage `json:"tools"`
	ToolChoice  json.RawMessage `json:"tool_choice"`
	Include     json.RawMessage `json:"include"`
	TopLogprobs json.RawMessage `json:"top_logprobs"`
	Text        struct {
		Format struct {
			Type string `json:"type"`
		} `json:"format"`
	} `json:"text"`
}

// responses is POST /v1/responses: a task's when "model" names one, passed
// through to a provider that speaks the dialect otherwise.
func (s *Server) responses(w http.ResponseWriter, r *http.Request) error {
	c, err := s.readCall(r, provider.Responses)
	if err != nil {
		return err
	}
	if task, ok := s.task(c.name); ok {
		defer s.release(c.buf)
		return s.responsesTask(w, r, *c.buf, task, c.name)
	}
	m, price, ok := s.Directory.Model(c.name)
	if !ok {
		s.release(c.buf)
		return s.noModel(c.name)
	}
	if !m.Speaks(provider.Responses) {
		s.release(c.buf)
		return unspoken(provider.Responses, c.name)
	}
	return s.forward(w, r, target{model: m, price: price, name: c.name}, provider.Responses, *c.buf)
}

// responsesTask answers with a task's decision in the shape of a response.
func (s *Server) responsesTask(w http.ResponseWriter, r *http.Request, body []byte, task *tandem.Task, name string) error {
	if err := checkUTF8(body); err != nil {
		return err
	}
	var req responsesRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return wrongJSON(err)
	}
	if err := refuseResponses(&req); err != nil {
		return err
	}
	var stream bool
	if err := field("stream", req.Stream, &stream); err != nil {
		return err
	}
	var session string
	if err := field("safety_identifier", req.SafetyIdentifier, &session); err != nil {
		return err
	}
	if session == "" {
		if err := field("user", req.User, &session); err != nil {
			return err
		}
	}
	input, err := responsesInput(req.Input)
	if err != nil {
		return err
	}
	d, err := s.ask(r, task.Name, input, session)
	if err != nil {
		return err
	}
	p := response{decision: &d, model: name, created: time.Now().Unix()}
	s.reply(w, &d, stream, func(b []byte) []byte {
		if stream {
			return p.appendStream(b)
		}
		return p.append(b, "completed")
	})
	return nil
}

// refuseResponses names the first field that a task cannot honour.
func refuseResponses(req *responsesRequest) error {
	no := func(param, why string) error { return invalid(param, `a task does not take %q: %s`, param, why) }
	const memory = "tandem keeps no conversations; send what belongs to the question as input"
	switch {
	case given(req.PreviousResponse):
		return no("previous_response_id", memory)
	case given(req.Conversation):
		return no("conversation", memory)
	case !isFalse(req.Store):
		return no("store", "tandem keeps no responses; send false or leave it out")
	case !isFalse(req.Background):
		return no("background", "it answers at once")
	case given(req.Prompt):
		return no("prompt", "it has its own instructions")
	case !isEmpty(req.Tools) && string(req.ToolChoice) != `"none"`:
		return no("tools", "it answers with one of its labels and calls nothing")
	case !isEmpty(req.Include):
		return no("include", "there is nothing more to its answer")
	case given(req.TopLogprobs) && string(req.TopLogprobs) != "0":
		return no("top_logprobs", "the tandem field has the answer's score instead")
	case req.Text.Format.Type != "" && req.Text.Format.Type != "text":
		return no("text.format", "its answer is the bare label; send {\"type\": \"text\"} or leave it out")
	}
	return nil
}

// responsesInput is the input of a task: a text, or the content of the last
// message of the role user.
func responsesInput(raw json.RawMessage) (tandem.Input, error) {
	var text string
	if given(raw) && json.Unmarshal(raw, &text) == nil {
		return tandem.TextInput(text), nil
	}
	return lastOfUser(raw, "input", responsesContent)
}

// responsesContent reads a message's content: a string or a list of parts.
func responsesContent(raw json.RawMessage, at string) (tandem.Input, error) {
	var text string
	if given(raw) && json.Unmarshal(raw, &text) == nil {
		return tandem.TextInput(text), nil
	}
	var parts []struct {
		Type     string          `json:"type"`
		Text     string          `json:"text"`
		ImageURL string          `json:"image_url"`
		Audio    json.RawMessage `json:"input_audio"`
	}
	if !given(raw) || json.Unmarshal(raw, &parts) != nil {
		return tandem.Input{}, invalid(at, `the content must be a text or a list of parts`)
	}
	in := tandem.Input{Parts: make([]tandem.Part, len(parts))}
	for i := range parts {
		p := &parts[i]
		part := chatPart{Type: p.Type, Text: p.Text}
		switch p.Type { // as chat completions have them, under other names
		case "input_text":
			part.Type = "text"
		case "input_image":
			part.Type = "image_url"
			part.ImageURL.URL = p.ImageURL
		case "input_audio":
			_ = json.Unmarshal(p.Audio, &part.Audio) // part says what is wrong with it
		default:
			e := tandem.Errorf(tandem.UnsupportedModality, "a task does not take parts of the type %q; there are input_text, input_image and input_audio", clip(p.Type))
			e.Param = fmt.Sprintf("%s[%d]", at, i)
			return tandem.Input{}, e
		}
		read, err := part.part()
		if err != nil {
			err.Param = fmt.Sprintf("%s[%d]", at, i)
			return tandem.Input{}, err
		}
		in.Parts[i] = read
	}
	return in, nil
}

// response writes a decision as a response, whole or streamed.
type response struct {
	decision *tandem.Decision
	model    string // as the client called it
	created  int64  // Unix seconds
}

// append encodes the response; while it is in progress there is no output.
func (p *response) append(b []byte, status string) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, "resp_"+p.decision.TraceID)
	b = append(b, `,"object":"response","created_at":`...)
	b = strconv.AppendInt(b, p.created, 10)
	b = append(b, `,"status":"`...)
	b = append(b, status...)
	b = append(b, `","background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"model":`...)
	b = appendString(b, p.model)
	b = append(b, `,"output":[`...)
	if status == "completed" {
		b = p.appendItem(b, status)
	}
	b = append(b, `],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"store":false,`...)
	b = append(b, `"temperature":null,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":null,"truncation":"disabled","usage":`...)
	if status == "completed" {
		b = p.appendUsage(b)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"user":null,"metadata":{}`...)
	if status == "completed" {
		b = append(b, `,"tandem":`...)
		b = appendDecision(b, p.decision)
	}
	return append(b, '}')
}

// appendItem encodes the message that is the output.
func (p *response) appendItem(b []byte, status string) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, "msg_"+p.decision.TraceID)
	b = append(b, `,"type":"message","status":"`...)
	b = append(b, status...)
	b = append(b, `","role":"assistant","content":[`...)
	if status == "completed" {
		b = p.appendPart(b, p.decision.Answer)
	}
	return append(b, `]}`...)
}

func (p *response) appendPart(b []byte, text string) []byte {
	b = append(b, `{"type":"output_text","annotations":[],"logprobs":[],"text":`...)
	b = appendString(b, text)
	return append(b, '}')
}

func (p *response) appendUsage(b []byte) []byte {
	u := p.decision.Usage
	b = append(b, `{"input_tokens":`...)
	b = strconv.AppendInt(b, int64(u.InputTokens), 10)
	b = append(b, `,"input_tokens_details":{"cached_tokens":`...)
	b = strconv.AppendInt(b, int64(u.CachedTokens), 10)
	b = append(b, `},"output_tokens":`...)
	b = strconv.AppendInt(b, int64(u.OutputTokens), 10)
	b = append(b, `,"output_tokens_details":{"reasoning_tokens":`...)
	b = strconv.AppendInt(b, int64(u.ReasoningTokens), 10)
	b = append(b, `},"total_tokens":`...)
	b = strconv.AppendInt(b, int64(u.InputTokens+u.OutputTokens), 10)
	return append(b, '}')
}

// appendStream encodes the events of a response, numbered as they come. The
// decision rides in the last one.
func (p *response) appendStream(b []byte) []byte {
	n := int64(0)
	event := func(kind string, body func(b []byte) []byte) {
		b = append(b, "event: "...)
		b = append(b, kind...)
		b = append(b, "\ndata: {\"type\":\""...)
		b = append(b, kind...)
		b = append(b, `","sequence_number":`...)
		b = strconv.AppendInt(b, n, 10)
		n++
		b = append(b, ',')
		b = body(b)
		b = append(b, "}\n\n"...)
	}
	whole := func(status string) func(b []byte) []byte {
		return func(b []byte) []byte { return p.append(append(b, `"response":`...), status) }
	}
	item := func(status string) func(b []byte) []byte {
		return func(b []byte) []byte { return p.appendItem(append(b, `"output_index":0,"item":`...), status) }
	}
	part := func(text string) func(b []byte) []byte {
		return func(b []byte) []byte { return p.appendPart(append(p.appendPlace(b), `"part":`...), text) }
	}
	text := func(key string) func(b []byte) []byte {
		return func(b []byte) []byte {
			return appendString(append(append(p.appendPlace(b), `"logprobs":[],`...), key...), p.decision.Answer)
		}
	}
	event("response.created", whole("in_progress"))
	event("response.in_progress", whole("in_progress"))
	event("response.output_item.added", item("in_progress"))
	event("response.content_part.added", part(""))
	event("response.output_text.delta", text(`"delta":`))
	event("response.output_text.done", text(`"text":`))
	event("response.content_part.done", part(p.decision.Answer))
	event("response.output_item.done", item("completed"))
	event("response.completed", whole("completed"))
	return b
}

// appendPlace says where in the output an event belongs.
func (p *response) appendPlace(b []byte) []byte {
	b = append(b, `"item_id":`...)
	b = appendString(b, "msg_"+p.decision.TraceID)
	return append(b, `,"output_index":0,"content_index":0,`...)
}
