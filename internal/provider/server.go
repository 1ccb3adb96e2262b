package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"tandem"
)

// Server is the part of a configuration that all kinds of providers behind an
// HTTP server share.
type Server struct {
	// BaseURL is what comes before the endpoints' paths; docs/providers.md
	// shows it for each kind.
	BaseURL string `yaml:"base_url" jsonschema:"required"`
	// APIKey is the provider's key, sent the way it wants it; none when left
	// out.
	APIKey string `yaml:"api_key"`
	// Headers are sent with every call, such as api-key for Azure.
	Headers map[string]string `yaml:"headers"`
	// Timeout bounds one call that asks a task's question; 60s when left out.
	Timeout time.Duration `yaml:"timeout"`
	// ForwardTimeout bounds the wait for the first byte of a client's own
	// call and for every further byte of it; 10m when left out.
	ForwardTimeout time.Duration `yaml:"forward_timeout"`
	// MaxRetries is how often a failed question is asked again; 2 when left
	// out. Clients' own calls are never retried.
	MaxRetries *int `yaml:"max_retries" jsonschema:"minimum=0,maximum=10"`
}

// Defaults of what a configuration leaves out.
const (
	defaultTimeout        = time.Minute
	defaultForwardTimeout = 10 * time.Minute
	maxRetries            = 10
)

// Check says what is wrong with the configuration. example is a base URL of
// the kind, for the message.
func (s *Server) Check(example string) error {
	var faults []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(s.BaseURL)
	want(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", "base_url: must be a URL such as %s", example)
	if err == nil {
		want(u.User == nil, "base_url: holds a password; use api_key or headers")
		want(u.Fragment == "", "base_url: must not have a #fragment")
	}
	want(!strings.ContainsFunc(s.APIKey, isControl), "api_key: holds a line break or another control character")
	want(s.Timeout >= 0, "timeout: must not be negative")
	want(s.ForwardTimeout >= 0, "forward_timeout: must not be negative")
	want(s.MaxRetries == nil || *s.MaxRetries >= 0 && *s.MaxRetries <= maxRetries, "max_retries: must be 0 to %d", maxRetries)
	for name, value := range s.Headers {
		want(isToken(name) && !slices.Contains(reserved, textproto.CanonicalMIMEHeaderKey(name)), "headers.%s: not a header that can be set", name)
		want(!strings.ContainsFunc(value, isControl), "headers.%s: its value holds a line break or another control character", name)
	}
	return errors.Join(faults...)
}

// reserved headers are set by the protocol itself.
var reserved = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Accept-Encoding", "Content-Type"}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r)
	})
}

// Wire is a server with the connections to it: what the adapters of HTTP
// providers send their calls through.
type Wire struct {
	server Server
	base   *url.URL
	client *http.Client
	auth   func(h http.Header, key string)
}

// Wire makes the connections of a checked configuration, calling nobody. auth
// sets the headers that carry the key.
func (s *Server) Wire(auth func(h http.Header, key string)) (*Wire, error) {
	c := *s
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.ForwardTimeout == 0 {
		c.ForwardTimeout = defaultForwardTimeout
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("parse base_url: %w", err)
	}
	base.Path = strings.TrimRight(base.Path, "/")
	base.RawPath = ""
	return &Wire{server: c, base: base, auth: auth, client: &http.Client{
		Transport: transport(),
		// A redirect would send the key somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// transport makes connections with bounds on everything but the time of an
// answer, which each call bounds for itself.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    512,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // bytes are passed on as they come
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
	}
}

// Timeout bounds one call that asks a task's question.
func (w *Wire) Timeout() time.Duration { return w.server.Timeout }

// Policy is the default one with the configured number of retries.
func (w *Wire) Policy() Policy {
	p := DefaultPolicy()
	if w.server.MaxRetries != nil {
		p.Retries = *w.server.MaxRetries
	}
	return p
}

// Close lets go of idle connections.
func (w *Wire) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// url joins the base URL with a path below it; a query of the base URL stays.
func (w *Wire) url(path, query string) string {
	u := *w.base
	u.Path += path
	switch {
	case u.RawQuery == "":
		u.RawQuery = query
	case query != "":
		u.RawQuery += "&" + query
	}
	return u.String()
}

// Post makes one call with a JSON body, or one of the type that h says. The
// body is in memory, so the transport may repeat it on a connection that the
// server had already closed. h may be nil; it is the callee's.
func (w *Wire) Post(ctx context.Context, path, query string, body []byte, h http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url(path, query), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if h != nil {
		req.Header = h
	}
	if _, ok := req.Header["Content-Type"]; !ok {
		req.Header.Set("Content-Type", "application/json")
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header.Set("User-Agent", "tandem")
	}
	if w.server.APIKey != "" {
		w.auth(req.Header, w.server.APIKey)
	}
	for name, value := range w.server.Headers {
		req.Header.Set(name, value)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, unaddressed(err)
	}
	return res, nil
}

// Bearer sends the key as a bearer token.
func Bearer(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) }

// Forward passes a client's call on to the model that the server calls name,
// at a path below the base URL. extra headers go with it.
func (w *Wire) Forward(ctx context.Context, c Call, path, name string, extra http.Header) (*http.Response, error) {
	body := c.Body
	if c.Alias != name {
		var err error
		if body, err = RenameModel(c.Header.Get("Content-Type"), c.Body, name); err != nil {
			return nil, &Error{Code: tandem.InvalidRequest, Message: "the request has no readable model field", Cause: err}
		}
	}
	h := forwardHeader(c.Header)
	for name, values := range extra {
		if _, ok := h[name]; !ok {
			h[name] = values
		}
	}
	return w.Send(ctx, path, c.Query, body, h)
}

// Send makes a call of a client, bounded by silence: a stream may take as long
// as it flows. Failures are of type *Error; the caller closes the body.
func (w *Wire) Send(ctx context.Context, path, query string, body []byte, h http.Header) (*http.Response, error) {
	limit := w.server.ForwardTimeout
	ctx, cancel := context.WithCancelCause(ctx)
	silence := time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	res, err := w.Post(ctx, path, query, body, h)
	if err != nil {
		silence.Stop()
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			err = context.DeadlineExceeded
		}
		failed := Failed(ctx, err)
		cancel(nil)
		return nil, failed
	}
	res.Body = &watched{ReadCloser: res.Body, silence: silence, limit: limit, cancel: cancel}
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

// unaddressed takes the URL out of a transport's error: it may hold what
// should not be logged.
func unaddressed(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok && u.Unwrap() != nil {
		return u.Unwrap()
	}
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
		"Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "Cookie", "Openai-Organization", "Openai-Project",
		"Forwarded", "Via", "X-Real-Ip", "Origin", "Referer", "X-Request-Id":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Tandem-") || strings.HasPrefix(name, "Sec-")
}
