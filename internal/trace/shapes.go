package trace

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tandem"
)

// wireTrace is a trace as a line of an export: the JSON of tandem.Trace with
// an input that is plain text where it can be.
type wireTrace struct {
	tandem.Trace
	Input json.RawMessage `json:"input"`
}

// exported reads a line of tandem's own export.
func (r *Reader) exported(line []byte, fields map[string]json.RawMessage) (tandem.Trace, error) {
	var w wireTrace
	if err := json.Unmarshal(line, &w); err != nil {
		return tandem.Trace{}, wrongType(err)
	}
	t := w.Trace
	switch {
	case t.Step != tandem.StudentStep && t.Step != tandem.ProviderStep:
		return tandem.Trace{}, fmt.Errorf(`"step" is %.20q; it must be "student" or "provider"`, t.Step)
	case !(t.Propensity >= 0 && t.Propensity <= 1):
		return tandem.Trace{}, fmt.Errorf(`"propensity" is %g; it must be between 0 and 1`, t.Propensity)
	case !(t.Score >= 0 && t.Score <= 1):
		return tandem.Trace{}, fmt.Errorf(`"score" is %g; it must be between 0 and 1`, t.Score)
	}
	if t.Source != tandem.Live {
		t.Source = tandem.Imported
	}
	var err error
	t.Input, err = input(fields["input"], "input")
	return t, err
}

// row reads {"input", "teacher"} with optional gold, session, time and id.
func (r *Reader) row(fields map[string]json.RawMessage) (tandem.Trace, error) {
	if fields["input"] == nil {
		return tandem.Trace{}, errors.New(`the field "input" is missing`)
	}
	if fields["teacher"] == nil {
		return tandem.Trace{}, errors.New(`the field "teacher" is missing; every row needs the large model's answer`)
	}
	in, err := input(fields["input"], "input")
	if err != nil {
		return tandem.Trace{}, err
	}
	t := tandem.Trace{Input: in, Labelled: true}
	err = firstOf(
		set(&t.Teacher, fields["teacher"], "teacher"),
		set(&t.TeacherModel, fields["teacher_model"], "teacher_model"),
		set(&t.Gold, fields["gold"], "gold"),
		set(&t.Session, fields["session"], "session"),
		set(&t.ID, fields["id"], "id"),
		setTime(&t.Time, fields["time"], "time"),
	)
	return t, err
}

// paths are the split names of the fields.
type paths struct{ text, teacher, gold, session, time, id []string }

func (f Fields) split() paths {
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return strings.Split(s, ".")
	}
	return paths{one(f.Text), one(f.Teacher), one(f.Gold), one(f.Session), one(f.Time), one(f.ID)}
}

// named reads a line by the fields the user named.
func (r *Reader) named(line []byte) (tandem.Trace, error) {
	f := r.opt.Fields
	find := func(path []string) json.RawMessage {
		if path == nil {
			return nil
		}
		return lookup(line, path)
	}
	text, teacher := find(r.paths.text), find(r.paths.teacher)
	if text == nil {
		return tandem.Trace{}, fmt.Errorf("the field %q (--text) is missing", f.Text)
	}
	if teacher == nil {
		return tandem.Trace{}, fmt.Errorf("the field %q (--teacher) is missing", f.Teacher)
	}
	in, err := input(text, f.Text)
	if err != nil {
		return tandem.Trace{}, err
	}
	t := tandem.Trace{Input: in, Labelled: true}
	err = firstOf(
		set(&t.Teacher, teacher, f.Teacher),
		set(&t.Gold, find(r.paths.gold), f.Gold),
		set(&t.Session, find(r.paths.session), f.Session),
		set(&t.ID, find(r.paths.id), f.ID),
		setTime(&t.Time, find(r.paths.time), f.Time),
	)
	return t, err
}

// lookup follows a path through objects and lists (by index; -1 is the last).
// A key that itself contains dots is found too.
func lookup(raw json.RawMessage, path []string) json.RawMessage {
	raw = bytes.TrimSpace(raw)
	if len(path) == 0 {
		if bytes.Equal(raw, []byte("null")) {
			return nil
		}
		return raw
	}
	if len(raw) == 0 {
		return nil
	}
	switch raw[0] {
	case '{':
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return nil
		}
		for n := 1; n <= len(path); n++ {
			if next, ok := object[strings.Join(path[:n], ".")]; ok {
				if found := lookup(next, path[n:]); found != nil {
					return found
				}
			}
		}
	case '[':
		var list []json.RawMessage
		i, err := strconv.Atoi(path[0])
		if err != nil || json.Unmarshal(raw, &list) != nil {
			return nil
		}
		if i < 0 {
			i += len(list)
		}
		if i >= 0 && i < len(list) {
			return lookup(list[i], path[1:])
		}
	case '"': // a document inside a string
		var inner string
		if json.Unmarshal(raw, &inner) == nil && strings.HasPrefix(strings.TrimSpace(inner), "{") && json.Valid([]byte(inner)) {
			return lookup(json.RawMessage(inner), path)
		}
	}
	return nil
}

