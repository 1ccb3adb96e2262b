package gateway_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/gateway"
	"tandem/internal/provider/replay"
)

func messagesBody(extra string) string {
	return `{"model":"support","max_tokens":100,"system":"be brief","messages":[{"role":"user","content":"hi"},` +
		`{"role":"assistant","content":"yes?"},{"role":"user","content":"I want my money back"}]` + extra + `}`
}

type messageBody struct {
	ID, Type, Role, Model string
	Content               []struct{ Type, Text string }
	StopReason            *string `json:"stop_reason"`
	Usage                 struct {
		Input  int `json:"input_tokens"`
		Output int `json:"output_tokens"`
		Read   int `json:"cache_read_input_tokens"`
	}
	Tandem *tandem.Decision
}

func TestMessages(t *testing.T) {
	a := &answers{}
	g := start(t, gateway.Options{Answerer: a})
	for _, model := range []string{"support", "tandem/support"} {
		res, body := call(t, "POST", g.url+"/v1/messages?beta=true", strings.Replace(messagesBody(`,"metadata":{"user_id":"u7"},"temperature":0.3,"thinking":{"type":"enabled","budget_tokens":1024},"unknown":[1]`), "support", model, 1))
		var m messageBody
		if err := json.Unmarshal([]byte(body), &m); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s: %v", res.StatusCode, body, err)
		}
		if m.ID != "msg_t-1" || m.Type != "message" || m.Role != "assistant" || m.Model != model || len(m.Content) != 1 || m.Content[0].Text != "refund" ||
			*m.StopReason != "end_turn" || m.Usage.Output != 0 || m.Tandem.TraceID != "t-1" {
			t.Errorf("got %s", body)
		}
		if res.Header.Get("X-Tandem-Step") != "student" || res.Header.Get("Request-Id") == "" {
			t.Errorf("headers %v", res.Header)
		}
		if req := a.last(); req.Task != "support" || req.Session != "u7" || req.Teacher || req.Input.Text() != "I want my money back" {
			t.Errorf("asked %+v", req)
		}
	}
	_, body := call(t, "POST", g.url+"/v1/messages", messagesBody(""), "X-Tandem-Session", "s1", "X-Tandem-Force", "teacher")
	if req := a.last(); !req.Teacher || req.Session != "s1" || !strings.Contains(body, `"usage":{"input_tokens":30,"cache_creation_input_tokens":0,"cache_read_input_tokens":10,"output_tokens":3}`) {
		t.Errorf("asked %+v, got %s", req, body)
	}
}

func TestMessagesParts(t *testing.T) {
	a := &answers{}
	g := start(t, gateway.Options{Answerer: a})
	res, body := call(t, "POST", g.url+"/v1/messages", `{"model":"support","messages":[{"role":"user","content":[
		{"type":"text","text":"what","cache_control":{"type":"ephemeral"}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}},
		{"type":"image","source":{"type":"url","url":"https://example.org/a.png"}}]}]}`)
	in := a.last().Input
	if res.StatusCode != 200 || len(in.Parts) != 3 || in.Parts[0].Text != "what" || in.Parts[1].MIME != "image/png" || string(in.Parts[1].Data) != "hi" ||
		in.Parts[2].URL != "https://example.org/a.png" {
		t.Errorf("%s: asked %+v", body, in)
	}
}

// named reads server-sent events with names, and sees that each name is the
// type of its data.
func named(t *testing.T, body string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for event := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, data, ok := strings.Cut(event, "\n")
		var v map[string]any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), &v); !ok || err != nil || "event: "+v["type"].(string) != name {
			t.Fatalf("not an event: %q: %v", event, err)
		}
		out = append(out, v)
	}
	return out
}

func types(events []map[string]any) string {
	var names []string
	for _, e := range events {
		names = append(names, e["type"].(string))
	}
	return strings.Join(names, " ")
}

func TestMessagesStream(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}})
	res, body := call(t, "POST", g.url+"/v1/messages", messagesBody(`,"stream":true`), "X-Tandem-Force", "teacher")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("X-Tandem-Trace") != "t-1" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	e := named(t, body)
	if got := types(e); got != "message_start content_block_start content_block_delta content_block_stop message_delta message_stop" {
		t.Fatalf("the events are %s", got)
	}
	message := e[0]["message"].(map[string]any)
	if message["id"] != "msg_t-1" || message["tandem"].(map[string]any)["trace_id"] != "t-1" || message["usage"].(map[string]any)["input_tokens"] != 30.0 {
		t.Errorf("it begins with %v", message)
	}
	if e[2]["delta"].(map[string]any)["text"] != "refund" || e[4]["usage"].(map[string]any)["output_tokens"] != 3.0 {
		t.Errorf("got %v and %v", e[2], e[4])
	}
}

// wantMessagesError sees an error in Anthropic's shape.
func wantMessagesError(t *testing.T, res *http.Response, body string, status int, kind, param, says string) {
	t.Helper()
	var e struct {
		Type  string
		Error struct{ Type, Message, Param, Code string }
		ID    string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("not an error body: %q: %v", body, err)
	}
	if res.StatusCode != status || e.Type != "error" || e.Error.Type != kind || e.Error.Param != param || !strings.Contains(e.Error.Message, says) ||
		e.ID == "" || e.ID != res.Header.Get("Request-Id") || e.Error.Code == "" {
		t.Errorf("got %d %s, want %d %s of %q saying %q", res.StatusCode, body, status, kind, param, says)
	}
}

