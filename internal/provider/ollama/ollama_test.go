package ollama

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"tandem"
	"tandem/internal/provider"
	"tandem/internal/provider/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, baseURL string) provider.Model { return opened(t, baseURL, Config{}) }

func opened(t *testing.T, baseURL string, c Config) *model {
	t.Helper()
	c.BaseURL = baseURL
	e, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	m, ok := e.Model("upstream").(*model)
	if !ok {
		t.Fatal("not a model of this package")
	}
	return m
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Traits{Uncached: true}, providertest.Recorded("testdata", open))
	providertest.Translate(t, "testdata", open)
}

func contains(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("the request lacks %s:\n%s", part, body)
		}
	}
}

func TestQuestion(t *testing.T) {
	var body string
	answer := providertest.Load(t, "testdata/success.http")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = r.URL.Path + " " + string(b)
		answer.ServeHTTP(w, r)
	}))
	defer srv.Close()
	q := provider.Question{Task: providertest.Task(), Rejected: "money", Input: tandem.Input{Parts: []tandem.Part{
		{Kind: tandem.Text, Text: "what is this?"}, {Kind: tandem.Image, MIME: "image/png", Data: []byte("hi")},
	}}}
	for format, want := range map[string]string{"": `"format":{"type":"object"`, "json": `"format":"json"`, "none": `"stream":false`} {
		reply, err := opened(t, srv.URL, Config{AnswerFormat: format, Context: 8192}).Ask(t.Context(), q)
		if err != nil || reply.Text != "refund" {
			t.Errorf("got %+v, %v", reply, err)
		}
		contains(t, body, want, "/api/chat ", `"model":"upstream"`, `"stream":false`, `"options":{"num_ctx":8192,"temperature":0}`, `Which department?`,
			`{"role":"user","content":"what is this?","images":["aGk="]}`, `{"role":"assistant","content":"money"}`)
	}
	_, err := opened(t, srv.URL, Config{}).Ask(t.Context(), provider.Question{
		Task:  providertest.Task(),
		Input: tandem.Input{Parts: []tandem.Part{{Kind: tandem.Image, URL: "https://example.org/a.png"}}},
	})
	if e, ok := errors.AsType[*provider.Error](err); !ok || e.Code != tandem.UnsupportedModality {
		t.Errorf("an image by reference gives %v", err)
	}
}

func TestAdapts(t *testing.T) {
	good := providertest.Load(t, "testdata/success.http")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q map[string]any
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		if _, ok := q["format"].(map[string]any); ok { // as servers before schemas
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":"json: cannot unmarshal object into Go struct field ChatRequest.format of type string"}`)
			return
		}
		good.ServeHTTP(w, r)
	}))
	defer srv.Close()
	m := opened(t, srv.URL, Config{})
	for _, want := range []int{2, 1} {
		out, err := provider.Ask(t.Context(), m, providertest.Task(), providertest.Input(), provider.Policy{})
		if err != nil || out.Label != "refund" || out.Calls != want {
			t.Errorf("got %+v, %v; want %d calls", out, err, want)
		}
	}
}

func TestNoSuchModel(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(providertest.Load(t, "testdata/404.http").ServeHTTP))
	defer srv.Close()
	_, err := opened(t, srv.URL, Config{}).Ask(t.Context(), provider.Question{Task: providertest.Task(), Input: providertest.Input()})
	if e, ok := errors.AsType[*provider.Error](err); !ok || e.Status != 404 || e.Retryable || !strings.Contains(e.Message, "model's name") {
		t.Errorf("got %v", err)
	}
}

func number[T any](v T) *T { return &v }

