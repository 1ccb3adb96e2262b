package anthropic

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
	c.BaseURL, c.APIKey = baseURL+"/v1", "sk-tandem"
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
	providertest.Run(t, providertest.Traits{}, providertest.Recorded("testdata", open))
	providertest.Translate(t, "testdata", open)
}

// asked runs one question against a recorded answer and returns the request.
func asked(t *testing.T, c Config, file string, q provider.Question) (string, http.Header, provider.Reply) {
	t.Helper()
	var body string
	var header http.Header
	answer := providertest.Load(t, "testdata/"+file+".http")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body, header = r.URL.Path+" "+string(b), r.Header
		answer.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	reply, err := opened(t, srv.URL, c).Ask(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return body, header, reply
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
	q := provider.Question{Task: providertest.Task(), Rejected: "money", Input: tandem.Input{Parts: []tandem.Part{
		{Kind: tandem.Text, Text: "what is this?"},
		{Kind: tandem.Image, MIME: "image/png", Data: []byte("hi")},
		{Kind: tandem.Image, URL: "https://example.org/a.png"},
	}}}
	body, header, reply := asked(t, Config{}, "success", q)
	if header.Get("X-Api-Key") != "sk-tandem" || header.Get("Anthropic-Version") != "2023-06-01" || header.Get("Authorization") != "" || reply.Text != "refund" {
		t.Errorf("%v, %+v", header, reply)
	}
	contains(t, body, "/v1/messages ", `"model":"upstream"`, `"max_tokens":1024`, `"temperature":0`, `Which department?`,
		`"output_config":{"format":{"type":"json_schema","schema":{"type":"object"`, `"enum":["refund","other"]`, `"additionalProperties":false`,
		`{"type":"text","text":"what is this?"}`, `"source":{"type":"base64","media_type":"image/png","data":"aGk="}`,
		`"source":{"type":"url","url":"https://example.org/a.png"}`, `{"role":"assistant","content":[{"type":"text","text":"money"}]}`)

	body, _, reply = asked(t, Config{AnswerFormat: "tool"}, "tool_answer", provider.Question{Task: providertest.Task(), Input: providertest.Input()})
	contains(t, body, `"tools":[{"name":"answer"`, `"input_schema":{"type":"object"`, `"enum":["refund","other"]`, `"tool_choice":{"type":"tool","name":"answer"}`)
	if reply.Text != "refund" {
		t.Errorf("a tool's input gives %+v", reply)
	}

	m := opened(t, "http://127.0.0.1", Config{})
	_, err := m.Ask(t.Context(), provider.Question{Task: providertest.Task(), Input: tandem.Input{Parts: []tandem.Part{{Kind: tandem.Audio, MIME: "audio/wav", Data: []byte("x")}}}})
	if e, ok := errors.AsType[*provider.Error](err); !ok || e.Code != tandem.UnsupportedModality {
		t.Errorf("audio gives %v", err)
	}
}

// TestAdapts talks to servers that refuse parts of a question.
func TestAdapts(t *testing.T) {
	good := providertest.Load(t, "testdata/success.http")
	for name, tc := range map[string]struct {
		refuses []string
		calls   int
	}{
		"nothing":                {calls: 1},
		"schemas":                {refuses: []string{"output_config"}, calls: 2},
		"schemas and tools":      {refuses: []string{"output_config", "tool_choice"}, calls: 3},
		"temperature and schema": {refuses: []string{"temperature", "output_config"}, calls: 3},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var q map[string]any
				if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
					t.Error(err)
				}
				for _, field := range tc.refuses {
					if q[field] != nil {
						w.WriteHeader(400)
						_, _ = io.WriteString(w, `{"type":"error","error":{"type":"invalid_request_error","message":"`+field+`: Extra inputs are not permitted"}}`)
						return
					}
				}
				good.ServeHTTP(w, r)
			}))
			defer srv.Close()
			m := opened(t, srv.URL, Config{})
			for _, want := range []int{tc.calls, 1} {
				out, err := provider.Ask(t.Context(), m, providertest.Task(), providertest.Input(), provider.Policy{})
				if err != nil || out.Label != "refund" || out.Calls != want {
					t.Errorf("got %+v, %v; want %d calls", out, err, want)
				}
			}
		})
	}
}

