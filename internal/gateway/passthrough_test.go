package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem"
	"tandem/internal/gateway"
	"tandem/internal/provider"
)

// relay is a provider model that sends calls to a URL with its own small
// client: the gateway may not know any real provider.
type relay struct {
	url    string
	client *http.Client
	limit  time.Duration
}

func newRelay(t *testing.T, url string) *relay {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &relay{url: url, client: &http.Client{Transport: tr}}
}

func (r *relay) Ask(context.Context, provider.Question) (provider.Reply, error) {
	return provider.Reply{}, errors.ErrUnsupported
}

func (r *relay) Speaks(d provider.Dialect) bool { return d.OpenAI() }

func (r *relay) Forward(ctx context.Context, c provider.Call) (*http.Response, error) {
	if r.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.limit)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, "POST", r.url+c.Dialect.Path(), strings.NewReader(string(c.Body)))
	if err != nil {
		return nil, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, provider.Failed(ctx, err)
	}
	return res, nil
}

// through starts a gateway before an upstream.
func through(t *testing.T, h http.HandlerFunc, limit time.Duration) (*running, *watcher) {
	t.Helper()
	up := httptest.NewServer(h)
	t.Cleanup(up.Close)
	r := newRelay(t, up.URL)
	r.limit = limit
	w := &watcher{forwarded: make(chan tandem.Usage, 8)}
	return start(t, gateway.Options{Answerer: &answers{}, Directory: directory{"gpt": r}, Observer: w}), w
}

// watcher is an Observer.
type watcher struct {
	mu        sync.Mutex
	served    []string
	cost      float64
	forwarded chan tandem.Usage
}

func (w *watcher) Served(route string, status int, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.served = append(w.served, fmt.Sprint(route, " ", status))
}

func (w *watcher) Forwarded(_ string, u tandem.Usage, cost float64) {
	w.mu.Lock()
	w.cost += cost
	w.mu.Unlock()
	select {
	case w.forwarded <- u:
	default: // the test looks at the first ones only
	}
}

func (w *watcher) routes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.served...)
}

const forwardBody = `{ "model":"gpt", "weird" : {"x":[1.0, 2e0]} ,"messages":[]}`

func TestPassThrough(t *testing.T) {
	var arrived string
	reply := `{"id":"1", "unknown":[1.0], "usage":{"prompt_tokens":11,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}`
	g, w := through(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived = r.URL.Path + " " + string(b)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("X-Request-Id", "up-1")
		h.Set("Set-Cookie", "a=b")
		h.Set("X-Ratelimit-Remaining", "9")
		_, _ = io.WriteString(w, reply)
	}, 0)
	res, body := call(t, "POST", g.url+"/v1/chat/completions", forwardBody)
	if res.StatusCode != 200 || body != reply || arrived != "/chat/completions "+forwardBody {
		t.Errorf("%d %s; arrived %s", res.StatusCode, body, arrived)
	}
	h := res.Header
	if h.Get("X-Upstream-Request-Id") != "up-1" || h.Get("X-Request-Id") == "up-1" || h.Get("Set-Cookie") != "" || h.Get("X-Ratelimit-Remaining") != "9" ||
		h.Get("X-Tandem-Step") != "passthrough" {
		t.Errorf("headers %v", h)
	}
	if u := <-w.forwarded; u != (tandem.Usage{InputTokens: 11, OutputTokens: 5, CachedTokens: 4}) || w.cost != 21e-6 {
		t.Errorf("usage %+v at %g", u, w.cost)
	}
}

// TestPassThroughStream sees each chunk before the upstream sends the next.
func TestPassThroughStream(t *testing.T) {
	next := make(chan struct{})
	g, w := through(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		for i := range 20 {
			<-next
			fmt.Fprintf(w, "data: {\"n\":%d}\n\n", i)
			_ = rc.Flush()
		}
		<-next
		_, _ = io.WriteString(w, "data: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":20}}\n\ndata: [DONE]\n\n")
	}, 0)
	res := post(t, g.url+"/v1/chat/completions", strings.NewReader(forwardBody))
	r := bufio.NewReader(res.Body)
	for i := range 20 {
		next <- struct{}{}
		line, err := r.ReadString('\n')
		if want := fmt.Sprintf("data: {\"n\":%d}\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v", line, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	next <- struct{}{}
	rest, err := io.ReadAll(r)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("%q, %v", rest, err)
	}
	if u := <-w.forwarded; u != (tandem.Usage{InputTokens: 7, OutputTokens: 20}) {
		t.Errorf("usage %+v", u)
	}
}

