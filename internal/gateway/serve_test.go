package gateway_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/gateway"
	"tandem/internal/provider"
)

func TestTokens(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	g := start(t, gateway.Options{Answerer: &answers{}, Tokens: []string{"first-token", "second-token"}, Metrics: metrics})
	for _, tc := range []struct {
		path, token string
		status      int
	}{
		{"/v1/models", "", 401},
		{"/v1/models", "Bearer wrong", 401},
		{"/v1/models", "first-token", 401},
		{"/v1/models", "Basic first-token", 401},
		{"/v1/models", "Bearer first-token", 200},
		{"/v1/models", "bearer second-token", 200},
		{"/metrics", "", 401},
		{"/metrics", "Bearer first-token", 200},
		{"/healthz", "", 200},
		{"/readyz", "", 200},
		{"/nothing", "", 401},
	} {
		res, body := call(t, "GET", g.url+tc.path, "", "Authorization", tc.token)
		if res.StatusCode != tc.status {
			t.Errorf("%s with %q: %d %s", tc.path, tc.token, res.StatusCode, body)
		}
		if tc.status == 401 {
			wantError(t, res, body, 401, tandem.Unauthorized, "token")
		}
	}
	if strings.Contains(g.logs.String(), "-token") {
		t.Error("a token was logged")
	}
}

func TestForeignPage(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}})
	res, body := call(t, "POST", g.url+"/v1/tasks/support/answer", `{"input":"a"}`, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	wantError(t, res, body, 401, tandem.Unauthorized, "web pages")
}

func TestRequestID(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}})
	for sent, kept := range map[string]bool{"": false, "mine-1": true, strings.Repeat("a", 200): false, "with space": false} {
		res, _ := call(t, "GET", g.url+"/healthz", "", "X-Request-Id", sent)
		if got := res.Header.Get("X-Request-Id"); got == "" || (got == sent) != kept {
			t.Errorf("%q became %q", sent, got)
		}
	}
}

// unready is a Readiness.
type unready struct{}

func (unready) Ready() error { return errors.New("the task support has no teacher") }