// TestRequest writes every field of a conversation, or refuses it by its name.
func TestRequest(t *testing.T) {
	user := func(b ...provider.Block) []provider.Message {
		return []provider.Message{{Role: provider.User, Blocks: b}}
	}
	text := provider.Block{Kind: provider.TextBlock, Text: "a"}
	call := func(b ...provider.Block) []provider.Message {
		return append([]provider.Message{{Role: provider.Assistant, Blocks: []provider.Block{{Kind: provider.ThinkingBlock, Text: "t"}, {Kind: provider.ToolUse, ID: "i", Name: "f", Input: json.RawMessage(`{}`)}}}}, user(b...)...)
	}
	tools := []provider.Tool{{Name: "f", Description: "d", Schema: json.RawMessage(`{"type":"object"}`)}}
	for name, tc := range map[string]struct {
		c       provider.Conversation
		has     string
		lacks   string
		dropped string
		fail    string // the name of the field
	}{
		"numbers": {
			c:   provider.Conversation{Temperature: number(1.5), TopP: number(0.5), TopK: number(5), Seed: number(int64(1)), MaxTokens: 7, Stop: []string{"x"}, PresencePenalty: number(0.1), FrequencyPenalty: number(0.2)},
			has: `"options":{"num_predict":7,"temperature":1.5,"top_p":0.5,"top_k":5,"seed":1,"stop":["x"],"presence_penalty":0.1,"frequency_penalty":0.2}`,
		},
		"user":               {c: provider.Conversation{User: "u"}, has: `"model"`, dropped: "user"},
		"json":               {c: provider.Conversation{Format: provider.Format{Kind: "json"}}, has: `"format":"json"`},
		"schema":             {c: provider.Conversation{Format: provider.Format{Kind: "schema", Schema: json.RawMessage(`{"a":1}`)}}, has: `"format":{"a":1}`},
		"effort":             {c: provider.Conversation{Thinking: provider.Thinking{Effort: "high"}}, has: `"think":"high"`},
		"no effort":          {c: provider.Conversation{Thinking: provider.Thinking{Effort: "none"}}, has: `"think":false`},
		"great effort":       {c: provider.Conversation{Thinking: provider.Thinking{Effort: "max"}}, fail: "reasoning_effort"},
		"budget":             {c: provider.Conversation{Thinking: provider.Thinking{Mode: "on", Budget: 2000}}, fail: "thinking.budget_tokens"},
		"thinking":           {c: provider.Conversation{Thinking: provider.Thinking{Mode: "on"}}, has: `"think":true`},
		"tools":              {c: provider.Conversation{Tools: tools}, has: `"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}]`},
		"strict tools":       {c: provider.Conversation{Tools: []provider.Tool{{Name: "f", Strict: true, At: "tools[0]"}}}, fail: "tools[0].strict"},
		"any tool":           {c: provider.Conversation{Tools: tools, Choice: provider.Choice{Mode: "any"}}, fail: "tool_choice"},
		"no tool":            {c: provider.Conversation{Tools: tools, Choice: provider.Choice{Mode: "none"}}, has: `"model"`, lacks: "tools"},
		"one tool":           {c: provider.Conversation{Tools: tools, OneTool: true}, fail: "parallel_tool_calls"},
		"late instructions":  {c: provider.Conversation{Messages: append(user(text), provider.Message{Role: provider.System, Blocks: []provider.Block{text}})}, has: `{"role":"system","content":"a"}`},
		"image":              {c: provider.Conversation{Messages: user(text, provider.Block{Kind: provider.ImageBlock, Data: "aGk="})}, has: `{"role":"user","content":"a","images":["aGk="]}`},
		"image by reference": {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, URL: "u", At: "here"})}, fail: "here"},
		"image detail":       {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, Data: "aGk=", Detail: "low", At: "here"})}, fail: "here"},
		"document":           {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.DocumentBlock, At: "here"})}, fail: "here"},
		"audio":              {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.AudioBlock, At: "here"})}, fail: "here"},
		"sealed":             {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.SealedBlock, At: "here"})}, fail: "here"},
		"tool use":           {c: provider.Conversation{Messages: call()}, has: `{"role":"assistant","content":"","thinking":"t","tool_calls":[{"function":{"name":"f","arguments":{}}}]}`},
		"tool result":        {c: provider.Conversation{Messages: call(provider.Block{Kind: provider.ToolResult, ID: "i", Result: []provider.Block{text}}, text)}, has: `{"role":"tool","content":"a","tool_name":"f"},{"role":"user","content":"a"}`},
		"failed tool":        {c: provider.Conversation{Messages: call(provider.Block{Kind: provider.ToolResult, ID: "i", Failed: true, Result: []provider.Block{text}})}, has: `{"role":"tool","content":"Error: a","tool_name":"f"}`},
		"unknown result":     {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ToolResult, ID: "x", At: "here"})}, fail: "here"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := (&model{endpoint: &endpoint{}, name: "upstream"}).request(&tc.c)
			if e, ok := errors.AsType[*tandem.Error](err); tc.fail != "" {
				if !ok || e.Param != tc.fail || e.Code != tandem.InvalidRequest || !strings.Contains(e.Message, tc.fail) {
					t.Errorf("got %v, want a refusal of %s", err, tc.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := json.Marshal(req)
			if err != nil {
				t.Fatal(err)
			}
			contains(t, string(body), tc.has)
			if tc.lacks != "" && strings.Contains(string(body), tc.lacks) {
				t.Errorf("%s is in %s", tc.lacks, body)
			}
			if got := strings.Join(tc.c.Dropped, ","); got != tc.dropped {
				t.Errorf("dropped %q, want %q", got, tc.dropped)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]Config{
		"base_url":      {},
		"answer_format": {Server: provider.Server{BaseURL: "http://host"}, AnswerFormat: "xml"},
		"context":       {Server: provider.Server{BaseURL: "http://host"}, Context: -1},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, file := range []string{"success", "chat"} {
		f.Add(providertest.Load(f, "testdata/"+file+".http").Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}
		c, err := readWhole(t.Context(), res, 1<<20)
		providertest.Sound(t, c, err)
	})
}

func FuzzStream(f *testing.F) {
	for _, file := range []string{"chat_stream", "chat_stream_error"} {
		f.Add(providertest.Load(f, "testdata/"+file+".http").Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { providertest.SoundStream(t, body, false, &decoder{}) })
}
