package gateway

import (
	"encoding/json"
	"net/http"
	"strings"

	"tandem"
	"tandem/internal/provider"
)

// call is a client's request, read as far as every dialect needs it.
type call struct {
	dialect provider.Dialect
	buf     *[]byte
	name    string // the model or task that it asks
}

// passing makes the endpoint of a dialect in which tasks do not answer.
func (s *Server) passing(d provider.Dialect) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, err := s.readCall(r, d)
		if err != nil {
			return err
		}
		if _, ok := s.task(c.name); ok && !s.isModel(c.name) {
			s.release(c.buf)
			return invalid("model", "%q is a task; tasks answer chat completions, responses, messages and %s", clip(c.name), "/v1/tasks/{task}/answer")
		}
		m, price, ok := s.Directory.Model(c.name)
		if !ok {
			s.release(c.buf)
			return s.noModel(c.name)
		}
		if !m.Speaks(d) {
			s.release(c.buf)
			return unspoken(d, c.name)
		}
		return s.forward(w, r, target{model: m, price: price, name: c.name}, d, *c.buf)
	}
}

func (s *Server) isModel(name string) bool {
	_, _, ok := s.Directory.Model(name)
	return ok
}

// unspoken refuses a call in a dialect that the model's provider cannot take.
func unspoken(d provider.Dialect, name string) error {
	return invalid("model", "the provider of %q does not speak %s; use another model or another endpoint", clip(name), string(d))
}

// readCall reads a request's body and the model it names. The body belongs to
// the caller, who releases it unless it is forwarded.
func (s *Server) readCall(r *http.Request, d provider.Dialect) (call, error) {
	buf, err := s.readBody(r)
	if err != nil {
		return call{}, err
	}
	c := call{dialect: d, buf: buf}
	if boundary, ok := provider.FormBoundary(r.Header.Get("Content-Type")); ok && d == provider.Transcriptions {
		var found bool
		if c.name, found, err = provider.FormField(boundary, *buf, "model"); err != nil {
			err = &tandem.Error{Code: tandem.InvalidRequest, Message: "the multipart form is malformed or cut off", Cause: err}
		} else if !found {
			c.name = ""
		}
	} else {
		var req struct {
			Model json.RawMessage `json:"model"`
		}
		if err = json.Unmarshal(*buf, &req); err != nil {
			err = wrongJSON(err)
		} else {
			err = field("model", req.Model, &c.name)
		}
	}
	if err == nil && c.name == "" {
		err = noName()
	}
	if err != nil {
		s.release(buf)
		return call{}, err
	}
	return c, nil
}

func noName() error {
	return invalid("model", `"model" must name a task or a model (GET /v1/models lists them)`)
}

// ask puts a request that a dialect has read to the task's cascade.
func (s *Server) ask(r *http.Request, task string, in tandem.Input, session string) (tandem.Decision, error) {
	q := tandem.Request{Task: task, Input: in, Session: r.Header.Get("X-Tandem-Session")}
	if q.Session == "" {
		q.Session = session
	}
	switch force := r.Header.Get("X-Tandem-Force"); force {
	case "":
	case "teacher":
		q.Teacher = true
	default:
		return tandem.Decision{}, invalid("X-Tandem-Force", `the header X-Tandem-Force knows one value: teacher`)
	}
	return s.Answerer.Answer(r.Context(), q)
}

// reply writes a decision's reply, or its stream, with the decision in
// headers.
func (s *Server) reply(w http.ResponseWriter, d *tandem.Decision, stream bool, write func(b []byte) []byte) {
	setDecision(w.Header(), d)
	buf, ok := s.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer s.release(buf)
	*buf = write((*buf)[:0])
	if stream {
		sendStream(w, *buf)
		return
	}
	sendJSON(w, *buf)
}

// isEmpty says whether a field is absent, null or an empty list.
func isEmpty(raw json.RawMessage) bool { return !given(raw) || string(raw) == "[]" }

// isFalse says whether a field is absent, null or false.
func isFalse(raw json.RawMessage) bool { return !given(raw) || string(raw) == "false" }

// isAnthropic says whether a path is one of Anthropic's API, whose clients
// expect its errors.
func isAnthropic(path string) bool {
	return path == "/v1/messages" || strings.HasPrefix(path, "/v1/messages/")
}
