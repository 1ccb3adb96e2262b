// Package client calls a running tandem over its HTTP API.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tandem"
)

// Client calls one server. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// Options of a client. The zero value will do.
type Options struct {
	Token string       // API token, "" for a server without
	HTTP  *http.Client // nil: one without a timeout, since every call has a context
}

// New makes a client of the server at base, such as "http://127.0.0.1:8080".
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, tandem.Errorf(tandem.InvalidRequest, "the server's address must be a URL such as http://127.0.0.1:8080")
	}
	c := &Client{base: strings.TrimSuffix(strings.TrimRight(base, "/"), "/v1"), token: o.Token, http: o.HTTP}
	if c.http == nil {
		c.http = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConns: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: 10 * time.Second,
		}}
	}
	return c, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer asks a task. Errors that the server reports are of type
// *tandem.Error with its code. A server that cannot be reached, or is not
// tandem, is an *tandem.Error with the code Internal; when ctx was cancelled
// the error is ctx's.
func (c *Client) Answer(ctx context.Context, req tandem.Request) (tandem.Decision, error) {
	body, err := encode(req)
	if err != nil {
		return tandem.Decision{}, err
	}
	var reply struct {
		Tandem tandem.Decision `json:"tandem"`
	}
	err = c.call(ctx, http.MethodPost, "/v1/tasks/"+url.PathEscape(req.Task)+"/answer", body, &reply)
	return reply.Tandem, err
}

// Feedback tells the truth about an answered request.
func (c *Client) Feedback(ctx context.Context, traceID string, f tandem.Feedback) error {
	body, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode feedback: %w", err)
	}
	return c.call(ctx, http.MethodPost, "/v1/traces/"+url.PathEscape(traceID)+"/feedback", body, nil)
}

// Trace reads the learning record of a request, once it is stored.
func (c *Client) Trace(ctx context.Context, id string) (tandem.Trace, error) {
	var t tandem.Trace
	err := c.call(ctx, http.MethodGet, "/v1/traces/"+url.PathEscape(id), nil, &t)
	return t, err
}

// Model is something that can be named as "model": a task or a provider's
// model.
type Model struct {
	ID   string `json:"id"`
	Task bool   `json:"task"`
}

// Models lists what there is to ask.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	var list struct {
		Data []struct {
			ID      string `json:"id"`
			OwnedBy string `json:"owned_by"`
		} `json:"data"`
	}
	if err := c.call(ctx, http.MethodGet, "/v1/models", nil, &list); err != nil {
		return nil, err
	}
	models := make([]Model, len(list.Data))
	for i, m := range list.Data {
		models[i] = Model{ID: m.ID, Task: m.OwnedBy == "tandem"}
	}
	return models, nil
}

// Ready returns nil when the server wants requests, and otherwise why not.
func (c *Client) Ready(ctx context.Context) error {
	res, err := c.send(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // only read
	if res.StatusCode == http.StatusOK {
		return nil
	}
	var reply struct {
		Why string `json:"why"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxReply)).Decode(&reply); err != nil || reply.Why == "" {
		return tandem.Errorf(tandem.Overloaded, "the server is not ready (status %d)", res.StatusCode)
	}
	return tandem.Errorf(tandem.Overloaded, "the server is not ready: %s", reply.Why)
}

// encode is the body of a native request.
func encode(req tandem.Request) ([]byte, error) {
	wire := struct {
		Input   any    `json:"input"`
		Session string `json:"session,omitempty"`
		Teacher bool   `json:"teacher,omitempty"`
	}{Input: req.Input, Session: req.Session, Teacher: req.Teacher}
	if len(req.Input.Parts) == 1 && req.Input.Parts[0].Kind == tandem.Text {
		wire.Input = req.Input.Parts[0].Text
	}
	body, err := json.Marshal(wire)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return body, nil
}

// maxReply bounds what is read of a reply.
const maxReply = 16 << 20

// call sends a request and decodes its reply.
func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	res, err := c.send(ctx, method, path, r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // only read
	if res.StatusCode >= 300 {
		return readError(res)
	}
	if into == nil {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return failed(ctx, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return &tandem.Error{Code: tandem.Internal, Message: "the server's reply is not tandem's; check the address", Cause: err}
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, failed(ctx, err)
	}
	return res, nil
}

// failed makes the error of a call that had no reply.
func failed(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			return &tandem.Error{Code: tandem.TeacherTimeout, Message: "no reply within the time given", Cause: err}
		}
		return cause
	}
	return &tandem.Error{Code: tandem.Internal, Message: "the server cannot be reached; check that tandem serve runs at this address", Cause: err}
}

// wireError is an error as the server sends it.
type wireError struct {
	Error *struct {
		Message string      `json:"message"`
		Param   string      `json:"param"`
		Code    tandem.Code `json:"code"`
	} `json:"error"`
	Line int `json:"line"`
}

func (w *wireError) error() *tandem.Error {
	return &tandem.Error{Code: w.Error.Code, Message: w.Error.Message, Param: w.Error.Param}
}

// readError reads a failed response.
func readError(res *http.Response) error {
	var w wireError
	if err := json.NewDecoder(io.LimitReader(res.Body, maxReply)).Decode(&w); err != nil || w.Error == nil {
		return tandem.Errorf(tandem.Internal, "the server answered %d without saying why; check the address", res.StatusCode)
	}
	return w.error()
}
