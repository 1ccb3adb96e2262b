package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"tandem"
	"tandem/internal/provider"
)

// textDialect is a dialect that conversations can be translated from, and
// their replies to.
type textDialect interface {
	// read makes a conversation of a request. What it cannot put into one it
	// refuses by the name of its field; nothing is left out.
	read(body []byte) (*conversation, error)
}

// conversation is a request that was read, and how its reply is written.
type conversation struct {
	*provider.Conversation
	stream bool
	writer replyWriter
}

// replyWriter writes the reply to one request.
type replyWriter interface {
	// whole encodes the whole reply.
	whole(b []byte, c *provider.Completion) []byte
	// event encodes an event of a stream; it may write nothing.
	event(b []byte, e *provider.Event) []byte
	// failed encodes the end of a stream that broke.
	failed(b []byte, status int, e *tandem.Error) []byte
}

// translate answers a client in its own dialect from a provider that speaks
// another one.
func (s *Server) translate(w http.ResponseWriter, r *http.Request, t target, body []byte, d textDialect) error {
	m, ok := t.model.(provider.Translator)
	if !ok {
		return invalid("model", "the provider of %q does not speak this dialect, and nothing translates for it; use another model or another endpoint", clip(t.name))
	}
	if err := checkUTF8(body); err != nil {
		return err
	}
	c, err := d.read(body)
	if err != nil {
		return err
	}
	if n := len(c.Messages); n == 0 || c.Messages[n-1].Role != provider.User {
		return invalid("messages", "the last message must be of the user, or a tool's result: other providers do not go on with a reply that has been begun")
	}
	if c.stream {
		return s.translateStream(w, r, t, m, c)
	}
	reply, err := m.Complete(r.Context(), c.Conversation)
	if err != nil {
		s.tellFailed(t, err)
		return relayed(err)
	}
	s.translated(w, r, c, &reply.ID, &reply.Model, t)
	sendJSON(w, c.writer.whole(nil, reply))
	s.tell(t, reply.Usage)
	return nil
}

// translateStream answers piece by piece. Once a piece has left, a failure
// ends the stream in the dialect's own way.
func (s *Server) translateStream(w http.ResponseWriter, r *http.Request, t target, m provider.Translator, c *conversation) error {
	stream, err := m.Stream(r.Context(), c.Conversation)
	if err != nil {
		return relayed(err)
	}
	defer func() { _ = stream.Close() }() // whatever it says, the call is over
	rc := http.NewResponseController(w)
	var buf []byte
	begun := false
	for {
		e, err := stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !begun:
			return relayed(err)
		case err != nil:
			s.tellFailed(t, err)
			status, public := (&upstreamError{asProvider(err)}).public()
			s.Log.LogAttrs(r.Context(), slog.LevelWarn, "translated stream broke off", slog.String("model", t.name),
				slog.Any("error", err), slog.String("request_id", w.Header().Get("X-Request-Id")))
			_, _ = w.Write(c.writer.failed(buf[:0], status, public)) // the client may have gone
			return nil
		}
		if e.Kind == provider.Began {
			s.translated(w, r, c, &e.ID, &e.Model, t)
			h := w.Header()
			h.Set("Content-Type", "text/event-stream")
			h.Set("Cache-Control", "no-cache")
		}
		begun = true
		if buf = c.writer.event(buf[:0], e); len(buf) > 0 {
			if _, err := w.Write(buf); err != nil {
				return nil // the client has gone, nobody is left to tell
			}
			_ = rc.Flush() // a failed flush shows in the next write
		}
		if e.Kind == provider.Ended {
			s.tell(t, e.Usage)
		}
	}
}

// translated sets the headers of a translated reply, and what its provider
// has no names for.
func (s *Server) translated(w http.ResponseWriter, r *http.Request, c *conversation, id, model *string, t target) {
	h := w.Header()
	h.Set("X-Tandem-Step", "translated")
	if len(c.Dropped) > 0 {
		h.Set("X-Tandem-Dropped", strings.Join(c.Dropped, ", "))
	}
	if isAnthropic(r.URL.Path) {
		h.Set("Request-Id", h.Get("X-Request-Id"))
	}
	if *id == "" {
		*id = h.Get("X-Request-Id")
	}
	if *model == "" {
		*model = t.name
	}
}

