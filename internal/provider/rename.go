package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/textproto"
	"strings"
)

// RenameModel changes the model that a request names and leaves every other
// byte alone. contentType tells a form from JSON.
func RenameModel(contentType string, body []byte, name string) ([]byte, error) {
	boundary, ok := FormBoundary(contentType)
	if !ok {
		return rename(body, name)
	}
	var out []byte
	done := 0
	err := formFields(boundary, body, func(field string, from, to int) {
		if field == "model" {
			out = append(append(out, body[done:from]...), name...)
			done = to
		}
	})
	if err != nil {
		return nil, err
	}
	if done == 0 {
		return nil, errors.New("no model field")
	}
	return append(out, body[done:]...), nil
}

// rename changes the value of the top-level "model" field to name and leaves
// every other byte alone.
func rename(body []byte, name string) ([]byte, error) {
	value, err := json.Marshal(name)
	if err != nil {
		return nil, fmt.Errorf("encode model name: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	var out []byte
	done := int64(0)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("read value: %w", err)
		}
		if key != "model" {
			continue
		}
		end := d.InputOffset()
		out = append(out, body[done:end-int64(len(raw))]...)
		out = append(out, value...)
		done = end
	}
	if out == nil {
		return nil, errors.New("no model field")
	}
	return append(out, body[done:]...), nil
}

// FormBoundary returns the boundary of a multipart form, or false when the
// content type is another one.
func FormBoundary(contentType string) (string, bool) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return "", false
	}
	return params["boundary"], true
}

// FormField returns the value of a field of a multipart form in memory, and
// whether there is one. Of two fields of the name the last counts.
func FormField(boundary string, body []byte, name string) (value string, ok bool, err error) {
	err = formFields(boundary, body, func(field string, from, to int) {
		if field == name {
			value, ok = string(body[from:to]), true
		}
	})
	return value, ok, err
}

var errForm = errors.New("the multipart form is malformed or cut off")

// formFields tells the name of every field that is no file, with the place of
// its value.
func formFields(boundary string, body []byte, tell func(name string, from, to int)) error {
	mark := []byte("\r\n--" + boundary)
	var at int
	switch {
	case bytes.HasPrefix(body, mark[2:]):
		at = len(mark) - 2
	default: // a preamble
		i := bytes.Index(body, mark)
		if i < 0 {
			return errForm
		}
		at = i + len(mark)
	}
	for {
		rest := body[at:]
		if bytes.HasPrefix(rest, []byte("--")) {
			return nil
		}
		line := bytes.Index(rest, []byte("\r\n"))
		if line < 0 || len(bytes.TrimLeft(rest[:line], " \t")) > 0 {
			return errForm
		}
		head := bytes.Index(rest[line:], []byte("\r\n\r\n"))
		if head < 0 {
			return errForm
		}
		from := at + line + head + 4
		length := bytes.Index(body[from:], mark)
		if length < 0 {
			return errForm
		}
		header := rest[line : line+head] // empty, or after a line break
		if name, ok := fieldName(bytes.TrimPrefix(header, []byte("\r\n"))); ok {
			tell(name, from, from+length)
		}
		at = from + length + len(mark)
	}
}

// fieldName reads the name of a part that is no file out of its header.
func fieldName(header []byte) (string, bool) {
	for line := range strings.SplitSeq(string(header), "\r\n") {
		key, value, _ := strings.Cut(line, ":")
		if textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(key)) != "Content-Disposition" {
			continue
		}
		kind, params, err := mime.ParseMediaType(value)
		_, file := params["filename"]
		return params["name"], err == nil && kind == "form-data" && !file
	}
	return "", false
}
