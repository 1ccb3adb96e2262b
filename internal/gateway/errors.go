package gateway

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"tandem"
	"tandem/internal/provider"
)

// sendError answers with an error in the shape of the endpoint's dialect.
func (s *Server) sendError(w http.ResponseWriter, r *http.Request, err error) {
	e := public(err)
	status := e.Code.HTTPStatus()
	if u, ok := errors.AsType[*upstreamError](err); ok {
		status, e = u.public()
	}
	switch {
	case r.Context().Err() != nil: // nobody listens
		s.Log.LogAttrs(r.Context(), slog.LevelDebug, "client gone", slog.String("route", r.Pattern))
	case status >= 500:
		level := slog.LevelError
		switch e.Code {
		case tandem.TeacherUnavailable, tandem.TeacherTimeout:
			level = slog.LevelWarn
		case tandem.Overloaded:
			level = slog.LevelDebug // there are many of them; the metrics count
		}
		s.Log.LogAttrs(r.Context(), level, "request failed", slog.String("route", r.Pattern), slog.String("code", string(e.Code)),
			slog.Any("error", err), slog.String("request_id", w.Header().Get("X-Request-Id")))
	}
	h := w.Header()
	if e.Code == tandem.Overloaded {
		h.Set("Retry-After", "1")
	}
	if p, ok := errors.AsType[*provider.Error](err); ok {
		if p.RetryAfter > 0 {
			h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
		}
		if !p.Retryable {
			h.Set("X-Should-Retry", "false") // OpenAI's clients obey this
		}
	}
	s.sendStatus(w, r, status, e)
}

// sendStatus writes the error with a status of its own.
func (s *Server) sendStatus(w http.ResponseWriter, r *http.Request, status int, e *tandem.Error) {
	h := w.Header()
	var b []byte
	if isAnthropic(r.URL.Path) {
		h.Set("Request-Id", h.Get("X-Request-Id"))
		b = appendMessagesError(nil, status, e, h.Get("X-Request-Id"))
	} else {
		b = appendErrorBody(nil, e, 0)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may have gone
}

// public is what a client may see of an error.
func public(err error) *tandem.Error {
	if e, ok := errors.AsType[*tandem.Error](err); ok {
		if e.Code.HTTPStatus() != http.StatusInternalServerError {
			return e
		}
		return internal()
	}
	if p, ok := errors.AsType[*provider.Error](err); ok {
		return &tandem.Error{Code: p.Code, Message: p.Message}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return tandem.Errorf(tandem.TeacherTimeout, "no answer within the task's deadline")
	}
	return internal()
}

// internal says nothing of what went wrong: the log does.
func internal() *tandem.Error {
	return tandem.Errorf(tandem.Internal, "tandem failed to handle the request; its log has the details under this X-Request-Id")
}

// typeOf is OpenAI's coarser name for a kind of failure.
func typeOf(c tandem.Code) string {
	switch status := c.HTTPStatus(); {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status < 500:
		return "invalid_request_error"
	}
	return "server_error"
}

// appendErrorBody encodes an error; line > 0 names the line of a batch.
func appendErrorBody(b []byte, e *tandem.Error, line int) []byte {
	b = append(b, `{"error":{"message":`...)
	b = appendString(b, e.Message)
	b = append(b, `,"type":"`...)
	b = append(b, typeOf(e.Code)...)
	b = append(b, `","param":`...)
	if e.Param == "" {
		b = append(b, "null"...)
	} else {
		b = appendString(b, e.Param)
	}
	b = append(b, `,"code":`...)
	b = appendString(b, string(e.Code))
	b = append(b, '}')
	if line > 0 {
		b = append(b, `,"line":`...)
		b = strconv.AppendInt(b, int64(line), 10)
	}
	return append(b, '}')
}

// invalid makes the error of a bad field.
func invalid(param, format string, args ...any) *tandem.Error {
	e := tandem.Errorf(tandem.InvalidRequest, format, args...)
	e.Param = param
	return e
}
