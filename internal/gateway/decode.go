package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"tandem"
)

// question is the body of a native request.
type question struct {
	input   tandem.Input
	session string
	teacher bool
}

// decodeQuestion reads a native request. Most are {"input":"…"} without an
// escape; those are read without encoding/json, which decides about all
// others.
func decodeQuestion(body []byte) (question, error) {
	if !utf8.Valid(body) {
		return question{}, notUTF8()
	}
	if text, ok := quickText(body); ok {
		return question{input: tandem.TextInput(text)}, nil
	}
	return slowQuestion(body)
}

func notUTF8() error {
	return tandem.Errorf(tandem.InvalidRequest, "the request is not valid UTF-8; encode it as UTF-8")
}

// quickText reads {"input":"…"} when the text has no escapes. It accepts only
// what encoding/json accepts, with the same result (FuzzQuestion).
func quickText(body []byte) (string, bool) {
	rest := skipSpace(body)
	for _, token := range [...]string{"{", `"input"`, ":"} {
		if !bytes.HasPrefix(rest, []byte(token)) {
			return "", false
		}
		rest = skipSpace(rest[len(token):])
	}
	if len(rest) == 0 || rest[0] != '"' {
		return "", false
	}
	rest = rest[1:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return "", false
	}
	text := rest[:end]
	for _, c := range text {
		if c < ' ' || c == '\\' {
			return "", false
		}
	}
	rest = skipSpace(rest[end+1:])
	if len(rest) == 0 || rest[0] != '}' || len(skipSpace(rest[1:])) != 0 {
		return "", false
	}
	return string(text), true
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\r' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// slowQuestion reads a native request with encoding/json, strictly.
func slowQuestion(body []byte) (question, error) {
	var wire struct {
		Input   json.RawMessage `json:"input"`
		Session string          `json:"session"`
		Teacher bool            `json:"teacher"`
	}
	if err := decodeStrict(body, &wire); err != nil {
		return question{}, err
	}
	q := question{session: wire.Session, teacher: wire.Teacher}
	switch raw := skipSpace(wire.Input); {
	case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		return question{}, invalid("input", `there is no "input"; send {"input": "the text"}`)
	case raw[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return question{}, wrongJSON(err)
		}
		q.input = tandem.TextInput(text)
	case raw[0] == '{':
		if err := decodeStrict(raw, &q.input); err != nil {
			return question{}, err
		}
		for i := range q.input.Parts {
			if err := checkPart(&q.input.Parts[i]); err != nil {
				return question{}, err
			}
		}
	default:
		return question{}, invalid("input", `"input" must be a text or {"parts": [...]}`)
	}
	return q, nil
}

// checkPart sees that a part holds what its kind needs.
func checkPart(p *tandem.Part) error {
	switch p.Kind {
	case tandem.Text:
		if len(p.Data) > 0 || p.URL != "" {
			return invalid("input", `a text part has "text" only`)
		}
	case tandem.Image, tandem.Audio:
		if (len(p.Data) > 0) == (p.URL != "") {
			return invalid("input", `an %s part needs either "data" (base64) with "mime", or "url"`, p.Kind)
		}
		if len(p.Data) > 0 && !isMIME(p.MIME) {
			return invalid("input", `an %s part with "data" needs its "mime", such as image/png`, p.Kind)
		}
	default:
		e := tandem.Errorf(tandem.UnsupportedModality, "there are no parts of the kind %q; there are text, image and audio", clip(string(p.Kind)))
		e.Param = "input"
		return e
	}
	return nil
}

// isMIME says whether s is of the form type/subtype, fit for a data URL.
func isMIME(s string) bool {
	kind, sub, ok := strings.Cut(s, "/")
	return ok && kind != "" && sub != "" && len(s) <= 64 && isPlain(s) && !strings.ContainsAny(sub, `/,;"`)
}

// clip bounds a client's word in an error message.
func clip(s string) string {
	if len(s) <= 40 {
		return s
	}
	end := 40
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// decodeStrict reads exactly one JSON value without unknown fields.
func decodeStrict(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return wrongJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return tandem.Errorf(tandem.InvalidRequest, "there is something after the JSON value")
	}
	return nil
}

// wrongJSON says what is wrong with a body, without quoting it.
func wrongJSON(err error) error {
	e := &tandem.Error{Code: tandem.InvalidRequest}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		e.Message = fmt.Sprintf("the JSON is malformed near byte %d", syntax.Offset)
		if strings.Contains(syntax.Error(), "max depth") {
			e.Message = "the JSON is nested too deeply"
		}
		return e
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e.Param = kind.Field
		e.Message = fmt.Sprintf("%q must not be a JSON %s", kind.Field, strings.Fields(kind.Value + " value")[0])
		if kind.Field == "" {
			e.Message = "the request must be a JSON object"
		}
		return e
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		e.Param = strings.Trim(name, `"`)
		e.Message = fmt.Sprintf("there is no field %s", clip(name))
		return e
	}
	if errors.Is(err, io.EOF) {
		e.Message = "the request is empty; send a JSON object"
		return e
	}
	e.Message = "the JSON is malformed or cut off"
	return e
}
