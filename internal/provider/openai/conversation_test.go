package openai

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/provider"
	"tandem/internal/provider/providertest"
)

func TestTranslate(t *testing.T) {
	providertest.Translate(t, "testdata", func(t *testing.T, baseURL string) provider.Model {
		return opened(t, Config{Server: provider.Server{BaseURL: baseURL}}, func() {})
	})
}

func number[T any](v T) *T { return &v }

// TestTalk writes every field of a conversation, or refuses it by its name.
func TestTalk(t *testing.T) {
	user := func(b ...provider.Block) []provider.Message {
		return []provider.Message{{Role: provider.User, Blocks: b}}
	}
	said := func(b ...provider.Block) []provider.Message {
		return []provider.Message{{Role: provider.Assistant, Blocks: b}}
	}
	text := provider.Block{Kind: provider.TextBlock, Text: "a"}
	tools := []provider.Tool{{Name: "f", Description: "d", Strict: true, Schema: json.RawMessage(`{"type":"object"}`)}}
	for name, tc := range map[string]struct {
		c    provider.Conversation
		has  string
		fail string // the name of the field
	}{
		"numbers": {
			c:   provider.Conversation{Temperature: number(1.5), TopP: number(0.5), Seed: number(int64(1)), MaxTokens: 7, Stop: []string{"x"}, PresencePenalty: number(0.1), FrequencyPenalty: number(0.2), User: "u"},
			has: `"max_tokens":7,"temperature":1.5,"top_p":0.5,"seed":1,"presence_penalty":0.1,"frequency_penalty":0.2,"stop":["x"],"user":"u"`,
		},
		"top_k":           {c: provider.Conversation{TopK: number(5)}, fail: "top_k"},
		"many stops":      {c: provider.Conversation{Stop: []string{"1", "2", "3", "4", "5"}}, fail: "stop"},
		"json":            {c: provider.Conversation{Format: provider.Format{Kind: "json"}}, has: `"response_format":{"type":"json_object"}`},
		"schema":          {c: provider.Conversation{Format: provider.Format{Kind: "schema", Name: "n", Strict: true, Schema: json.RawMessage(`{"a":1}`)}}, has: `"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"a":1}}}`},
		"effort":          {c: provider.Conversation{Thinking: provider.Thinking{Effort: "high"}}, has: `"reasoning_effort":"high"`},
		"off":             {c: provider.Conversation{Thinking: provider.Thinking{Mode: "off"}}, has: `"reasoning_effort":"none"`},
		"great effort":    {c: provider.Conversation{Thinking: provider.Thinking{Effort: "max"}}, fail: "reasoning_effort"},
		"budget":          {c: provider.Conversation{Thinking: provider.Thinking{Budget: 2000}}, fail: "thinking.budget_tokens"},
		"tools":           {c: provider.Conversation{Tools: tools, OneTool: true}, has: `"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":true}}],"parallel_tool_calls":false`},
		"any tool":        {c: provider.Conversation{Tools: tools, Choice: provider.Choice{Mode: "any"}}, has: `"tool_choice":"required"`},
		"this tool":       {c: provider.Conversation{Tools: tools, Choice: provider.Choice{Mode: "tool", Name: "f"}}, has: `"tool_choice":{"function":{"name":"f"},"type":"function"}`},
		"no tool":         {c: provider.Conversation{Tools: tools, Choice: provider.Choice{Mode: "none"}}, has: `"tool_choice":"none"`},
		"text":            {c: provider.Conversation{Messages: user(text)}, has: `{"role":"user","content":"a"}`},
		"texts":           {c: provider.Conversation{Messages: user(text, text)}, has: `"content":[{"type":"text","text":"a"},{"type":"text","text":"a"}]`},
		"image":           {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, MIME: "image/png", Data: "aGk=", Detail: "low"})}, has: `{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk=","detail":"low"}}`},
		"image by URL":    {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ImageBlock, URL: "u"})}, has: `"image_url":{"url":"u"}`},
		"audio":           {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.AudioBlock, MIME: "audio/wav", Data: "aGk="})}, has: `"input_audio":{"data":"aGk=","format":"wav"}`},
		"other audio":     {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.AudioBlock, MIME: "audio/ogg", Data: "aGk=", At: "here"})}, fail: "here"},
		"document":        {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.DocumentBlock, MIME: "application/pdf", Data: "aGk="})}, has: `"file":{"file_data":"data:application/pdf;base64,aGk=","filename":"document"}`},
		"document by URL": {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.DocumentBlock, URL: "u", At: "here"})}, fail: "here"},
		"sealed":          {c: provider.Conversation{Messages: said(provider.Block{Kind: provider.SealedBlock, At: "here"})}, fail: "here"},
		"tool use":        {c: provider.Conversation{Messages: said(provider.Block{Kind: provider.ThinkingBlock, Text: "t"}, provider.Block{Kind: provider.ToolUse, ID: "i", Name: "f", Input: json.RawMessage(`{"a":1}`)})}, has: `{"role":"assistant","content":null,"reasoning_content":"t","tool_calls":[{"id":"i","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}`},
		"sealed tool use": {c: provider.Conversation{Messages: said(provider.Block{Kind: provider.ToolUse, ID: "i", Name: "f", Input: json.RawMessage(`{}`), Signature: "s"})}, has: `"extra_content":{"google":{"thought_signature":"s"}}`},
		"tool result":     {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ToolResult, ID: "i", Failed: true, Result: []provider.Block{text}}, text)}, has: `{"role":"tool","content":"Error: a","tool_call_id":"i"},{"role":"user","content":"a"}`},
		"image result":    {c: provider.Conversation{Messages: user(provider.Block{Kind: provider.ToolResult, ID: "i", Result: []provider.Block{{Kind: provider.ImageBlock, At: "there"}}})}, fail: "there"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := newTalk("m", &tc.c)
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
			if !strings.Contains(string(body), tc.has) {
				t.Errorf("the request lacks %s:\n%s", tc.has, body)
			}
		})
	}
}

