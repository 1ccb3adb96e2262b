package gateway

import (
	"encoding/json"
	"net/http"

	"tandem"
)

// answer is POST /v1/tasks/{task}/answer: the shortest way to a decision.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) error {
	buf, err := s.readBody(r)
	if err != nil {
		return err
	}
	defer s.release(buf)
	q, err := decodeQuestion(*buf)
	if err != nil {
		return err
	}
	d, err := s.Answerer.Answer(r.Context(), tandem.Request{
		Task: r.PathValue("task"), Input: q.input, Session: q.session, Teacher: q.teacher,
	})
	if err != nil {
		return s.explain(err, r.PathValue("task"))
	}
	*buf = appendReply((*buf)[:0], &d) // the question has been copied out of it
	sendJSON(w, *buf)
	return nil
}

// sendJSON writes a reply of status 200.
func sendJSON(w http.ResponseWriter, body []byte) {
	w.Header()["Content-Type"] = jsonType[:]
	_, _ = w.Write(body) // the client may have gone
}

// jsonType is shared by all responses; nothing writes to it.
var jsonType = [1]string{"application/json"}

// feedback is POST /v1/traces/{id}/feedback.
func (s *Server) feedback(w http.ResponseWriter, r *http.Request) error {
	buf, err := s.readBody(r)
	if err != nil {
		return err
	}
	defer s.release(buf)
	if err := checkUTF8(*buf); err != nil {
		return err
	}
	var f tandem.Feedback
	if err := decodeStrict(*buf, &f); err != nil {
		return err
	}
	if f.Label == "" && f.Comment == "" {
		return invalid("label", `send the right answer as "label", or a "comment"`)
	}
	if err := s.Answerer.Feedback(r.Context(), r.PathValue("id"), f); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// getTrace is GET /v1/traces/{id}.
func (s *Server) getTrace(w http.ResponseWriter, r *http.Request) error {
	if s.Traces == nil {
		return tandem.Errorf(tandem.NotFound, "this server does not show traces")
	}
	t, err := s.Traces.Trace(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	sendJSON(w, body)
	return nil
}
