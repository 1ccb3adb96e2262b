package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/gateway"
	"tandem/internal/provider"
	"tandem/internal/provider/anthropic"
	"tandem/internal/provider/gemini"
	"tandem/internal/provider/ollama"
	"tandem/internal/provider/openai"
	"tandem/internal/provider/providertest"
)

// foreign starts a gateway before one upstream of each kind, all of which give
// the response recorded for it under the name of a file.
func foreign(t *testing.T, file func(kind string) providertest.Response) (*running, *watcher, map[string]*string) {
	t.Helper()
	d := directory{}
	sent := map[string]*string{}
	for kind, config := range map[string]func(provider.Server) provider.Config{
		"openai":    func(s provider.Server) provider.Config { return openai.Config{Server: s} },
		"anthropic": func(s provider.Server) provider.Config { return anthropic.Config{Server: s} },
		"gemini":    func(s provider.Server) provider.Config { return gemini.Config{Server: s} },
		"ollama":    func(s provider.Server) provider.Config { return ollama.Config{Server: s} },
	} {
		answer := file(kind)
		body := new(string)
		sent[kind] = body
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			*body = string(b)
			answer.ServeHTTP(w, r)
		}))
		t.Cleanup(srv.Close)
		e, err := config(provider.Server{BaseURL: srv.URL, APIKey: "sk-upstream"}).Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		d[kind] = e.Model("real")
	}
	w := &watcher{forwarded: make(chan tandem.Usage, 8)}
	return start(t, gateway.Options{Answerer: &answers{}, Directory: d, Observer: w}), w, sent
}

func recorded(t *testing.T, name string) func(kind string) providertest.Response {
	return func(kind string) providertest.Response {
		return providertest.Load(t, "../provider/"+kind+"/testdata/"+name+".http")
	}
}

const (
	chatCall     = `{"model":"MODEL","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"weather?"}],"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]`
	messagesCall = `{"model":"MODEL","max_tokens":100,"system":"be brief","messages":[{"role":"user","content":"weather?"}],"tools":[{"name":"weather","input_schema":{"type":"object"}}]`
)

// TestTranslated answers every text dialect from every kind of provider that
// speaks another one, whole and streamed.
func TestTranslated(t *testing.T) {
	whole, w, sent := foreign(t, recorded(t, "chat"))
	streamed, sw, _ := foreign(t, recorded(t, "chat_stream"))
	for _, kind := range []string{"anthropic", "gemini", "ollama"} {
		t.Run("chat from "+kind, func(t *testing.T) {
			body := strings.Replace(chatCall, "MODEL", kind, 1)
			res, reply := call(t, "POST", whole.url+"/v1/chat/completions", body+"}")
			wantParts(t, res, reply, "translated", `"object":"chat.completion"`, `"content":"Let me look: Größe"`, `"reasoning_content":"Two cities."`,
				`"function":{"name":"weather","arguments":"{\"city\":\"Oslo\"}"}`, `"finish_reason":"tool_calls"`, `"prompt_tokens":20,"completion_tokens":30,"total_tokens":50`)
			if u := <-w.forwarded; u.InputTokens != 20 || u.OutputTokens != 30 {
				t.Errorf("usage %+v", u)
			}
			if !strings.Contains(*sent[kind], "be brief") || !strings.Contains(*sent[kind], "weather?") {
				t.Errorf("sent %s", *sent[kind])
			}
			res, reply = call(t, "POST", streamed.url+"/v1/chat/completions", body+`,"stream":true,"stream_options":{"include_usage":true}}`)
			wantParts(t, res, reply, "translated", `"object":"chat.completion.chunk"`, `"content":"Größe"`, `"reasoning_content":"cities."`, `"finish_reason":"tool_calls"`,
				`"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":30,"total_tokens":50`)
			if data := events(t, reply); data[len(data)-1] != "[DONE]" {
				t.Errorf("it ends with %s", data[len(data)-1])
			}
			if u := <-sw.forwarded; u.InputTokens != 20 || u.OutputTokens != 30 {
				t.Errorf("usage %+v", u)
			}
		})
	}
	for _, kind := range []string{"openai", "gemini", "ollama"} {
		t.Run("messages from "+kind, func(t *testing.T) {
			body := strings.Replace(messagesCall, "MODEL", kind, 1)
			res, reply := call(t, "POST", whole.url+"/v1/messages", body+"}")
			wantParts(t, res, reply, "translated", `"type":"message"`, `{"type":"thinking","thinking":"Two cities.","signature":""}`, `{"type":"text","text":"Let me look: Größe"}`,
				`"name":"weather","input":{"city":"Oslo"}`, `"stop_reason":"tool_use"`, `"output_tokens":30`)
			<-w.forwarded
			res, reply = call(t, "POST", streamed.url+"/v1/messages", body+`,"stream":true}`)
			wantParts(t, res, reply, "translated", `"text":"Größe"`)
			got := types(named(t, reply))
			if !strings.HasPrefix(got, "message_start content_block_start content_block_delta") || !strings.HasSuffix(got, "content_block_stop message_delta message_stop") ||
				strings.Count(got, "content_block_start") != 4 || strings.Count(got, "content_block_stop") != 4 {
				t.Errorf("the events are %s", got)
			}
			<-sw.forwarded
		})
	}
}

