package openai

import (
	"encoding/base64"
	"encoding/json"

	"tandem"
	"tandem/internal/provider"
)

// The formats by which a model is held to the labels, the most binding first,
// so that the next one asks less of the server.
const (
	jsonSchema = iota
	jsonObject
	plain
)

// formats maps the configuration's words. auto is jsonSchema with permission
// to step down.
var formats = map[string]int{"": jsonSchema, "auto": jsonSchema, "json_schema": jsonSchema, "json_object": jsonObject, "none": plain}

// The wire types of a chat completion request, as far as a question needs.
type (
	chatRequest struct {
		Model          string          `json:"model"`
		Messages       []chatMessage   `json:"messages"`
		Temperature    *float64        `json:"temperature,omitempty"`
		ResponseFormat *responseFormat `json:"response_format,omitempty"`
	}
	chatMessage struct {
		Role    string `json:"role"`
		Content any    `json:"content"` // string or []chatPart
	}
	chatPart struct {
		Type     string      `json:"type"`
		Text     string      `json:"text,omitempty"`
		ImageURL *imageURL   `json:"image_url,omitempty"`
		Audio    *inputAudio `json:"input_audio,omitempty"`
	}
	imageURL struct {
		URL string `json:"url"`
	}
	inputAudio struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	}
	responseFormat struct {
		Type   string       `json:"type"`
		Schema *namedSchema `json:"json_schema,omitempty"`
	}
	namedSchema struct {
		Name   string          `json:"name"`
		Strict bool            `json:"strict"`
		Schema provider.Schema `json:"schema"`
	}
)

// question encodes a task's question.
func (m *model) question(q provider.Question, how provider.Asked) ([]byte, error) {
	content, err := userContent(q.Input)
	if err != nil {
		return nil, err
	}
	req := chatRequest{
		Model: m.name,
		Messages: []chatMessage{
			{Role: "system", Content: provider.Instructions(q.Task, how.Format != plain)},
			{Role: "user", Content: content},
		},
	}
	if q.Rejected != "" {
		req.Messages = append(req.Messages,
			chatMessage{Role: "assistant", Content: q.Rejected},
			chatMessage{Role: "user", Content: provider.Insistence(q.Task, how.Format != plain)})
	}
	if !how.Warm {
		req.Temperature = new(float64)
	}
	switch how.Format {
	case jsonSchema:
		req.ResponseFormat = answerSchema(q.Task)
	case jsonObject:
		req.ResponseFormat = &responseFormat{Type: "json_object"}
	case plain:
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, &provider.Error{Code: tandem.Internal, Message: "the question could not be encoded", Cause: err}
	}
	return body, nil
}

// answerSchema holds the answer to the task's labels.
func answerSchema(t *tandem.Task) *responseFormat {
	return &responseFormat{Type: "json_schema", Schema: &namedSchema{Name: "answer", Strict: true, Schema: provider.AnswerSchema(t)}}
}

// userContent is the input as a user message: a string when it is one text,
// parts otherwise.
func userContent(in tandem.Input) (any, error) {
	if len(in.Parts) == 1 && in.Parts[0].Kind == tandem.Text {
		return in.Parts[0].Text, nil
	}
	parts := make([]chatPart, 0, len(in.Parts))
	for i := range in.Parts {
		p := &in.Parts[i]
		switch p.Kind {
		case tandem.Text:
			parts = append(parts, chatPart{Type: "text", Text: p.Text})
		case tandem.Image:
			url := p.URL
			if len(p.Data) > 0 {
				url = "data:" + p.MIME + ";base64," + base64.StdEncoding.EncodeToString(p.Data)
			}
			parts = append(parts, chatPart{Type: "image_url", ImageURL: &imageURL{URL: url}})
		case tandem.Audio:
			f, ok := audioFormats[p.MIME]
			if !ok || len(p.Data) == 0 {
				return nil, cannot("this provider takes audio as wav or mp3 data only")
			}
			parts = append(parts, chatPart{Type: "input_audio", Audio: &inputAudio{Data: base64.StdEncoding.EncodeToString(p.Data), Format: f}})
		default:
			return nil, cannot("this provider does not take " + string(p.Kind) + " parts")
		}
	}
	return parts, nil
}

var audioFormats = map[string]string{"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}

func cannot(message string) *provider.Error {
	return &provider.Error{Code: tandem.UnsupportedModality, Message: message}
}
