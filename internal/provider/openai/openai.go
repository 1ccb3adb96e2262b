// Package openai asks models behind any server that speaks OpenAI's chat
// completions: OpenAI itself, Qianfan, Ollama, vLLM, llama.cpp, other gateways.
package openai

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"tandem/internal/provider"
)

// Config describes an endpoint.
type Config struct {
	// BaseURL is what comes before /chat/completions, usually ending in /v1.
	BaseURL string `yaml:"base_url" jsonschema:"required"`
	// APIKey is sent as the bearer token; none when left out.
	APIKey string `yaml:"api_key"`
	// Headers are sent with every call, such as api-key for Azure.
	Headers map[string]string `yaml:"headers"`
	// Timeout bounds one call that asks a task's question; 60s when left out.
	Timeout time.Duration `yaml:"timeout"`
	// ForwardTimeout bounds the wait for the first byte of a passed-through
	// call and for every further byte of it; 10m when left out.
	ForwardTimeout time.Duration `yaml:"forward_timeout"`
	// MaxRetries is how often a failed question is asked again; 2 when left
	// out. Passed-through calls are never retried.
	MaxRetries *int `yaml:"max_retries" jsonschema:"minimum=0,maximum=10"`
	// ResponseFormat is how the model is held to the task's labels. auto
	// begins with json_schema and settles for what the server takes.
	ResponseFormat string `yaml:"response_format" jsonschema:"enum=auto,enum=json_schema,enum=json_object,enum=none"`
}

// String leaves the key and the headers out.
func (c Config) String() string { return "openai " + c.BaseURL }

// GoString leaves the key and the headers out.
func (c Config) GoString() string { return c.String() }

// Defaults of what a configuration leaves out.
const (
	defaultTimeout        = time.Minute
	defaultForwardTimeout = 10 * time.Minute
	defaultRetries        = 2
	maxRetries            = 10
)

// Check says what is wrong with the configuration.
func (c Config) Check() error {
	var faults []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(c.BaseURL)
	want(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "",
		"base_url: must be a URL such as https://api.openai.com/v1")
	if err == nil {
		want(u.User == nil, "base_url: holds a password; use api_key or headers")
		want(u.Fragment == "", "base_url: must not have a #fragment")
	}
	want(!strings.ContainsFunc(c.APIKey, isControl), "api_key: holds a line break or another control character")
	want(c.Timeout >= 0, "timeout: must not be negative")
	want(c.ForwardTimeout >= 0, "forward_timeout: must not be negative")
	want(c.MaxRetries == nil || *c.MaxRetries >= 0 && *c.MaxRetries <= maxRetries, "max_retries: must be 0 to %d", maxRetries)
	_, known := formats[c.ResponseFormat]
	want(known, "response_format: %q is none of auto, json_schema, json_object, none", c.ResponseFormat)
	for name, value := range c.Headers {
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

// Open makes the endpoint without calling it.
func (c Config) Open() (provider.Endpoint, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
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
	return &endpoint{config: c, base: base, client: &http.Client{
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

// endpoint is a server with the connections to it.
type endpoint struct {
	config Config
	base   *url.URL
	client *http.Client
}

// Model returns the server's model of that name.
func (e *endpoint) Model(name string) provider.Model {
	m := &model{endpoint: e, name: name}
	m.format.Store(int32(formats[e.config.ResponseFormat]))
	return m
}

// Policy is the default one with the configured number of retries.
func (e *endpoint) Policy() provider.Policy {
	p := provider.DefaultPolicy()
	if e.config.MaxRetries != nil {
		p.Retries = *e.config.MaxRetries
	}
	return p
}

// Close lets go of idle connections.
func (e *endpoint) Close() error {
	e.client.CloseIdleConnections()
	return nil
}

// url joins the base URL with a path below it.
func (e *endpoint) url(path string) string {
	u := *e.base
	u.Path += path
	return u.String()
}

// authorize sets the headers that are the endpoint's own.
func (e *endpoint) authorize(h http.Header) {
	if e.config.APIKey != "" {
		h.Set("Authorization", "Bearer "+e.config.APIKey)
	}
	for name, value := range e.config.Headers {
		h.Set(name, value)
	}
}

// model is one model of the server and what has been learnt about it.
type model struct {
	*endpoint
	name   string
	format atomic.Int32 // the format in use
	warm   atomic.Bool  // the server refuses a temperature of 0
}

// Ask puts a task's question in one call.
func (m *model) Ask(ctx context.Context, q provider.Question) (provider.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, m.config.Timeout)
	defer cancel()
	how := asked{format: format(m.format.Load()), warm: m.warm.Load()}
	body, err := m.question(q, how)
	if err != nil {
		return provider.Reply{}, err
	}
	res, err := m.post(ctx, "/chat/completions", body, nil)
	if err != nil {
		return provider.Reply{}, provider.Failed(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // nothing more is wanted of it
	if res.StatusCode != http.StatusOK {
		return provider.Reply{}, m.refusedStatus(ctx, res, how)
	}
	return readReply(ctx, res)
}