func wantParts(t *testing.T, res *http.Response, body, step string, parts ...string) {
	t.Helper()
	if res.StatusCode != 200 || res.Header.Get("X-Tandem-Step") != step {
		t.Fatalf("%d %v %s", res.StatusCode, res.Header, body)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("the reply lacks %s:\n%s", part, body)
		}
	}
}

// TestTranslatedFailures gives a provider's failures on in the client's
// dialect: its status and its words, but not that tandem's key is wrong.
func TestTranslatedFailures(t *testing.T) {
	for file, want := range map[string]struct {
		status      int
		kind, after string
		says        string
	}{
		"400":             {400, "invalid_request_error", "", providertest.Secret},
		"429_retry_after": {429, "rate_limit_error", "7", providertest.Secret},
		"500":             {500, "api_error", "", providertest.Secret},
		"401":             {502, "api_error", "", "api_key"},
	} {
		for _, stream := range []string{"", `,"stream":true`} {
			t.Run(file+stream, func(t *testing.T) {
				g, _, _ := foreign(t, recorded(t, file))
				for _, kind := range []string{"openai", "gemini", "ollama"} {
					res, body := call(t, "POST", g.url+"/v1/messages", strings.Replace(messagesCall, "MODEL", kind, 1)+stream+"}")
					wantMessagesError(t, res, body, want.status, want.kind, "", want.says)
					if res.Header.Get("Retry-After") != want.after || file == "401" && strings.Contains(body, providertest.Secret) {
						t.Errorf("%v %s", res.Header, body)
					}
				}
				for _, kind := range []string{"anthropic", "gemini", "ollama"} {
					res, body := call(t, "POST", g.url+"/v1/chat/completions", strings.Replace(chatCall, "MODEL", kind, 1)+stream+"}")
					if res.StatusCode != want.status || !strings.Contains(body, want.says) || !strings.Contains(body, `"error":{"message"`) || res.Header.Get("Retry-After") != want.after {
						t.Errorf("%s: %d %s", kind, res.StatusCode, body)
					}
				}
				if logs := g.logs.String(); strings.Contains(logs, providertest.Secret) {
					t.Errorf("a provider's words are in the log: %s", logs)
				}
			})
		}
	}
}

// TestTranslatedBreaks ends a stream that breaks in the dialect's own way.
func TestTranslatedBreaks(t *testing.T) {
	g, w, _ := foreign(t, recorded(t, "chat_stream_error"))
	for _, kind := range []string{"anthropic", "gemini", "ollama"} {
		_, body := call(t, "POST", g.url+"/v1/chat/completions", strings.Replace(chatCall, "MODEL", kind, 1)+`,"stream":true}`)
		data := events(t, body)
		if last := data[len(data)-1]; !strings.HasPrefix(last, `{"error":{"message":`) || strings.Contains(body, "[DONE]") || len(data) < 2 {
			t.Errorf("%s: the stream ends with %s", kind, last)
		}
	}
	for _, kind := range []string{"openai", "gemini", "ollama"} {
		_, body := call(t, "POST", g.url+"/v1/messages", strings.Replace(messagesCall, "MODEL", kind, 1)+`,"stream":true}`)
		e := named(t, body)
		if last := e[len(e)-1]; last["type"] != "error" || last["error"].(map[string]any)["type"] == "" || strings.Contains(body, "message_stop") || len(e) < 2 {
			t.Errorf("%s: the stream ends with %v", kind, last)
		}
	}
	if u := <-w.forwarded; u.InputTokens != 20 { // Anthropic had told it before
		t.Errorf("the usage of a broken stream is %+v", u)
	}
	if logs := g.logs.String(); !strings.Contains(logs, "broke off") || strings.Contains(logs, providertest.Secret) {
		t.Errorf("the log says %s", logs)
	}
}

