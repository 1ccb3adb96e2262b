package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"tandem"
)

// ServeHTTP admits a request, serves it and sees that it ends properly.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	rec, ok := s.recorders.Get().(*recorder)
	if !ok {
		rec = new(recorder)
	}
	rec.reset(w, s.Limits.WriteTime)
	w.Header()["X-Request-Id"] = []string{s.requestID(r)}
	defer s.finish(rec, r, start)
	if isOpen(r.URL.Path) {
		s.mux.ServeHTTP(rec, r)
		return
	}
	if err := s.admit(r); err != nil {
		s.sendError(rec, r, err)
		return
	}
	select {
	case s.inFlight <- struct{}{}:
		defer func() { <-s.inFlight }()
		s.mux.ServeHTTP(rec, r)
	default:
		s.sendError(rec, r, tandem.Errorf(tandem.Overloaded,
			"%d requests are in flight already; try again in a moment (limits.concurrent)", s.Limits.Concurrent))
	}
}

// isOpen names the paths that need no credential and are never refused for
// load: an orchestrator asks them.
func isOpen(path string) bool { return path == "/healthz" || path == "/readyz" }

// admit checks the credential, and that no web page of another origin makes a
// browser call us.
func (s *Server) admit(r *http.Request) error {
	if err := s.origins.Check(r); err != nil {
		return &tandem.Error{Code: tandem.Unauthorized, Message: "web pages of other origins may not call this server", Cause: err}
	}
	if len(s.tokens) == 0 {
		return nil
	}
	token, ok := credential(r)
	if !ok {
		return tandem.Errorf(tandem.Unauthorized, `credentials are missing; send the header "Authorization: Bearer" with an API token`)
	}
	sum := sha256.Sum256([]byte(token))
	match := 0
	for i := range s.tokens {
		match |= subtle.ConstantTimeCompare(sum[:], s.tokens[i][:])
	}
	if match == 0 {
		return tandem.Errorf(tandem.Unauthorized, "the API token is not one of this server's (api_tokens)")
	}
	return nil
}

// credential reads the token where the clients of the dialects put it.
func credential(r *http.Request) (string, bool) {
	if key := r.Header.Get("X-Api-Key"); key != "" && isAnthropic(r.URL.Path) {
		return key, true
	}
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// requestID takes the client's id when it is one, and makes one otherwise.
func (s *Server) requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= 128 && isPlain(id) {
		return id
	}
	var b [40]byte
	return string(strconv.AppendUint(append(b[:0], s.idPrefix...), s.requests.Add(1), 36))
}

// isPlain says whether s is safe in a header and a log.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// finish ends a request: it turns a panic into a response, tells the observer
// and writes the access log.
func (s *Server) finish(rec *recorder, r *http.Request, start time.Time) {
	p := recover()
	if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // net/http compares this value itself
		s.logPanic(r, rec, p)
		if rec.status == 0 {
			s.sendStatus(rec, r, http.StatusInternalServerError, internal())
			p = nil
		} else {
			p = http.ErrAbortHandler // half a response must not look like a whole one
		}
	}
	status, took := rec.status, time.Since(start)
	if status == 0 {
		status = http.StatusOK
	}
	route := r.Pattern
	if route == "" {
		route = "refused" // before routing: no credential, or overloaded
	}
	if s.Observer != nil {
		s.Observer.Served(route, status, took)
	}
	if s.Log.Enabled(r.Context(), slog.LevelDebug) {
		s.Log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("route", route), slog.Int("status", status),
			slog.Duration("took", took), slog.Int64("bytes", rec.bytes), slog.String("request_id", rec.requestID()),
			slog.Bool("aborted", p != nil))
	}
	rec.reset(nil, 0)
	s.recorders.Put(rec)
	if p != nil {
		panic(p)
	}
}

// logPanic logs where it happened. The value is left out unless it is the
// runtime's own: it might hold a prompt.
func (s *Server) logPanic(r *http.Request, rec *recorder, p any) {
	what := fmt.Sprintf("%T", p)
	if e, ok := p.(runtime.Error); ok {
		what = e.Error()
	}
	s.Log.LogAttrs(r.Context(), slog.LevelError, "panic in a handler", slog.String("what", what),
		slog.String("route", r.Pattern), slog.String("request_id", rec.requestID()), slog.String("stack", string(debug.Stack())))
}

// recorder is a ResponseWriter that remembers the status and grants every
// write its time.
type recorder struct {
	http.ResponseWriter
	deadline  interface{ SetWriteDeadline(time.Time) error }
	writeTime time.Duration
	status    int
	bytes     int64
}

func (c *recorder) reset(w http.ResponseWriter, writeTime time.Duration) {
	*c = recorder{ResponseWriter: w, writeTime: writeTime}
	c.deadline, _ = w.(interface{ SetWriteDeadline(time.Time) error })
}

// Unwrap lets http.ResponseController reach the connection.
func (c *recorder) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// WriteHeader notes the status.
func (c *recorder) WriteHeader(status int) {
	if c.status == 0 && status >= 200 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write gives the client writeTime to take p.
func (c *recorder) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	if c.deadline != nil {
		_ = c.deadline.SetWriteDeadline(time.Now().Add(c.writeTime)) // a dead connection fails the write itself
	}
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

func (c *recorder) requestID() string { return c.Header().Get("X-Request-Id") }

// A client that sends too much is listened to for a while, since many cannot
// read a response before they have sent their request.
const patience = 16 << 20

// readBody reads the body into a buffer of the pool; release returns it.
func (s *Server) readBody(r *http.Request) (*[]byte, error) {
	limit := s.Limits.BodyBytes
	if r.ContentLength > limit {
		_, _ = io.CopyN(io.Discard, r.Body, min(r.ContentLength, limit+patience))
		return nil, tooLarge(limit)
	}
	buf, ok := s.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	b := (*buf)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)) > limit {
			*buf = b
			s.release(buf)
			_, _ = io.CopyN(io.Discard, r.Body, patience)
			return nil, tooLarge(limit)
		}
		if errors.Is(err, io.EOF) {
			*buf = b
			return buf, nil
		}
		if err != nil {
			*buf = b
			s.release(buf)
			return nil, &tandem.Error{Code: tandem.InvalidRequest, Message: "the request body did not arrive in whole", Cause: err}
		}
	}
}

func tooLarge(limit int64) error {
	return tandem.Errorf(tandem.InputTooLarge, "the request body is larger than %d bytes (limits.body_bytes)", limit)
}

// maxPooled bounds the memory that an idle buffer keeps.
const maxPooled = 256 << 10

// release gives a buffer back. Nothing may refer to its bytes any more.
func (s *Server) release(buf *[]byte) {
	if cap(*buf) <= maxPooled {
		s.buffers.Put(buf)
	}
}