func TestMessagesRefuses(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}})
	for extra, param := range map[string]string{
		`,"tools":[{"name":"f","input_schema":{}}]`:                              "tools",
		`,"output_config":{"format":{"type":"json_schema","schema":{}}}`:         "output_config.format",
		`,"output_format":{"type":"json_schema","schema":{}}`:                    "output_format",
		`,"mcp_servers":[{"type":"url"}]`:                                        "mcp_servers",
		`,"container":"c"`:                                                       "container",
		`,"stream":"yes"`:                                                        "stream",
		`,"messages":7`:                                                          "messages",
		`,"messages":[{"role":"assistant","content":"x"}]`:                       "messages",
		`,"messages":[{"role":"user","content":7}]`:                              "messages[0].content",
		`,"messages":[{"role":"user","content":[{"type":"document"}]}]`:          "messages[0].content[0]",
		`,"messages":[{"role":"user","content":[{"type":"tool_result"}]}]`:       "messages[0].content[0]",
		`,"messages":[{"role":"user","content":[{"type":"image","source":{}}]}]`: "messages[0].content[0]",
		`,"metadata":{"user_id":7}`:                                              "metadata.user_id",
	} {
		res, body := call(t, "POST", g.url+"/v1/messages", messagesBody(extra))
		wantMessagesError(t, res, body, 400, "invalid_request_error", param, "")
	}
	for _, extra := range []string{`,"tools":[]`, `,"tools":[{"name":"f"}],"tool_choice":{"type":"none"}`, `,"output_config":{"effort":"low"}`, `,"stop_sequences":["x"]`} {
		if res, body := call(t, "POST", g.url+"/v1/messages", messagesBody(extra)); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", extra, res.StatusCode, body)
		}
	}
}

func TestMessagesErrors(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Tokens: []string{"good"}, Limits: gateway.Limits{BodyBytes: 2000}})
	url := g.url + "/v1/messages"
	res, body := call(t, "POST", url, messagesBody(""))
	wantMessagesError(t, res, body, 401, "authentication_error", "", "credentials are missing")
	res, body = call(t, "POST", url, messagesBody(""), "X-Api-Key", "bad")
	wantMessagesError(t, res, body, 401, "authentication_error", "", "not one of")
	if res, body := call(t, "POST", g.url+"/v1/chat/completions", chatBody(""), "X-Api-Key", "good"); res.StatusCode != 401 {
		t.Errorf("another dialect takes Anthropic's header: %d %s", res.StatusCode, body)
	}
	for _, header := range [][]string{{"X-Api-Key", "good"}, {"Authorization", "Bearer good"}} {
		if res, body := call(t, "POST", url, messagesBody(""), header...); res.StatusCode != 200 {
			t.Errorf("%v: %d %s", header, res.StatusCode, body)
		}
	}
	res, body = call(t, "POST", url, strings.Replace(messagesBody(""), "support", "nobody", 1), "X-Api-Key", "good")
	wantMessagesError(t, res, body, 404, "not_found_error", "model", "nobody")
	res, body = call(t, "POST", url, `{"model":`, "X-Api-Key", "good")
	wantMessagesError(t, res, body, 400, "invalid_request_error", "", "JSON")
	res, body = call(t, "GET", url, "", "X-Api-Key", "good")
	wantMessagesError(t, res, body, 405, "invalid_request_error", "", "POST")
	res, body = call(t, "POST", url, messagesBody(`,"x":"`+strings.Repeat("x", 3000)+`"`), "X-Api-Key", "good")
	wantMessagesError(t, res, body, 413, "request_too_large", "", "larger")

	for code, want := range map[tandem.Code]struct {
		status int
		kind   string
	}{
		tandem.TeacherUnavailable: {502, "api_error"}, tandem.TeacherTimeout: {504, "timeout_error"}, tandem.Overloaded: {503, "overloaded_error"}, tandem.Internal: {500, "api_error"},
	} {
		g := start(t, gateway.Options{Answerer: &answers{err: tandem.Errorf(code, "so it is")}})
		res, body := call(t, "POST", g.url+"/v1/messages", messagesBody(`,"stream":true`))
		wantMessagesError(t, res, body, want.status, want.kind, "", "")
	}
}

func TestCountTokens(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Directory: directory{"recorded": replay.New(replay.Map{}, replay.Options{}).Model("m")}})
	for model, want := range map[string]struct {
		status int
		kind   string
		says   string
	}{
		"support":  {400, "invalid_request_error", "is a task"},
		"recorded": {400, "invalid_request_error", "does not speak"},
		"nobody":   {404, "not_found_error", "there is no task or model"},
	} {
		res, body := call(t, "POST", g.url+"/v1/messages/count_tokens", `{"model":"`+model+`","messages":[]}`)
		wantMessagesError(t, res, body, want.status, want.kind, "model", want.says)
	}
}

func TestMessagesModels(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Directory: directory{"claude": replay.New(replay.Map{}, replay.Options{}).Model("m")}})
	_, body := call(t, "GET", g.url+"/v1/models", "", "Anthropic-Version", "2023-06-01")
	var list struct {
		Data    []struct{ ID, Type string }
		HasMore bool   `json:"has_more"`
		LastID  string `json:"last_id"`
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Data) != 2 || list.Data[0].ID != "support" || list.Data[1].ID != "claude" || list.Data[0].Type != "model" || list.HasMore || list.LastID != "claude" {
		t.Errorf("got %s: %v", body, err)
	}
}