func TestReady(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Readiness: unready{}})
	res, body := call(t, "GET", g.url+"/readyz", "")
	if res.StatusCode != 503 || body != `{"status":"not ready","why":"the task support has no teacher"}` {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, body := call(t, "GET", g.url+"/healthz", ""); res.StatusCode != 200 || body != `{"status":"ok"}` {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

func TestErrors(t *testing.T) {
	secret := errors.New("secret cause")
	for _, tc := range []struct {
		err    error
		status int
		code   tandem.Code
		says   string
		header map[string]string
	}{
		{err: secret, status: 500, code: tandem.Internal, says: "X-Request-Id"},
		{err: &tandem.Error{Code: tandem.Internal, Message: "secret message", Cause: secret}, status: 500, code: tandem.Internal, says: "X-Request-Id"},
		{err: &tandem.Error{Code: tandem.StorageFull, Message: "the disk is full", Cause: secret}, status: 507, code: tandem.StorageFull, says: "the disk is full"},
		{err: tandem.Errorf(tandem.Overloaded, "later"), status: 503, code: tandem.Overloaded, header: map[string]string{"Retry-After": "1"}},
		{err: tandem.Errorf(tandem.Conflict, "no"), status: 409, code: tandem.Conflict},
		{
			err:    &tandem.Error{Code: tandem.TeacherUnavailable, Message: "busy", Cause: &provider.Error{Status: 429, RetryAfter: 2500 * time.Millisecond, Retryable: true, Cause: secret}},
			status: 502, code: tandem.TeacherUnavailable, header: map[string]string{"Retry-After": "3", "X-Should-Retry": ""},
		},
		{
			err:    &tandem.Error{Code: tandem.TeacherUnavailable, Message: "the model refused", Cause: &provider.Error{Status: 200}},
			status: 502, code: tandem.TeacherUnavailable, header: map[string]string{"X-Should-Retry": "false"},
		},
		{err: tandem.Errorf(tandem.TeacherTimeout, "slow"), status: 504, code: tandem.TeacherTimeout},
		{err: context.DeadlineExceeded, status: 504, code: tandem.TeacherTimeout},
	} {
		g := start(t, gateway.Options{Answerer: &answers{err: tc.err}})
		for _, stream := range []string{"", `,"stream":true`} {
			res, body := call(t, "POST", g.url+"/v1/chat/completions", chatBody(stream))
			wantError(t, res, body, tc.status, tc.code, tc.says)
			if strings.Contains(body, "secret") {
				t.Errorf("the client sees %s", body)
			}
			for name, want := range tc.header {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		}
		if tc.status == 500 && !strings.Contains(g.logs.String(), "secret cause") {
			t.Error("the log does not say what happened")
		}
	}
}

func TestPanic(t *testing.T) {
	w := &watcher{}
	g := start(t, gateway.Options{Answerer: &answers{panics: true}, Observer: w})
	res, body := call(t, "POST", g.url+"/v1/tasks/support/answer", `{"input":"confidential"}`)
	wantError(t, res, body, 500, tandem.Internal, "log")
	if logs := g.logs.String(); strings.Contains(logs, "confidential") || !strings.Contains(logs, "stack") {
		t.Errorf("logged %s", logs)
	}
	if res, _ := call(t, "GET", g.url+"/healthz", ""); res.StatusCode != 200 {
		t.Error("the server is gone")
	}
	if got := w.routes(); !slices.Contains(got, "POST /v1/tasks/{task}/answer 500") {
		t.Errorf("observed %q", got)
	}
}

func TestConcurrent(t *testing.T) {
	a := &answers{block: make(chan struct{}), entered: make(chan struct{}, 1)}
	g := start(t, gateway.Options{Answerer: a, Limits: gateway.Limits{Concurrent: 1}})
	first := make(chan int)
	go func() {
		res, _ := call(t, "POST", g.url+"/v1/tasks/support/answer", `{"input":"a"}`)
		first <- res.StatusCode
	}()
	<-a.entered
	res, body := call(t, "POST", g.url+"/v1/tasks/support/answer", `{"input":"a"}`)
	wantError(t, res, body, 503, tandem.Overloaded, "limits.concurrent")
	if res, _ := call(t, "GET", g.url+"/healthz", ""); res.StatusCode != 200 {
		t.Error("health is refused under load")
	}
	close(a.block)
	if status := <-first; status != 200 {
		t.Errorf("the first request got %d", status)
	}
}

// TestDrain lets a request in flight finish and refuses new ones.
func TestDrain(t *testing.T) {
	a := &answers{block: make(chan struct{}), entered: make(chan struct{}, 1)}
	g := start(t, gateway.Options{Answerer: a})
	status := make(chan int)
	go func() {
		res, _ := call(t, "POST", g.url+"/v1/tasks/support/answer", `{"input":"a"}`)
		status <- res.StatusCode
	}()
	<-a.entered
	stopped := make(chan error)
	go func() { stopped <- g.stop() }()
	for { // until the listener is closed
		conn, err := net.Dial("tcp", g.addr)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request in flight: %v", err)
	default:
	}
	close(a.block)
	if got := <-status; got != 200 {
		t.Errorf("the request in flight got %d", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestDrainLimit cancels what does not finish.
func TestDrainLimit(t *testing.T) {
	a := &answers{block: make(chan struct{}), entered: make(chan struct{}, 1)}
	g := start(t, gateway.Options{Answerer: a, Limits: gateway.Limits{Drain: 50 * time.Millisecond}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		res, err := http.Post(g.url+"/v1/tasks/support/answer", "application/json", strings.NewReader(`{"input":"a"}`))
		if err == nil {
			_ = res.Body.Close()
		}
	}()
	<-a.entered
	if err := g.stop(); err == nil || !strings.Contains(err.Error(), "still running") {
		t.Errorf("got %v", err)
	}
	<-done
}

// TestSlowHeader cuts a client that never finishes its header or body off, and
// refuses a huge header.
func TestSlowClient(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Limits: gateway.Limits{HeaderTime: 100 * time.Millisecond, ReadTime: 200 * time.Millisecond, HeaderBytes: 8 << 10}})
	for name, tc := range map[string]struct{ send, want string }{
		"header": {"POST /v1/tasks/support/answer HTTP/1.1\r\nHost: x\r\nX-A", ""},
		"body":   {"POST /v1/tasks/support/answer HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"inp", "HTTP/1.1 400"},
		"huge":   {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", "HTTP/1.1 431"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(conn, tc.send); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Fatal("the server waits for ever")
			}
			if !strings.HasPrefix(string(got), tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNewNeeds(t *testing.T) {
	if _, err := gateway.New(gateway.Options{}); err == nil {
		t.Error("a gateway of nothing was made")
	}
	log := slog.New(slog.DiscardHandler)
	if _, err := gateway.New(gateway.Options{Answerer: &answers{}, Directory: directory{}, Log: log, Tokens: []string{""}}); err == nil {
		t.Error("an empty token was accepted")
	}
}

// traces is a Traces.
type traces struct{}

func (traces) Trace(_ context.Context, id string) (tandem.Trace, error) {
	if id != "t-1" {
		return tandem.Trace{}, tandem.Errorf(tandem.NotFound, "no trace %s is stored", id)
	}
	return tandem.Trace{ID: id, Task: "support", Answer: "refund"}, nil
}

func TestTraces(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Traces: traces{}})
	if res, body := call(t, "GET", g.url+"/v1/traces/t-1", ""); res.StatusCode != 200 || !strings.Contains(body, `"answer":"refund"`) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	res, body := call(t, "GET", g.url+"/v1/traces/t-2", "")
	wantError(t, res, body, 404, tandem.NotFound, "stored")
	g = start(t, gateway.Options{Answerer: &answers{}})
	res, body = call(t, "GET", g.url+"/v1/traces/t-1", "")
	wantError(t, res, body, 404, tandem.NotFound, "does not show")
}