// TestTranslatedRefuses names what cannot be carried as the client calls it,
// and tells of hints that are left out.
func TestTranslatedRefuses(t *testing.T) {
	g, _, sent := foreign(t, recorded(t, "chat"))
	for _, tc := range []struct{ kind, path, extra, param string }{
		{"anthropic", "/v1/chat/completions", `,"seed":7`, "seed"},
		{"anthropic", "/v1/chat/completions", `,"n":2`, "n"},
		{"anthropic", "/v1/chat/completions", `,"verbosity":"low"`, "verbosity"},
		{"ollama", "/v1/chat/completions", `,"tool_choice":"required"`, "tool_choice"},
		{"gemini", "/v1/chat/completions", `,"parallel_tool_calls":false`, "parallel_tool_calls"},
		{"openai", "/v1/messages", `,"top_k":7`, "top_k"},
		{"openai", "/v1/messages", `,"thinking":{"type":"enabled","budget_tokens":2000}`, "thinking.budget_tokens"},
		{"gemini", "/v1/messages", `,"output_config":{"effort":"max"}`, "output_config.effort"},
		{"ollama", "/v1/messages", `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`, "tool_choice.disable_parallel_tool_use"},
		{"openai", "/v1/messages", `,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"The answer is"}]`, "messages"},
	} {
		*sent[tc.kind] = ""
		head := chatCall
		if tc.path == "/v1/messages" {
			head = messagesCall
		}
		res, body := call(t, "POST", g.url+tc.path, strings.Replace(head, "MODEL", tc.kind, 1)+tc.extra+"}")
		if res.StatusCode != 400 || !strings.Contains(body, `"param":"`+tc.param+`"`) || *sent[tc.kind] != "" {
			t.Errorf("%s from %s: %d %s; sent %s", tc.extra, tc.kind, res.StatusCode, body, *sent[tc.kind])
		}
	}
	res, body := call(t, "POST", g.url+"/v1/messages", strings.Replace(messagesCall, "MODEL", "ollama", 1)+`,"cache_control":{"type":"ephemeral"},"metadata":{"user_id":"u"}}`)
	wantParts(t, res, body, "translated")
	if got := res.Header.Get("X-Tandem-Dropped"); got != "cache_control, metadata.user_id" {
		t.Errorf("told of %q", got)
	}
	res, body = call(t, "POST", g.url+"/v1/messages", `{"model":"openai","max_tokens":1,"messages":[{"role":"user","content":"`+"\xff"+`"}]}`)
	wantMessagesError(t, res, body, 400, "invalid_request_error", "", "UTF-8")
}

// TestTranslatedGone cancels the upstream when the client goes, and gives a
// silent one up.
func TestTranslatedGone(t *testing.T) {
	began, gone := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if strings.Contains(string(b), "silence") {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m\"}}\n\n")
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(srv.Close)
	d := directory{}
	for name, limit := range map[string]time.Duration{"claude": 0, "hasty": 100 * time.Millisecond} {
		e, err := anthropic.Config{Server: provider.Server{BaseURL: srv.URL, ForwardTimeout: limit}}.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		d[name] = e.Model("real")
	}
	g := start(t, gateway.Options{Answerer: &answers{}, Directory: d})

	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", g.url+"/v1/chat/completions", strings.NewReader(`{"model":"claude","stream":true,"messages":[{"role":"user","content":"x"}]}`))
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

	for _, stream := range []string{"", `,"stream":true`} {
		res, body := call(t, "POST", g.url+"/v1/chat/completions", `{"model":"hasty","messages":[{"role":"user","content":"silence"}]`+stream+`}`)
		wantError(t, res, body, 504, tandem.TeacherTimeout, "in time")
	}
}