func TestForwardHeaders(t *testing.T) {
	var got http.Header
	var query string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, query = r.Header, r.URL.RawQuery }))
	defer srv.Close()
	m := opened(t, srv.URL, Config{})
	for version, want := range map[string]string{"": "2023-06-01", "2099-01-01": "2099-01-01"} {
		h := http.Header{"X-Api-Key": {"of the client"}, "Anthropic-Beta": {"files"}}
		if version != "" {
			h.Set("Anthropic-Version", version)
		}
		res, err := m.Forward(t.Context(), provider.Call{Dialect: provider.CountTokens, Query: "beta=true", Header: h, Body: []byte(`{"model":"a"}`), Alias: "a"})
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got.Get("Anthropic-Version") != want || got.Get("X-Api-Key") != "sk-tandem" || got.Get("Anthropic-Beta") != "files" || query != "beta=true" {
			t.Errorf("arrived %v?%s", got, query)
		}
	}
}

func TestOverloaded(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(providertest.Load(t, "testdata/529.http").ServeHTTP))
	defer srv.Close()
	_, err := opened(t, srv.URL, Config{}).Ask(t.Context(), provider.Question{Task: providertest.Task(), Input: providertest.Input()})
	if e, ok := errors.AsType[*provider.Error](err); !ok || e.Status != 529 || !e.Retryable || !strings.Contains(e.Message, "overloaded_error") {
		t.Errorf("got %v", err)
	}
}

func number[T any](v T) *T { return &v }