// tell tells the observer what a call used.
func (s *Server) tell(t target, u tandem.Usage) {
	if s.Observer != nil {
		s.Observer.Forwarded(t.name, u, t.price.Cost(u))
	}
}

// tellFailed tells the observer what a failed call cost all the same.
func (s *Server) tellFailed(t target, err error) {
	if e, ok := errors.AsType[*provider.Error](err); ok && e.Usage != (tandem.Usage{}) {
		s.tell(t, e.Usage)
	}
}

// upstreamError is a provider's failure of a client's own conversation: the
// client sees its status and its words.
type upstreamError struct{ failed *provider.Error }

// Error is the provider's error.
func (u *upstreamError) Error() string { return u.failed.Error() }

// Unwrap returns it.
func (u *upstreamError) Unwrap() error { return u.failed }

// public is what the client may see. That tandem's key is wrong is none of its
// business.
func (u *upstreamError) public() (int, *tandem.Error) {
	e := &tandem.Error{Code: u.failed.Code, Message: u.failed.Message}
	status := u.failed.Status
	if status < 400 || status == http.StatusUnauthorized {
		return u.failed.Code.HTTPStatus(), e
	}
	if u.failed.Detail != "" {
		e.Message = u.failed.Detail
	}
	if status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
		e.Code = tandem.InvalidRequest
	}
	return status, e
}

// relayed makes a provider's failure one that the client sees as its own.
func relayed(err error) error {
	if e, ok := errors.AsType[*tandem.Error](err); ok {
		return e
	}
	return &upstreamError{asProvider(err)}
}

func asProvider(err error) *provider.Error {
	if e, ok := errors.AsType[*provider.Error](err); ok {
		return e
	}
	return &provider.Error{Code: tandem.Internal, Message: "the reply could not be read", Cause: err}
}

// strict reads an object whose fields are all known; at is where it is in the
// request. An unknown field is one that no other provider would understand.
func strict(raw json.RawMessage, at string, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		return nil
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return cannotCarry(join(at, strings.Trim(name, `"`)))
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid(join(at, kind.Field), "%q has a value of the wrong type", join(at, kind.Field))
	}
	return wrongJSON(err)
}

// cannotCarry refuses a field that only providers of its own dialect know.
func cannotCarry(at string) error {
	return invalid(at, "%q cannot be translated for the model's provider, which speaks another dialect; leave it out or use another model", clip(at))
}

// join puts a path together.
func join(at, name string) string {
	switch {
	case at == "":
		return name
	case name == "":
		return at
	}
	return at + "." + name
}

// item is the path of a list's element.
func item(at string, i int) string { return fmt.Sprintf("%s[%d]", at, i) }

// list reads a list of values.
func list(raw json.RawMessage, at string) ([]json.RawMessage, error) {
	var out []json.RawMessage
	if err := field(at, raw, &out); err != nil {
		return nil, err
	}
	return out, nil
}

// neutral refuses the first field whose value is not one that says nothing.
type neutral struct {
	name   string
	raw    json.RawMessage
	values []string
}

func allNeutral(at string, fields ...neutral) error {
	for _, f := range fields {
		if !given(f.raw) {
			continue
		}
		compact := &bytes.Buffer{}
		_ = json.Compact(compact, f.raw) // it has been read as JSON
		ok := false
		for _, v := range f.values {
			ok = ok || compact.String() == v
		}
		if !ok {
			return cannotCarry(join(at, f.name))
		}
	}
	return nil
}

// encode appends a value as JSON without escaping HTML.
func encode(b []byte, v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return append(b, "null"...) // the writers' types cannot fail
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// object is a tool's input as an object, whatever its provider sent.
func object(raw json.RawMessage) json.RawMessage {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' || !json.Valid(raw) {
		return json.RawMessage("{}")
	}
	return raw
}