// TestMaxTokens learns that a model wants its bound under the newer name.
func TestMaxTokens(t *testing.T) {
	good := providertest.Load(t, "testdata/chat.http")
	calls := 0
	m := open(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		calls++
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(b), `"max_tokens"`) {
			reply(w, 400, `{"error":{"message":"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.","param":"max_tokens","code":"unsupported_parameter"}}`)
			return
		}
		if !strings.Contains(string(b), `"max_completion_tokens":100`) {
			t.Errorf("sent %s", b)
		}
		good.ServeHTTP(w, r)
	})
	for _, want := range []int{2, 3} {
		if _, err := m.Complete(t.Context(), providertest.Talk()); err != nil || calls != want {
			t.Errorf("%d calls, %v", calls, err)
		}
	}
}

// TestOtherServers reads what servers make of the dialect.
func TestOtherServers(t *testing.T) {
	for name, tc := range map[string]struct {
		stream string
		blocks string
		stop   provider.StopReason
	}{
		"all calls are number 0": {
			`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}` + "\n\n" +
				`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}]},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n",
			"a f {};b g {};", provider.StopTool,
		},
		"reasoning under its short name": {
			"data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"t\"}}]}\r\n\r\ndata:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"length\"}]}\r\n\r\ndata: [DONE]\r\n\r\n",
			" t;x;", provider.StopLength,
		},
		"a refusal": {
			`data: {"choices":[{"index":0,"delta":{"refusal":"no"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n", "no;", provider.StopRefused,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, tc.stream)
			})
			s, err := m.Stream(t.Context(), providertest.Talk())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c, err := provider.Collect(s)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, b := range c.Blocks {
				switch b.Kind {
				case provider.ToolUse:
					got += b.ID + " " + b.Name + " " + string(b.Input) + ";"
				case provider.ThinkingBlock:
					got += " " + b.Text + ";"
				default:
					got += b.Text + ";"
				}
			}
			if got != tc.blocks || c.Stop != tc.stop {
				t.Errorf("got %q and %s", got, c.Stop)
			}
		})
	}
}

func FuzzCompletion(f *testing.F) {
	f.Add(providertest.Load(f, "testdata/chat.http").Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}
		c, err := readCompletion(t.Context(), res, provider.MaxReply)
		providertest.Sound(t, c, err)
	})
}

func FuzzStream(f *testing.F) {
	for _, file := range []string{"chat_stream", "chat_stream_error"} {
		f.Add(providertest.Load(f, "testdata/"+file+".http").Body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { providertest.SoundStream(t, body, true, &decoder{tool: -1}) })
}