// TestPassThroughFaults is the matrix of upstream faults, for plain and
// streamed calls.
func TestPassThroughFaults(t *testing.T) {
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"error":{"message":"upstream says so"}}`)
		}
	}
	cut := func(kind string, length string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			_, _ = io.WriteString(w, "data: {\"half\":")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	for name, tc := range map[string]struct {
		upstream http.HandlerFunc
		status   int
		code     tandem.Code // of tandem's own errors
		body     string      // passed through
		after    string      // Retry-After
		cut      bool
	}{
		"hang":            {upstream: func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, status: 504, code: tandem.TeacherTimeout},
		"429":             {upstream: status(429), status: 429, body: "upstream says so"},
		"429 Retry-After": {upstream: status(429, "Retry-After", "3"), status: 429, body: "upstream says so", after: "3"},
		"500":             {upstream: status(500), status: 500, body: "upstream says so"},
		"400":             {upstream: status(400), status: 400, body: "upstream says so"},
		"401":             {upstream: status(401), status: 502, code: tandem.TeacherUnavailable},
		"garbage":         {upstream: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x00\x01garbage") }, status: 200, body: "\x00\x01garbage"},
		"wrong type": {upstream: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>")
		}, status: 200, body: "<html>"},
		"cut stream":      {upstream: cut("text/event-stream", ""), status: 200, cut: true},
		"cut JSON":        {upstream: cut("application/json", ""), status: 200, cut: true},
		"cut length":      {upstream: cut("application/json", "1000"), status: 200, cut: true},
		"aborted":         {upstream: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, status: 502, code: tandem.TeacherUnavailable},
		"slow first byte": {upstream: func(w http.ResponseWriter, _ *http.Request) { time.Sleep(20 * time.Millisecond); status(200)(w, nil) }, status: 200, body: "upstream"},
	} {
		for _, stream := range []string{"", `,"stream":true`} {
			t.Run(name+stream, func(t *testing.T) {
				limit := time.Duration(0)
				if name == "hang" {
					limit = 100 * time.Millisecond
				}
				g, _ := through(t, tc.upstream, limit)
				res, err := http.Post(g.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"gpt"`+stream+`}`))
				if err != nil {
					if !tc.cut {
						t.Fatal(err)
					}
					return // cut before the header had left
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				if (err != nil) != tc.cut {
					t.Errorf("reading ended with %v", err)
				}
				if tc.code != "" {
					wantError(t, res, string(body), tc.status, tc.code, "")
				}
				if res.StatusCode != tc.status || !strings.Contains(string(body), tc.body) || res.Header.Get("Retry-After") != tc.after {
					t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
				}
				if err := g.stop(); err != nil {
					t.Errorf("something was left running: %v", err)
				}
			})
		}
	}
	t.Run("refuse connection", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		g := start(t, gateway.Options{Answerer: &answers{}, Directory: directory{"gpt": newRelay(t, "http://"+l.Addr().String())}})
		res, body := call(t, "POST", g.url+"/v1/chat/completions", forwardBody)
		wantError(t, res, body, 502, tandem.TeacherUnavailable, "could not be reached")
	})
}

// TestPassThroughGone cancels the upstream when the client goes.
func TestPassThroughGone(t *testing.T) {
	for name, first := range map[string]string{"before the first byte": "", "within the stream": "data: 1\n\n"} {
		t.Run(name, func(t *testing.T) {
			began, gone := make(chan struct{}), make(chan struct{})
			g, _ := through(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if first != "" {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = io.WriteString(w, first)
					_ = http.NewResponseController(w).Flush()
				}
				close(began)
				<-r.Context().Done()
				close(gone)
			}, 0)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "POST", g.url+"/v1/chat/completions", strings.NewReader(forwardBody))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				<-began
				cancel()
			}()
			if res, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			start := time.Now()
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				t.Fatal("the upstream goes on")
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("the upstream was cancelled only after %s", took)
			}
		})
	}
}

// TestPassThroughStreams holds many streams at once and loses none.
func TestPassThroughStreams(t *testing.T) {
	const streams, chunks = 64, 30
	g, _ := through(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for i := range chunks {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = rc.Flush()
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}, 0)
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			res, err := http.Post(g.url+"/v1/chat/completions", "application/json", strings.NewReader(forwardBody))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || strings.Count(string(body), "data: ") != chunks+1 {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	}
	wg.Wait()
}
