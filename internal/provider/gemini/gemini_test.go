package gemini

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
	c.BaseURL, c.APIKey = baseURL+"/v1beta", "sk-tandem"
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

func contains(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("the request lacks %s:\n%s", part, body)
		}
	}
}

func TestQuestion(t *testing.T) {
	var body, key string
	answer := providertest.Load(t, "testdata/success.http")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body, key = r.URL.Path+" "+string(b), r.Header.Get("X-Goog-Api-Key")
		answer.ServeHTTP(w, r)
	}))
	defer srv.Close()
	q := provider.Question{Task: providertest.Task(), Rejected: "money", Input: tandem.Input{Parts: []tandem.Part{
		{Kind: tandem.Text, Text: "what is this?"},
		{Kind: tandem.Image, MIME: "image/png", Data: []byte("hi")},
		{Kind: tandem.Audio, MIME: "audio/wav", Data: []byte("hi")},
	}}}
	ask := func(c Config, q provider.Question) {
		t.Helper()
		if reply, err := opened(t, srv.URL, c).Ask(t.Context(), q); err != nil || reply.Text != "refund" {
			t.Errorf("got %+v, %v", reply, err)
		}
	}
	ask(Config{}, q)
	if key != "sk-tandem" {
		t.Errorf("the key arrived as %q", key)
	}
	contains(t, body, "/v1beta/models/upstream:generateContent ", `"temperature":0`, `"systemInstruction":{"parts":[{"text":"Which department?`, `and nothing else.`,
		`"responseMimeType":"text/x.enum","responseSchema":{"type":"STRING","enum":["refund","other"]}`,
		`{"text":"what is this?"},{"inlineData":{"mimeType":"image/png","data":"aGk="}},{"inlineData":{"mimeType":"audio/wav","data":"aGk="}}`,
		`{"role":"model","parts":[{"text":"money"}]}`)
	ask(Config{AnswerFormat: "json_schema"}, q)
	contains(t, body, `"responseMimeType":"application/json","responseJsonSchema":{"type":"object"`, `"enum":["refund","other"]`, `JSON object`)
	ask(Config{}, provider.Question{Task: &tandem.Task{Name: "open"}, Input: providertest.Input()})
	contains(t, body, `"responseMimeType":"application/json"`, `{"answer":{"type":"string"}}`)
	ask(Config{AnswerFormat: "none"}, q)
	if strings.Contains(body, "responseMimeType") {
		t.Errorf("a format was asked for: %s", body)
	}
}

func TestAdapts(t *testing.T) {
	good := providertest.Load(t, "testdata/success.http")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Config map[string]any `json:"generationConfig"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		if q.Config["responseMimeType"] == "text/x.enum" {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":{"code":400,"message":"Unhandled generated data mime type: text/x.enum","status":"INVALID_ARGUMENT"}}`)
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

func TestFailures(t *testing.T) {
	for file, want := range map[string]struct {
		status int
		says   string
	}{"bad_key": {401, "api_key"}, "blocked_prompt": {200, "content filter"}} {
		srv := httptest.NewServer(http.HandlerFunc(providertest.Load(t, "testdata/"+file+".http").ServeHTTP))
		m := opened(t, srv.URL, Config{})
		_, err := m.Ask(t.Context(), provider.Question{Task: providertest.Task(), Input: providertest.Input()})
		if e, ok := errors.AsType[*provider.Error](err); !ok || e.Status != want.status || e.Retryable || !strings.Contains(e.Message, want.says) {
			t.Errorf("%s: got %v", file, err)
		}
		_ = m.Close()
		srv.Close()
	}
}

