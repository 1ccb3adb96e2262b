package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem"
	"tandem/internal/provider"
	"tandem/internal/provider/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open makes a model of a server that lives as long as the test.
func open(t testing.TB, c Config, h http.HandlerFunc) *model {
	t.Helper()
	srv := httptest.NewServer(h)
	c.BaseURL = srv.URL + "/v1"
	return opened(t, c, srv.Close)
}

func opened(t testing.TB, c Config, end func()) *model {
	t.Helper()
	e, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.Close()
		end()
	})
	m, ok := e.Model("upstream").(*model)
	if !ok {
		t.Fatal("not a model of this package")
	}
	return m
}

// completion is a reply as OpenAI sends it.
func completion(content, rest string) string {
	return `{"id":"c","object":"chat.completion","model":"upstream-2026","choices":[{"index":0,"message":{"role":"assistant",` +
		`"content":` + content + rest + `}` + `,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":21,"completion_tokens":4,"total_tokens":25,"prompt_tokens_details":{"cached_tokens":16}}}`
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func failureBody(code string) string {
	return `{"error":{"message":"` + providertest.Secret + `","type":"some_error","param":null,"code":"` + code + `"}}`
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Traits{}, func(t *testing.T, s providertest.Scenario) (provider.Model, bool) {
		if s == providertest.Refused {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_ = l.Close()
			return opened(t, Config{Server: provider.Server{BaseURL: "http://" + l.Addr().String()}}, func() {}), true
		}
		h, ok := upstream(s)
		if !ok {
			return nil, false
		}
		return open(t, Config{Server: provider.Server{APIKey: "sk-tandem"}, ResponseFormat: "json_schema"}, h), true
	})
}

// upstream plays a scenario.
func upstream(s providertest.Scenario) (http.HandlerFunc, bool) {
	good := completion(`"{\"answer\":\"refund\"}"`, "")
	body := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			reply(w, status, text)
		}
	}
	h, ok := map[providertest.Scenario]http.HandlerFunc{
		providertest.Success: body(200, good),
		providertest.NoUsage: body(200, good[:strings.Index(good, `,"usage"`)]+"}"),
		providertest.Reasoned: body(200, strings.Replace(strings.Replace(good, `"completion_tokens":4`, `"completion_tokens":40`, 1),
			`,"prompt_tokens_details"`, `,"completion_tokens_details":{"reasoning_tokens":36},"prompt_tokens_details"`, 1)),
		providertest.Refusal:     body(200, completion("null", `,"refusal":"I cannot help with that"`)),
		providertest.Filtered:    body(200, strings.Replace(completion(`""`, ""), `"stop"`, `"content_filter"`, 1)),
		providertest.RateLimited: body(429, failureBody("rate_limit_exceeded")),
		providertest.NoCredit:    body(429, failureBody("insufficient_quota")),
		providertest.ServerError: body(500, failureBody("server_error")),
		providertest.BadKey:      body(401, failureBody("invalid_api_key")),
		providertest.BadRequest:  body(400, failureBody("context_length_exceeded")),
		providertest.Garbage:     body(200, "\x00\x01 not json"),
		providertest.Truncated:   body(200, good[:len(good)/2]),
		providertest.Huge:        body(200, `{"choices":[{"message":{"content":"`+strings.Repeat("x", 10<<20)+`"}}]}`),
		providertest.Empty:       body(200, completion(`""`, "")),
		providertest.Hang: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
		providertest.RateLimitedS: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			reply(w, 429, failureBody("rate_limit_exceeded"))
		},
		providertest.WrongType: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>log in</html>")
		},
		providertest.Cut: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, good[:30])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	}[s]
	return h, ok
}