// TestRequest writes every field of a conversation, or refuses it by its name.
func TestRequest(t *testing.T) {
	m := opened(t, "http://127.0.0.1", Config{MaxTokens: 77})
	user := func(b ...provider.Block) []provider.Message {
		return []provider.Message{{Role: provider.User, Blocks: b}}
	}
	for name, tc := range map[string]struct {
		c    provider.Conversation
		has  string
		fail string // the name of the field
	}{
		"default max_tokens":  {has: `"max_tokens":77`},
		"max_tokens":          {c: provider.Conversation{MaxTokens: 5}, has: `"max_tokens":5`},
		"temperature":         {c: provider.Conversation{Temperature: number(0.5)}, has: `"temperature":0.5`},
		"hot":                 {c: provider.Conversation{Temperature: number(1.5)}, fail: "temperature"},
		"top_p":               {c: provider.Conversation{TopP: number(0.5)}, has: `"top_p":0.5`},
		"top_k":               {c: provider.Conversation{TopK: number(5)}, has: `"top_k":5`},
		"stop":                {c: provider.Conversation{Stop: []string{"x"}}, has: `"stop_sequences":["x"]`},
		"seed":                {c: provider.Conversation{Seed: number(int64(1))}, fail: "seed"},
		"presence":            {c: provider.Conversation{PresencePenalty: number(1.0)}, fail: "presence_penalty"},
		"no presence":         {c: provider.Conversation{PresencePenalty: number(0.0)}, has: `"model"`},
		"frequency":           {c: provider.Conversation{FrequencyPenalty: number(1.0)}, fail: "frequency_penalty"},
		"user":                {c: provider.Conversation{User: "u"}, has: `"metadata":{"user_id":"u"}`},
		"json":                {c: provider.Conversation{Format: provider.Format{Kind: "json"}}, fail: "response_format"},
		"client's own name":   {c: provider.Conversation{Format: provider.Format{Kind: "json"}, Names: map[string]string{"response_format": "text.format"}}, fail: "text.format"},
		"schema":              {c: provider.Conversation{Format: provider.Format{Kind: "schema", Schema: json.RawMessage(`{"a":1}`)}}, has: `"output_config":{"format":{"type":"json_schema","schema":{"a":1}}}`},
		"effort":              {c: provider.Conversation{Thinking: provider.Thinking{Effort: "high"}}, has: `"output_config":{"effort":"high"}`},
		"no effort":           {c: provider.Conversation{Thinking: provider.Thinking{Effort: "none"}}, has: `"thinking":{"type":"disabled"}`},
		"minimal effort":      {c: provider.Conversation{Thinking: provider.Thinking{Effort: "minimal"}}, fail: "reasoning_effort"},
		"budget":              {c: provider.Conversation{Thinking: provider.Thinking{Mode: "on", Budget: 2000}}, has: `"thinking":{"type":"enabled","budget_tokens":2000}`},
		"thinking":            {c: provider.Conversation{Thinking: provider.Thinking{Mode: "on"}}, has: `"thinking":{"type":"adaptive"}`},
		"tools":               {c: provider.Conversation{Tools: []provider.Tool{{Name: "f", Description: "d", Strict: true, Schema: json.RawMessage(`{"type":"object"}`)}}}, has: `"tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"strict":true}]`},
		"tool without input":  {c: provider.Conversation{Tools: []provider.Tool{{Name: "f"}}}, has: `"input_schema":{"type":"object","properties":{}}`},
		"choice":              {c: provider.Conversation{Choice: provider.Choice{Mode: "any"}, OneTool: true}, has: `"tool_choice":{"type":"any","disable_parallel_tool_use":true}`},
		"one tool":            {c: provider.Conversation{Tools: []provider.Tool{{Name: "f"}}, OneTool: true}, has: `"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`},
		"late instructions":   {c: provider.Conversation{Messages: append(user(provider.Block{Kind: provider.TextBlock, Text: "a"}), provider.Message{Role: provider.System, At: "messages[1]"})}, fail: "messages[1]"},
		"image":               {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, MIME: "image/png", Data: "aGk="})}, has: `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}`},
		"image detail":        {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, URL: "u", Detail: "low", At: "here"})}, fail: "here"},
		"audio":               {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.AudioBlock, At: "here"})}, fail: "here"},
		"document":            {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.DocumentBlock, MIME: "application/pdf", Data: "aGk=", Name: "n"})}, has: `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"aGk="},"title":"n"}`},
		"tool result":         {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ToolResult, ID: "i", Failed: true, Result: []provider.Block{{Kind: provider.TextBlock, Text: "r"}}})}, has: `{"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":"r"}],"is_error":true}`},
		"tool use":            {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ToolUse, ID: "i", Name: "f", Input: json.RawMessage(`{}`)})}, has: `{"type":"tool_use","id":"i","name":"f","input":{}}`},
		"thought":             {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ThinkingBlock, Text: "t", Signature: "s"})}, has: `{"type":"thinking","thinking":"t","signature":"s"}`},
		"unsigned thought":    {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ThinkingBlock, Text: "t", At: "here"})}, fail: "here"},
		"sealed":              {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.SealedBlock, Text: "s"})}, has: `{"type":"redacted_thinking","data":"s"}`},
		"turns of one person": {c: provider.Conversation{Messages: append(user(provider.Block{Kind: provider.TextBlock, Text: "a"}), user(provider.Block{Kind: provider.TextBlock, Text: "b"})...)}, has: `"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := m.request(&tc.c)
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
		})
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]Config{
		"base_url":      {},
		"answer_format": {Server: provider.Server{BaseURL: "http://host"}, AnswerFormat: "xml"},
		"max_tokens":    {Server: provider.Server{BaseURL: "http://host"}, MaxTokens: -1},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, file := range []string{"success", "chat", "refusal"} {
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
	f.Fuzz(func(t *testing.T, body []byte) { providertest.SoundStream(t, body, true, &decoder{}) })
}