// TestUnknownPart gives no client half a reply.
func TestUnknownPart(t *testing.T) {
	const body = `{"candidates":[{"content":{"parts":[{"text":"here:"},{"inlineData":{"mimeType":"image/png","data":"aGk="}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("alt") == "sse" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: "+body+"\n\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}))
	defer srv.Close()
	m := opened(t, srv.URL, Config{})
	_, err := m.Complete(t.Context(), providertest.Talk())
	if e, ok := errors.AsType[*provider.Error](err); !ok || !errors.Is(err, errPart) || e.Usage.InputTokens != 3 {
		t.Errorf("got %v", err)
	}
	s, err := m.Stream(t.Context(), providertest.Talk())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := provider.Collect(s); !errors.Is(err, errPart) {
		t.Errorf("got %v", err)
	}
}

func TestModelPath(t *testing.T) {
	e, err := Config{Server: provider.Server{BaseURL: "http://host"}}.Open()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "/models/a", "tunedModels/b": "/tunedModels/b", "a?b": "/models/a%3Fb"} {
		if m, ok := e.Model(name).(*model); !ok || m.path != want {
			t.Errorf("%s is at %s", name, m.path)
		}
	}
}

func number[T any](v T) *T { return &v }

// TestRequest writes every field of a conversation, or refuses it by its name.
func TestRequest(t *testing.T) {
	user := func(b ...provider.Block) []provider.Message {
		return []provider.Message{{Role: provider.User, Blocks: b}}
	}
	text := provider.Block{Kind: provider.TextBlock, Text: "a"}
	call := func(id string, b ...provider.Block) []provider.Message {
		return append([]provider.Message{{Role: provider.Assistant, Blocks: []provider.Block{{Kind: provider.ToolUse, ID: id, Name: "f", Input: json.RawMessage(`{}`), Signature: "s"}}}}, user(b...)...)
	}
	tools := []provider.Tool{{Name: "f", Description: "d", Schema: json.RawMessage(`{"type":"object"}`)}}
	for name, tc := range map[string]struct {
		c       provider.Conversation
		has     string
		dropped string
		fail    string // the name of the field
	}{
		"numbers": {
			c:   provider.Conversation{Temperature: number(1.5), TopP: number(0.5), TopK: number(5), Seed: number(int64(1)), MaxTokens: 7, Stop: []string{"x"}, PresencePenalty: number(0.1), FrequencyPenalty: number(0.2)},
			has: `"generationConfig":{"temperature":1.5,"topP":0.5,"topK":5,"seed":1,"maxOutputTokens":7,"stopSequences":["x"],"presencePenalty":0.1,"frequencyPenalty":0.2}`,
		},
		"user":               {c: provider.Conversation{User: "u"}, has: `"contents"`, dropped: "user"},
		"json":               {c: provider.Conversation{Format: provider.Format{Kind: "json"}}, has: `"responseMimeType":"application/json"`},
		"schema":             {c: provider.Conversation{Format: provider.Format{Kind: "schema", Schema: json.RawMessage(`{"a":1}`)}}, has: `"responseJsonSchema":{"a":1}`},
		"effort":             {c: provider.Conversation{Thinking: provider.Thinking{Effort: "high"}}, has: `"thinkingConfig":{"thinkingLevel":"high"}`},
		"no effort":          {c: provider.Conversation{Thinking: provider.Thinking{Effort: "none"}}, has: `"thinkingConfig":{"thinkingBudget":0}`},
		"great effort":       {c: provider.Conversation{Thinking: provider.Thinking{Effort: "max"}}, fail: "reasoning_effort"},
		"budget":             {c: provider.Conversation{Thinking: provider.Thinking{Mode: "on", Budget: 2000}}, has: `"thinkingConfig":{"thinkingBudget":2000,"includeThoughts":true}`},
		"budget and effort":  {c: provider.Conversation{Thinking: provider.Thinking{Effort: "low", Budget: 2000}}, fail: "thinking.budget_tokens"},
		"thinking":           {c: provider.Conversation{Thinking: provider.Thinking{Mode: "on"}}, has: `"thinkingConfig":{"includeThoughts":true}`},
		"off":                {c: provider.Conversation{Thinking: provider.Thinking{Mode: "off"}}, has: `"thinkingConfig":{"thinkingBudget":0}`},
		"tools":              {c: provider.Conversation{Tools: tools}, has: `"tools":[{"functionDeclarations":[{"name":"f","description":"d","parametersJsonSchema":{"type":"object"}}]}]`},
		"strict tools":       {c: provider.Conversation{Tools: []provider.Tool{{Name: "f", Strict: true}}}, has: `"mode":"VALIDATED"`},
		"any tool":           {c: provider.Conversation{Tools: tools, Choice: provider.Choice{Mode: "any"}}, has: `"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}`},
		"this tool":          {c: provider.Conversation{Tools: tools, Choice: provider.Choice{Mode: "tool", Name: "f"}}, has: `{"mode":"ANY","allowedFunctionNames":["f"]}`},
		"no tool":            {c: provider.Conversation{Tools: tools, Choice: provider.Choice{Mode: "none"}}, has: `{"mode":"NONE"}`},
		"one tool":           {c: provider.Conversation{Tools: tools, OneTool: true}, fail: "parallel_tool_calls"},
		"late instructions":  {c: provider.Conversation{Messages: append(user(text), provider.Message{Role: provider.System, At: "messages[1]"})}, fail: "messages[1]"},
		"image":              {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, MIME: "image/png", Data: "aGk="})}, has: `{"inlineData":{"mimeType":"image/png","data":"aGk="}}`},
		"image by reference": {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, URL: "u", At: "here"})}, fail: "here"},
		"image detail":       {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, Data: "aGk=", Detail: "low", At: "here"})}, fail: "here"},
		"document":           {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.DocumentBlock, MIME: "application/pdf", Data: "aGk="})}, has: `{"inlineData":{"mimeType":"application/pdf","data":"aGk="}}`},
		"sealed":             {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.SealedBlock, At: "here"})}, fail: "here"},
		"thought":            {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ThinkingBlock, Text: "t", Signature: "s"})}, has: `{"text":"t","thought":true,"thoughtSignature":"s"}`},
		"tool use":           {c: provider.Conversation{Messages: call("i")}, has: `{"role":"model","parts":[{"thoughtSignature":"s","functionCall":{"id":"i","name":"f","args":{}}}]}`},
		"tool result":        {c: provider.Conversation{Messages: call("i", provider.Block{Kind: provider.ToolResult, ID: "i", Result: []provider.Block{text}})}, has: `{"functionResponse":{"id":"i","name":"f","response":{"output":"a"}}}`},
		"own id":             {c: provider.Conversation{Messages: call("call_tandem_1", provider.Block{Kind: provider.ToolResult, ID: "call_tandem_1", Failed: true, Result: []provider.Block{text}})}, has: `{"functionResponse":{"name":"f","response":{"error":"a"}}}`},
		"unknown result":     {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ToolResult, ID: "x", At: "here"})}, fail: "here"},
		"image in a result":  {c: provider.Conversation{Messages: call("i", provider.Block{Kind: provider.ToolResult, ID: "i", Result: []provider.Block{{Kind: provider.ImageBlock, At: "there"}}})}, fail: "there"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := newRequest(&tc.c)
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
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, file := range []string{"success", "chat", "filtered", "blocked_prompt"} {
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