func TestQuestion(t *testing.T) {
	var got talkRequest
	var auth, extra string
	m := open(t, Config{Server: provider.Server{APIKey: "sk-tandem", Headers: map[string]string{"X-Extra": "1"}}}, func(w http.ResponseWriter, r *http.Request) {
		auth, extra = r.Header.Get("Authorization"), r.Header.Get("X-Extra")
		if r.URL.Path != "/v1/chat/completions" {
			t.Errorf("called %s", r.URL.Path)
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		reply(w, 200, completion(`"{\"answer\":\"refund\"}"`, ""))
	})
	in := tandem.Input{Parts: []tandem.Part{
		{Kind: tandem.Text, Text: "what is this?"},
		{Kind: tandem.Image, MIME: "image/png", Data: []byte("hi")},
		{Kind: tandem.Image, URL: "https://example.org/a.png"},
		{Kind: tandem.Audio, MIME: "audio/wav", Data: []byte("hi")},
	}}
	if _, err := m.Ask(t.Context(), provider.Question{Task: providertest.Task(), Input: in, Rejected: "money"}); err != nil {
		t.Fatal(err)
	}
	if auth != "Bearer sk-tandem" || extra != "1" {
		t.Errorf("headers: %q %q", auth, extra)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"model":"upstream"`, `"temperature":0`, `Which department?`, `- refund: wants money back\n- other\n`,
		`"enum":["refund","other"]`, `"strict":true`, `"additionalProperties":false`,
		`{"text":"what is this?","type":"text"}`, `"url":"data:image/png;base64,aGk="`, `"url":"https://example.org/a.png"`,
		`{"input_audio":{"data":"aGk=","format":"wav"},"type":"input_audio"}`,
		`{"role":"assistant","content":"money"}`, `That is not one of the allowed answers`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the question lacks %s:\n%s", part, text)
		}
	}
}

func TestOpenTaskAndManyLabels(t *testing.T) {
	var got talkRequest
	m := open(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		got = talkRequest{}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		reply(w, 200, completion(`"{\"answer\":\"x\"}"`, ""))
	})
	many := &tandem.Task{Name: "many"}
	for i := range 501 {
		many.Labels = append(many.Labels, tandem.Label{Name: fmt.Sprint("l", i)})
	}
	for _, task := range []*tandem.Task{{Name: "open"}, many} {
		if _, err := m.Ask(t.Context(), provider.Question{Task: task, Input: providertest.Input()}); err != nil {
			t.Fatal(err)
		}
		var schema provider.Schema
		if err := json.Unmarshal(got.ResponseFormat.Schema.Schema, &schema); err != nil {
			t.Fatal(err)
		}
		if answer := schema.Properties["answer"]; answer.Enum != nil || answer.Type != "string" {
			t.Errorf("%s: the schema is %+v", task.Name, answer)
		}
	}
}

// TestAdapts talks to servers that refuse parts of a question.
func TestAdapts(t *testing.T) {
	refuse := func(param, message string) string {
		return fmt.Sprintf(`{"error":{"message":%q,"type":"invalid_request_error","param":%q,"code":"unsupported_value"}}`, message, param)
	}
	for name, tc := range map[string]struct {
		format string
		judge  func(q map[string]any) string // the refusal, "" to accept
		calls  int32
		then   int32 // calls of a second question
		fails  bool
	}{
		"all accepted": {judge: func(map[string]any) string { return "" }, calls: 1, then: 1},
		"no schema": {judge: func(q map[string]any) string {
			if f, ok := q["response_format"].(map[string]any); ok && f["type"] == "json_schema" {
				return refuse("response_format.type", "not supported")
			}
			return ""
		}, calls: 2, then: 1},
		"no format, said in words": {judge: func(q map[string]any) string {
			if q["response_format"] != nil {
				return `{"error":{"message":"response_format is not available"}}`
			}
			return ""
		}, calls: 3, then: 1},
		"no temperature and no format": {judge: func(q map[string]any) string {
			if q["temperature"] != nil {
				return refuse("temperature", "only the default is supported")
			}
			if q["response_format"] != nil {
				return refuse("response_format", "no")
			}
			return ""
		}, calls: 4, then: 1},
		"format demanded": {format: "json_schema", judge: func(q map[string]any) string {
			return refuse("response_format", "no")
		}, calls: 1, then: 1, fails: true},
		"another fault": {judge: func(map[string]any) string { return refuse("messages", "too long") }, calls: 1, then: 1, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			m := open(t, Config{ResponseFormat: tc.format}, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				var q map[string]any
				if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
					t.Error(err)
				}
				if refusal := tc.judge(q); refusal != "" {
					reply(w, 400, refusal)
					return
				}
				reply(w, 200, completion(`"refund"`, ""))
			})
			for _, want := range []int32{tc.calls, tc.then} {
				calls.Store(0)
				out, err := provider.Ask(t.Context(), m, providertest.Task(), providertest.Input(), provider.Policy{})
				if (err != nil) != tc.fails || err == nil && out.Label != "refund" {
					t.Fatalf("got %+v, %v", out, err)
				}
				if got := calls.Load(); got != want || out.Calls != int(want) {
					t.Errorf("%d calls arrived, %d counted, want %d", got, out.Calls, want)
				}
			}
		})
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(completion(`[{"type":"text","text":"refund"}]`, "")))
	f.Add([]byte(`{"error":{"type":7,"code":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}
		var r provider.Reply
		c, err := readCompletion(context.Background(), res, provider.MaxAnswer)
		if err == nil {
			r, err = provider.Answered(res, c)
		}
		if err == nil && strings.TrimSpace(r.Text) == "" {
			t.Error("an empty answer was accepted")
		}
		if _, ok := errors.AsType[*provider.Error](err); err != nil && !ok {
			t.Errorf("an error of the type %T", err)
		}
	})
}

func TestForward(t *testing.T) {
	type arrived struct {
		body, path string
		header     http.Header
	}
	var got arrived
	m := open(t, Config{Server: provider.Server{APIKey: "sk-tandem"}}, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = arrived{string(b), r.URL.Path, r.Header}
		w.Header().Set("X-Ratelimit-Remaining", "7")
		reply(w, 418, "as it is")
	})
	header := http.Header{
		"Authorization": {"Bearer client"}, "X-Api-Key": {"client"}, "Cookie": {"a=b"}, "Connection": {"X-Hop, keep-alive"}, "X-Hop": {"1"},
		"X-Forwarded-For": {"10.0.0.1"}, "X-Tandem-Force": {"teacher"}, "Openai-Organization": {"client"}, "Accept-Encoding": {"br"},
		"Openai-Beta": {"assistants=v2"}, "User-Agent": {"OpenAI/Python"}, "Te": {"trailers"},
	}
	for alias, body := range map[string]string{"upstream": `{ "model" : "upstream" }`, "alias": `{ "model" : "alias" }`} {
		res, err := m.Forward(t.Context(), provider.Call{Dialect: provider.ChatCompletions, Header: header, Body: []byte(body), Alias: alias})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != 418 || string(b) != "as it is" || res.Header.Get("X-Ratelimit-Remaining") != "7" {
			t.Errorf("got %d %q %v", res.StatusCode, b, err)
		}
		if got.body != `{ "model" : "upstream" }` || got.path != "/v1/chat/completions" {
			t.Errorf("%q arrived as %q at %s", body, got.body, got.path)
		}
	}
	if got.header.Get("Authorization") != "Bearer sk-tandem" || got.header.Get("Openai-Beta") == "" || got.header.Get("User-Agent") != "OpenAI/Python" {
		t.Errorf("headers arrived as %v", got.header)
	}
	for _, name := range []string{"X-Api-Key", "Cookie", "X-Hop", "X-Forwarded-For", "X-Tandem-Force", "Openai-Organization", "Accept-Encoding", "Te"} {
		if v := got.header.Get(name); v != "" {
			t.Errorf("%s: %s arrived", name, v)
		}
	}
	if header.Get("Authorization") != "Bearer client" {
		t.Error("the client's headers were changed")
	}
}

