package gateway

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"

	"tandem"
	"tandem/internal/provider"
)

// target is where a call is passed through to.
type target struct {
	model provider.Model
	price tandem.Price
	name  string
}

// forward passes a call through: the response's status, headers and body are
// the upstream's, each piece sent on as it comes. A stream that the upstream
// cuts is cut for the client too, so that it cannot be taken for a whole one.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, t target, d provider.Dialect, body []byte) error {
	res, err := t.model.Forward(r.Context(), provider.Call{Dialect: d, Query: r.URL.RawQuery, Header: r.Header, Body: body, Alias: t.name})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // whatever it says, the call is over
	if res.StatusCode == http.StatusUnauthorized {
		// The client's own credential was good; a provider's message about
		// tandem's key is none of its business.
		return provider.StatusError(res.StatusCode, 0, "")
	}
	copyHeader(w.Header(), res.Header)
	w.Header().Set("X-Tandem-Step", "passthrough")
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	events := err == nil && kind == "text/event-stream"
	m := meter{dialect: d, events: events}
	flush := func() {}
	if events || res.ContentLength < 0 {
		rc := http.NewResponseController(w)
		flush = func() { _ = rc.Flush() } // a failed flush shows in the next write
	}
	w.WriteHeader(res.StatusCode)
	if events {
		flush() // the client may want to know that it is accepted
	}
	defer func() { s.account(t, &m, res.StatusCode) }()
	if err := s.pump(w, res.Body, flush, &m); err != nil {
		s.Log.LogAttrs(r.Context(), slog.LevelWarn, "passed-through response broke off", slog.String("model", t.name),
			slog.Any("error", err), slog.String("request_id", w.Header().Get("X-Request-Id")))
		panic(http.ErrAbortHandler)
	}
	return nil
}

// pump copies until the end; its error says which side broke.
func (s *Server) pump(w io.Writer, from io.Reader, flush func(), m *meter) error {
	buf, ok := s.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer s.release(buf)
	if cap(*buf) < 32<<10 {
		*buf = make([]byte, 0, 32<<10)
	}
	b := (*buf)[:cap(*buf)]
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil {
				return errors.Join(errors.New("write to the client"), err)
			}
			flush()
			m.see(b[:n])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.Join(errors.New("read from the provider"), err)
		}
	}
}

// account tells the observer what the call used, as far as the upstream said.
func (s *Server) account(t target, m *meter, status int) {
	if s.Observer == nil || status >= 300 {
		return
	}
	u := m.usage()
	s.Observer.Forwarded(t.name, u, t.price.Cost(u))
}

// copyHeader copies the upstream's headers but for those of its connection
// and its site.
func copyHeader(to, from http.Header) {
	for name, values := range from {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
			"Set-Cookie", "Strict-Transport-Security", "Alt-Svc", "Www-Authenticate", "Date":
			continue
		case "X-Request-Id":
			to["X-Upstream-Request-Id"] = values
			continue
		}
		to[name] = values
	}
	for _, list := range from["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			to.Del(strings.TrimSpace(name))
		}
	}
}
