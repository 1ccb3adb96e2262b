package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"tandem"
	"tandem/internal/config"
	"tandem/internal/console"
)

// deskFlags say where the tasks are that a command is about.
type deskFlags struct {
	fileFlag
	Server string `placeholder:"URL" help:"Address of a running tandem (default: listen of the configuration)."`
}

// at makes the calls of a command and closes the desk.
func (f *deskFlags) at(ctx context.Context, sys system, calls func(*desk) error) (err error) {
	d, err := f.open(ctx, sys)
	if err != nil {
		return err
	}
	defer closing(d.close, &err)
	return calls(d)
}

// desk talks to the console: to that of the running server that holds the data
// folder, or else to one of its own over the folder. Commands cannot tell the
// difference.
type desk struct {
	base   string
	token  string
	client *http.Client
	close  func() error
	tasks  []tandem.Task
	held   error // why the data folder could not be opened here
	own    bool  // no server runs: the console is in this process
}

// open finds the console to talk to.
func (f *deskFlags) open(ctx context.Context, sys system) (*desk, error) {
	cfg, err := config.Load(f.Config, sys.getenv)
	if err != nil {
		return nil, err
	}
	d := &desk{tasks: cfg.TandemTasks(), base: f.Server, token: sys.getenv("TANDEM_TOKEN")}
	if d.token == "" && len(cfg.APITokens) > 0 {
		d.token = cfg.APITokens[0].Reveal()
	}
	if f.Server == "" {
		handler, closeFolder, err := openDesk(ctx, sys, cfg, newLogger(cfg.Log, sys.stderr))
		switch {
		case err == nil:
			d.serve(handler, closeFolder)
			return d, nil
		case tandem.CodeOf(err) != tandem.Conflict:
			return nil, err
		}
		d.base, d.held = "http://"+dialable(cfg.Listen), err
	}
	d.base = strings.TrimRight(d.base, "/")
	if u, err := url.Parse(d.base); err != nil || u.Host == "" {
		return nil, usage("--server: %q is not an address such as http://127.0.0.1:8080", f.Server)
	}
	d.client, d.close = &http.Client{}, func() error { return nil }
	return d, nil
}

// serve answers the desk's calls in this process.
func (d *desk) serve(handler http.Handler, closeFolder func() error) {
	conns := newPipes()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(conns) }) // ends with conns
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return conns.dial(ctx) }}
	d.own, d.base, d.client = true, "http://127.0.0.1", &http.Client{Transport: transport}
	d.close = func() error {
		transport.CloseIdleConnections()
		err := server.Close()
		serving.Wait()
		return errors.Join(err, closeFolder())
	}
}

// call sends a request and decodes the answer into out, if not nil.
func (d *desk) call(ctx context.Context, method, path string, body, out any) error {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		reader = struct{ io.Reader }{b} // the client would close a file that is not its own
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		reader = bytes.NewReader(data)
	}
	resp, err := d.send(ctx, method, path, reader)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}

// send returns the answer when it is a success; the caller closes its body.
func (d *desk) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	resp, err := d.client.Do(req)
	if err != nil && d.held != nil {
		return nil, &tandem.Error{
			Code: tandem.CodeOf(d.held), Cause: err,
			Message: fmt.Sprintf("%s; and no tandem answers at %s", messageOf(d.held), d.base),
		}
	}
	if err != nil {
		return nil, fmt.Errorf("call tandem at %s (is it running? start it with: tandem serve): %w", d.base, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var failure console.Failure
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&failure); err != nil || failure.Error.Message == "" {
		return nil, fmt.Errorf("the server at %s answered %s, which is not tandem's way; is --server right?", d.base, resp.Status)
	}
	return nil, &tandem.Error{Code: failure.Error.Code, Message: failure.Error.Message, Param: failure.Error.Param}
}

// one picks the task that a command is about when only one is configured.
func (d *desk) one(name string) (string, error) {
	if name != "" {
		return name, nil
	}
	if len(d.tasks) == 1 {
		return d.tasks[0].Name, nil
	}
	names := make([]string, len(d.tasks))
	for i, t := range d.tasks {
		names[i] = t.Name
	}
	return "", usage("say which task with --task: %s", strings.Join(names, ", "))
}

// pipes is a listener for connections within the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- local{far}:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return thisMachine() }

// local is a connection that comes from this machine, as the console demands.
type local struct{ net.Conn }

// RemoteAddr implements net.Conn.
func (local) RemoteAddr() net.Addr { return thisMachine() }

func thisMachine() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
