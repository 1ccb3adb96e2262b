package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"tandem"
	"tandem/internal/provider"
)

// chatRequest holds the fields of a chat completion that tandem looks at. All
// are raw: a call that is passed through is the upstream's to judge.
type chatRequest struct {
	Model         json.RawMessage `json:"model"`
	Messages      json.RawMessage `json:"messages"`
	Stream        json.RawMessage `json:"stream"`
	StreamOptions json.RawMessage `json:"stream_options"`
	User          json.RawMessage `json:"user"`

	// Of a task, these would change what the answer is.
	N              json.RawMessage `json:"n"`
	Tools          json.RawMessage `json:"tools"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	Functions      json.RawMessage `json:"functions"`
	ResponseFormat json.RawMessage `json:"response_format"`
	Logprobs       json.RawMessage `json:"logprobs"`
	TopLogprobs    json.RawMessage `json:"top_logprobs"`
	Modalities     json.RawMessage `json:"modalities"`
	Audio          json.RawMessage `json:"audio"`
	WebSearch      json.RawMessage `json:"web_search_options"`
}

// chat is POST /v1/chat/completions: a task's when "model" names one, passed
// through to a provider's model otherwise.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) error {
	buf, err := s.readBody(r)
	if err != nil {
		return err
	}
	var req chatRequest
	if err := json.Unmarshal(*buf, &req); err != nil {
		s.release(buf)
		return wrongJSON(err)
	}
	var name string
	if err := field("model", req.Model, &name); err != nil || name == "" {
		s.release(buf)
		return noName()
	}
	if task, ok := s.task(name); ok {
		err := checkUTF8(*buf)
		s.release(buf) // req holds copies
		if err != nil {
			return err
		}
		return s.chatTask(w, r, &req, task, name)
	}
	if m, price, ok := s.Directory.Model(name); ok {
		t := target{model: m, price: price, name: name}
		if !m.Speaks(provider.ChatCompletions) {
			defer s.release(buf)
			return s.translate(w, r, t, *buf, chatDialect{})
		}
		// The transport may still read the body when Forward has returned, so
		// the buffer does not go back to the pool.
		return s.forward(w, r, t, provider.ChatCompletions, *buf)
	}
	s.release(buf)
	return s.noModel(name)
}

func checkUTF8(body []byte) error {
	if !utf8.Valid(body) {
		return notUTF8()
	}
	return nil
}

// chatTask answers with a task's decision in the shape of a completion.
func (s *Server) chatTask(w http.ResponseWriter, r *http.Request, req *chatRequest, task *tandem.Task, name string) error {
	if err := refuse(req); err != nil {
		return err
	}
	stream, withUsage, err := streaming(req)
	if err != nil {
		return err
	}
	input, err := lastOfUser(req.Messages, "messages", content)
	if err != nil {
		return err
	}
	var session string
	if err := field("user", req.User, &session); err != nil {
		return err
	}
	d, err := s.ask(r, task.Name, input, session)
	if err != nil {
		return err
	}
	c := completion{decision: &d, model: name, created: time.Now().Unix()}
	s.reply(w, &d, stream, func(b []byte) []byte {
		if stream {
			return c.appendStream(b, withUsage)
		}
		return c.append(b)
	})
	return nil
}

// refuse names the first field that a task cannot honour and that would
// change the answer's meaning or shape. Fields that only steer a model's
// wording are ignored (docs/api.md lists both).
func refuse(req *chatRequest) error {
	no := func(param, why string) error { return invalid(param, `a task does not take %q: %s`, param, why) }
	var n int
	var logprobs bool
	var format struct {
		Type string `json:"type"`
	}
	switch {
	case given(req.N) && (json.Unmarshal(req.N, &n) != nil || n != 1):
		return no("n", "it has one answer; send 1 or leave it out")
	case given(req.Tools) && !bytes.Equal(req.Tools, []byte("[]")) && !bytes.Equal(req.ToolChoice, []byte(`"none"`)):
		return no("tools", "it answers with one of its labels and calls nothing")
	case given(req.Functions) && !bytes.Equal(req.Functions, []byte("[]")):
		return no("functions", "it answers with one of its labels and calls nothing")
	case given(req.ResponseFormat) && (json.Unmarshal(req.ResponseFormat, &format) != nil || format.Type != "text"):
		return no("response_format", "its answer is the bare label; send {\"type\": \"text\"} or leave it out")
	case given(req.Logprobs) && (json.Unmarshal(req.Logprobs, &logprobs) != nil || logprobs):
		return no("logprobs", "the tandem field has the answer's score instead")
	case given(req.TopLogprobs) && !bytes.Equal(req.TopLogprobs, []byte("0")):
		return no("top_logprobs", "the tandem field has the answer's score instead")
	case given(req.Modalities) && !bytes.Equal(bytes.ReplaceAll(req.Modalities, []byte(" "), nil), []byte(`["text"]`)):
		return no("modalities", "it answers with text")
	case given(req.Audio):
		return no("audio", "it answers with text")
	case given(req.WebSearch):
		return no("web_search_options", "it does not search")
	}
	return nil
}

// given says whether a field is there and not null.
func given(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// field reads an optional field into a value of the type it must have.
func field(name string, raw json.RawMessage, into any) error {
	if !given(raw) {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return invalid(name, "%q has a value of the wrong type", name)
	}
	return nil
}

// streaming says whether the reply is to be a stream, with usage at its end.
func streaming(req *chatRequest) (stream, withUsage bool, err error) {
	var options struct {
		IncludeUsage bool `json:"include_usage"`
	}
	if err := field("stream", req.Stream, &stream); err != nil {
		return false, false, err
	}
	if err := field("stream_options", req.StreamOptions, &options); err != nil {
		return false, false, err
	}
	if given(req.StreamOptions) && !stream {
		return false, false, invalid("stream_options", `"stream_options" needs "stream": true`)
	}
	return stream, options.IncludeUsage, nil
}

// lastOfUser is the input of a task: the content of the last message of the
// role user. Earlier turns and system messages do not count: the task has
// instructions of its own. list names the list, content reads the dialect's
// content.
func lastOfUser(raw json.RawMessage, list string, content func(raw json.RawMessage, at string) (tandem.Input, error)) (tandem.Input, error) {
	var messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if !given(raw) || json.Unmarshal(raw, &messages) != nil {
		return tandem.Input{}, invalid(list, `%q must be a list of messages with "role" and "content"`, list)
	}
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role == "user" {
			return content(messages[i].Content, list+"["+strconv.Itoa(i)+"].content")
		}
	}
	return tandem.Input{}, invalid(list, `there is no message of the role "user"; a task answers the last one`)
}

// content reads a message's content: a string or a list of parts.
func content(raw json.RawMessage, param string) (tandem.Input, error) {
	var text string
	if given(raw) && json.Unmarshal(raw, &text) == nil {
		return tandem.TextInput(text), nil
	}
	var parts []chatPart
	if !given(raw) || json.Unmarshal(raw, &parts) != nil {
		return tandem.Input{}, invalid(param, `the content must be a text or a list of parts`)
	}
	in := tandem.Input{Parts: make([]tandem.Part, len(parts))}
	for i := range parts {
		p, err := parts[i].part()
		if err != nil {
			err.Param = param + "[" + strconv.Itoa(i) + "]"
			return tandem.Input{}, err
		}
		in.Parts[i] = p
	}
	return in, nil
}

// chatPart is one part of a message in OpenAI's shape.
type chatPart struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	ImageURL struct {
		URL string `json:"url"`
	} `json:"image_url"`
	Audio struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	} `json:"input_audio"`
}

// part translates it.
func (p *chatPart) part() (tandem.Part, *tandem.Error) {
	switch p.Type {
	case "text":
		return tandem.Part{Kind: tandem.Text, Text: p.Text}, nil
	case "image_url":
		if p.ImageURL.URL == "" {
			return tandem.Part{}, invalid("", "an image_url part needs its url")
		}
		inline, ok := strings.CutPrefix(p.ImageURL.URL, "data:")
		if !ok {
			return tandem.Part{Kind: tandem.Image, URL: p.ImageURL.URL}, nil
		}
		mime, encoded, ok := strings.Cut(inline, ";base64,")
		data, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(data) == 0 || !isMIME(mime) {
			return tandem.Part{}, invalid("", "the data URL must have the form data:image/png;base64,…")
		}
		return tandem.Part{Kind: tandem.Image, MIME: mime, Data: data}, nil
	case "input_audio":
		mime, ok := map[string]string{"wav": "audio/wav", "mp3": "audio/mpeg"}[p.Audio.Format]
		data, err := base64.StdEncoding.DecodeString(p.Audio.Data)
		if !ok || err != nil || len(data) == 0 {
			return tandem.Part{}, invalid("", "an input_audio part needs base64 data of the format wav or mp3")
		}
		return tandem.Part{Kind: tandem.Audio, MIME: mime, Data: data}, nil
	}
	return tandem.Part{}, tandem.Errorf(tandem.UnsupportedModality,
		"there are no parts of the type %q; there are text, image_url and input_audio", clip(p.Type))
}

// setDecision tells about the decision in headers, which reach also clients
// whose library hides unknown fields.
func setDecision(h http.Header, d *tandem.Decision) {
	var b [32]byte
	h.Set("X-Tandem-Step", string(d.Step))
	h.Set("X-Tandem-Model", headerSafe(d.Model))
	h.Set("X-Tandem-Score", string(strconv.AppendFloat(b[:0], d.Score, 'f', 4, 64)))
	h.Set("X-Tandem-Certified", strconv.FormatBool(d.Certified))
	h.Set("X-Tandem-Reason", string(d.Reason))
	h.Set("X-Tandem-Trace", headerSafe(d.TraceID))
	h.Set("X-Tandem-Cost", string(appendFloat(b[:0], d.CostUSD)))
	h.Set("X-Tandem-Saved", string(appendFloat(b[:0], d.SavedUSD)))
	h.Set("X-Tandem-Recorded", string(d.Recorded))
	if d.Recording {
		h.Set("X-Tandem-Recording", "true")
	}
}

// headerSafe drops what cannot stand in a header.
func headerSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, s)
}