// message is one message of a chat.
type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Refusal string          `json:"refusal"`
}

// response is what is read of a chat completion.
type response struct {
	Model   string          `json:"model"`
	Created json.RawMessage `json:"created"`
	Choices []struct {
		Message message `json:"message"`
		Finish  string  `json:"finish_reason"`
	} `json:"choices"`
}

// logged reads a request and its response in OpenAI's shape, or a line of a
// fine-tuning file.
func (r *Reader) logged(fields map[string]json.RawMessage) (tandem.Trace, error) {
	if p, c := fields["prompt"], fields["completion"]; p != nil && c != nil {
		in, err := input(p, "prompt")
		if err != nil {
			return tandem.Trace{}, err
		}
		t := tandem.Trace{Input: in, Labelled: true}
		return t, set(&t.Teacher, c, "completion")
	}
	request := unwrap(fields["request"])
	if request == nil && fields["messages"] != nil {
		request = fields
	}
	if request == nil {
		return tandem.Trace{}, errors.New(
			`the line has neither "input" and "teacher", nor "messages", nor "request" and "response"; name the fields with --text and --teacher`)
	}
	var messages []message
	if json.Unmarshal(request["messages"], &messages) != nil || len(messages) == 0 {
		return tandem.Trace{}, errors.New(`the request has no list of "messages"`)
	}
	t := tandem.Trace{Labelled: true}
	switch {
	case fields["response"] != nil:
		if err := r.answered(&t, fields["response"]); err != nil {
			return tandem.Trace{}, err
		}
	case fields["choices"] != nil:
		whole, err := json.Marshal(fields)
		if err != nil {
			return tandem.Trace{}, fmt.Errorf("read the response: %w", err)
		}
		if err := r.answered(&t, whole); err != nil {
			return tandem.Trace{}, err
		}
	default:
		last := messages[len(messages)-1]
		if last.Role != "assistant" {
			return tandem.Trace{}, errors.New(`the last message is not the assistant's, and there is no "response"`)
		}
		messages = messages[:len(messages)-1]
		if err := set(&t.Teacher, last.Content, "content"); err != nil {
			return tandem.Trace{}, fmt.Errorf("the assistant's message: %w", err)
		}
	}
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role != "user" {
			continue
		}
		in, err := input(messages[i].Content, "content")
		if err != nil {
			return tandem.Trace{}, err
		}
		t.Input = in
		err = firstOf(
			set(&t.ID, fields["id"], "id"),
			set(&t.Session, request["user"], "user"),
			set(&t.Gold, fields["gold"], "gold"),
		)
		if fields["time"] != nil {
			err = firstOf(err, setTime(&t.Time, fields["time"], "time"))
		}
		return t, err
	}
	return tandem.Trace{}, errors.New(`there is no message of the role "user"`)
}

// answered reads the teacher's answer out of a response, which may be a chat
// completion, one inside "body" or inside a string, or the bare answer.
func (r *Reader) answered(t *tandem.Trace, raw json.RawMessage) error {
	object := unwrap(raw)
	if object == nil {
		return set(&t.Teacher, raw, "response")
	}
	whole, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("read the response: %w", err)
	}
	var resp response
	if err := json.Unmarshal(whole, &resp); err != nil {
		return fmt.Errorf("the response: %w", wrongType(err))
	}
	if len(resp.Choices) == 0 {
		return errors.New(`the response has no "choices"; leave failed requests out of the file`)
	}
	choice := resp.Choices[0]
	switch {
	case choice.Message.Refusal != "":
		return errors.New("the teacher refused to answer; leave the line out")
	case choice.Finish == "length" || choice.Finish == "content_filter":
		return fmt.Errorf("the teacher's answer is not whole (finish_reason %s); leave the line out", choice.Finish)
	}
	if err := set(&t.Teacher, choice.Message.Content, "content"); err != nil {
		return fmt.Errorf("the teacher's answer: %w", err)
	}
	t.TeacherModel = resp.Model
	if resp.Created == nil {
		return nil
	}
	return setTime(&t.Time, resp.Created, "created")
}

