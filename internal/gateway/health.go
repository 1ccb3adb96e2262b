package gateway

import (
	"errors"
	"net/http"
)

// healthz is GET /healthz: the process answers.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	sendJSON(w, []byte(`{"status":"ok"}`))
	return nil
}

// readyz is GET /readyz: requests are welcome, or why not.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	err := s.ready()
	if err == nil {
		sendJSON(w, []byte(`{"status":"ready"}`))
		return nil
	}
	b := append([]byte(`{"status":"not ready","why":`), appendString(nil, err.Error())...)
	w.Header()["Content-Type"] = jsonType[:]
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(append(b, '}')) // the client may have gone
	return nil
}

func (s *Server) ready() error {
	if s.draining.Load() {
		return errors.New("stopping: requests in flight are being finished")
	}
	if s.Readiness == nil {
		return nil
	}
	return s.Readiness.Ready()
}
