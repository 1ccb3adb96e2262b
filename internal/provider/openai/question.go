package openai

import "tandem/internal/provider"

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

// question encodes a task's question.
func (m *model) question(q provider.Question, how provider.Asked) ([]byte, error) {
	c, err := q.Conversation(how.Format != plain)
	if err != nil {
		return nil, err
	}
	if !how.Warm {
		c.Temperature = new(float64)
	}
	switch how.Format {
	case jsonSchema:
		schema, err := provider.Encode(provider.AnswerSchema(q.Task))
		if err != nil {
			return nil, err
		}
		c.Format = provider.Format{Kind: "schema", Name: "answer", Strict: true, Schema: schema}
	case jsonObject:
		c.Format.Kind = "json"
	case plain:
	}
	req, err := newTalk(m.name, c)
	if err != nil {
		return nil, provider.Unreadable(err)
	}
	return provider.Encode(req)
}
