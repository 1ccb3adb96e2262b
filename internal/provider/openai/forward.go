package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// post makes one call. The body is in memory, so the transport may repeat it
// on a connection that the server had already closed.
func (e *endpoint) post(ctx context.Context, path string, body []byte, h http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url(path), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if h != nil {
		req.Header = h
	}
	req.Header.Set("Content-Type", "application/json")
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header.Set("User-Agent", "tandem")
	}
	e.authorize(req.Header)
	res, err := e.client.Do(req)
	if err != nil {
		return nil, unaddressed(err)
	}
	return res, nil
}

// Forward passes a client's call on.
func (m *model) Forward(ctx context.Context, c provider.Call) (*http.Response, error) {
	body := c.Body
	if c.Alias != m.name {
		var err error
		if body, err = rename(c.Body, m.name); err != nil {
			return nil, &provider.Error{Code: tandem.InvalidRequest, Message: "the request has no readable model field", Cause: err}
		}
	}
	// The time limit is on silence: a stream may take as long as it flows.
	ctx, cancel := context.WithCancelCause(ctx)
	silence := time.AfterFunc(m.config.ForwardTimeout, func() { cancel(context.DeadlineExceeded) })
	res, err := m.post(ctx, c.Path, body, forwardHeader(c.Header))
	if err != nil {
		silence.Stop()
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			err = context.DeadlineExceeded
		}
		failed := provider.Failed(ctx, err)
		cancel(nil)
		return nil, failed
	}
	res.Body = &watched{ReadCloser: res.Body, silence: silence, limit: m.config.ForwardTimeout, cancel: cancel}
	return res, nil
}

// watched is a response body that is given up when nothing comes for a while.
type watched struct {
	io.ReadCloser
	silence *time.Timer
	limit   time.Duration
	cancel  context.CancelCauseFunc
}

// Read reads on and grants the next read its time.
func (w *watched) Read(p []byte) (int, error) {
	w.silence.Reset(w.limit)
	return w.ReadCloser.Read(p)
}

// Close ends the call.
func (w *watched) Close() error {
	w.silence.Stop()
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}

// forwardHeader copies what concerns the upstream: not the connection, not
// the client's credentials and origin, nothing that is tandem's own.
func forwardHeader(from http.Header) http.Header {
	h := make(http.Header, len(from)+2)
	for name, values := range from {
		if !private(name) {
			h[name] = values
		}
	}
	for _, list := range from["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	return h
}

// private says whether a header of the client is kept from the upstream.
func private(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Content-Length", "Accept-Encoding", "Content-Encoding",
		"Authorization", "Api-Key", "X-Api-Key", "Cookie", "Openai-Organization", "Openai-Project",
		"Forwarded", "Via", "X-Real-Ip", "Origin", "Referer", "X-Request-Id":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Tandem-") || strings.HasPrefix(name, "Sec-")
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
		return nil, fmt.Errorf("no model field")
	}
	return append(out, body[done:]...), nil
}

// unaddressed takes the URL out of a transport's error: it may hold what
// should not be logged.
func unaddressed(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok && u.Unwrap() != nil {
		return u.Unwrap()
	}
	return err
}