// unwrap returns an object that may be inside a string or under "body".
func unwrap(raw json.RawMessage) map[string]json.RawMessage {
	for range 4 {
		raw = bytes.TrimSpace(raw)
		if len(raw) == 0 {
			return nil
		}
		if raw[0] == '"' {
			var inner string
			if json.Unmarshal(raw, &inner) != nil {
				return nil
			}
			raw = json.RawMessage(inner)
			continue
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return nil
		}
		if body, ok := object["body"]; ok && object["messages"] == nil && object["choices"] == nil {
			raw = body
			continue
		}
		return object
	}
	return nil
}

// input reads an input: a text, {"parts": …} as tandem writes it, or a list
// of content parts as chat messages have them.
func input(raw json.RawMessage, name string) (tandem.Input, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return tandem.Input{}, fmt.Errorf("the field %q is missing", name)
	}
	switch raw[0] {
	case '{':
		var in tandem.Input
		if err := json.Unmarshal(raw, &in); err != nil {
			return tandem.Input{}, fmt.Errorf("%q: %w", name, wrongType(err))
		}
		return in, nil
	case '[':
		return contentParts(raw, name)
	case 'n':
		return tandem.Input{}, fmt.Errorf("the field %q is null", name)
	}
	var text string
	if err := set(&text, raw, name); err != nil {
		return tandem.Input{}, err
	}
	return tandem.TextInput(text), nil
}

func contentParts(raw json.RawMessage, name string) (tandem.Input, error) {
	var parts []struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		ImageURL struct {
			URL string `json:"url"`
		} `json:"image_url"`
		Audio struct {
			Data   []byte `json:"data"`
			Format string `json:"format"`
		} `json:"input_audio"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return tandem.Input{}, fmt.Errorf("%q: %w", name, wrongType(err))
	}
	in := tandem.Input{Parts: make([]tandem.Part, len(parts))}
	for i, p := range parts {
		switch p.Type {
		case "text":
			in.Parts[i] = tandem.Part{Kind: tandem.Text, Text: p.Text}
		case "image_url":
			part, err := image(p.ImageURL.URL)
			if err != nil {
				return tandem.Input{}, err
			}
			in.Parts[i] = part
		case "input_audio":
			in.Parts[i] = tandem.Part{Kind: tandem.Audio, MIME: "audio/" + p.Audio.Format, Data: p.Audio.Data}
		default:
			return tandem.Input{}, fmt.Errorf("%q has a part of the unknown type %.20q", name, p.Type)
		}
	}
	return in, nil
}

// image reads a reference to an image or one inside a data URL.
func image(url string) (tandem.Part, error) {
	data, ok := strings.CutPrefix(url, "data:")
	if !ok {
		return tandem.Part{Kind: tandem.Image, URL: url}, nil
	}
	mime, body, ok := strings.Cut(data, ";base64,")
	if !ok {
		return tandem.Part{}, errors.New("the data URL of an image is not base64")
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return tandem.Part{}, errors.New("the data URL of an image is malformed")
	}
	return tandem.Part{Kind: tandem.Image, MIME: mime, Data: b}, nil
}

// set reads a text, a number or a truth value as text; an absent field or
// null leaves to as it is.
func set(to *string, raw json.RawMessage, name string) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil
	}
	switch raw[0] {
	case '"':
		if err := json.Unmarshal(raw, to); err != nil {
			return fmt.Errorf("the field %q is malformed", name)
		}
	case '{', '[':
		return fmt.Errorf("the field %q is not a text", name)
	case 'n':
	default:
		*to = string(raw)
	}
	return nil
}

// setTime reads RFC 3339, "2006-01-02 15:04:05", a date, or a Unix time in
// seconds, milliseconds or microseconds (told apart by size).
func setTime(to *time.Time, raw json.RawMessage, name string) error {
	var s string
	if err := set(&s, raw, name); err != nil {
		return err
	}
	if s == "" {
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			*to = t.UTC()
			return nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1e17 {
		return fmt.Errorf("the field %q is not a time; use RFC 3339 (2026-03-01T12:00:00Z) or Unix seconds", name)
	}
	switch {
	case f >= 1e14:
		*to = time.UnixMicro(int64(f)).UTC()
	case f >= 1e11:
		*to = time.UnixMilli(int64(f)).UTC()
	default:
		*to = time.UnixMicro(int64(math.Round(f * 1e6))).UTC()
	}
	return nil
}

// wrongType says which field has a wrong type, without its value.
func wrongType(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("the field %q has a wrong type (%s)", strings.TrimPrefix(e.Field, "Trace."), strings.Fields(e.Value + " ?")[0])
	}
	return errors.New("a field is malformed: " + err.Error())
}

// firstOf returns the first failure.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