// TestForwardSilence gives a stream up when nothing comes any more.
func TestForwardSilence(t *testing.T) {
	gone := make(chan struct{})
	m := open(t, Config{Server: provider.Server{ForwardTimeout: 50 * time.Millisecond}}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	res, err := m.Forward(t.Context(), provider.Call{Dialect: provider.ChatCompletions, Body: []byte(`{"model":"upstream"}`), Alias: "upstream"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err == nil || string(b) != "data: 1\n\n" {
		t.Errorf("read %q, %v", b, err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the upstream was not told")
	}
}

// TestRedirect never takes the key elsewhere.
func TestRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	m := open(t, Config{Server: provider.Server{APIKey: "sk-tandem"}}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	_, err := m.Ask(t.Context(), provider.Question{Task: providertest.Task(), Input: providertest.Input()})
	if e, ok := errors.AsType[*provider.Error](err); !ok || e.Status != 307 {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	three, eleven := 3, 11
	good := Config{Server: provider.Server{BaseURL: "https://api.openai.com/v1", APIKey: "k", MaxRetries: &three, Headers: map[string]string{"api-key": "x"}}, ResponseFormat: "auto"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	e, err := good.Open()
	if err != nil {
		t.Fatal(err)
	}
	if e.Policy().Retries != 3 {
		t.Errorf("the policy is %+v", e.Policy())
	}
	_ = e.Close()
	for name, c := range map[string]Config{
		"base_url: must":     {},
		"base_url: holds":    {Server: provider.Server{BaseURL: "http://user:pass@host"}},
		"base_url: must not": {Server: provider.Server{BaseURL: "http://host/#a"}},
		"api_key":            {Server: provider.Server{BaseURL: "http://host", APIKey: "a\nb"}},
		"timeout":            {Server: provider.Server{BaseURL: "http://host", Timeout: -1}},
		"forward_timeout":    {Server: provider.Server{BaseURL: "http://host", ForwardTimeout: -1}},
		"max_retries":        {Server: provider.Server{BaseURL: "http://host", MaxRetries: &eleven}},
		"response_format":    {Server: provider.Server{BaseURL: "http://host"}, ResponseFormat: "xml"},
		"headers.Host":       {Server: provider.Server{BaseURL: "http://host", Headers: map[string]string{"Host": "x"}}},
		"headers.a b":        {Server: provider.Server{BaseURL: "http://host", Headers: map[string]string{"a b": "x"}}},
		"headers.X: its":     {Server: provider.Server{BaseURL: "http://host", Headers: map[string]string{"X": "a\r\nb"}}},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := c.Open(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v", good, good, good); strings.Contains(s, "k\"") || strings.Contains(s, "api-key") {
		t.Errorf("printing shows secrets: %s", s)
	}
}
