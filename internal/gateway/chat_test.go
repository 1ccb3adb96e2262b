package gateway_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/gateway"
	"tandem/internal/provider/replay"
)

func chatBody(extra string) string {
	return `{"model":"support","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"},` +
		`{"role":"assistant","content":"yes?"},{"role":"user","content":"I want my money back"}]` + extra + `}`
}

type completionBody struct {
	ID, Object, Model string
	Created           int64
	Choices           []struct {
		Index        int
		Message      struct{ Role, Content string }
		Delta        struct{ Role, Content string }
		FinishReason *string `json:"finish_reason"`
	}
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Total      int `json:"total_tokens"`
	}
	Tandem *tandem.Decision
}

func TestChat(t *testing.T) {
	a := &answers{}
	g := start(t, gateway.Options{Answerer: a})
	for _, model := range []string{"support", "tandem/support"} {
		res, body := call(t, "POST", g.url+"/v1/chat/completions", strings.Replace(chatBody(`,"user":"u7","temperature":0.3,"unknown":[1]`), "support", model, 1))
		var c completionBody
		if err := json.Unmarshal([]byte(body), &c); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s: %v", res.StatusCode, body, err)
		}
		if c.Object != "chat.completion" || c.Model != model || c.ID != "chatcmpl-t-1" || c.Created == 0 || len(c.Choices) != 1 ||
			c.Choices[0].Message.Content != "refund" || c.Choices[0].Message.Role != "assistant" || *c.Choices[0].FinishReason != "stop" ||
			c.Usage.Total != 0 || c.Tandem.TraceID != "t-1" || !c.Tandem.Certified {
			t.Errorf("got %s", body)
		}
		for name, want := range map[string]string{
			"Step": "student", "Model": "v3", "Score": "0.9700", "Certified": "true", "Reason": "accepted", "Trace": "t-1",
			"Cost": "0", "Saved": "0.0004", "Recorded": "queued",
		} {
			if got := res.Header.Get("X-Tandem-" + name); got != want {
				t.Errorf("X-Tandem-%s is %q, want %q", name, got, want)
			}
		}
		if req := a.last(); req.Task != "support" || req.Session != "u7" || req.Teacher || len(req.Input.Parts) != 1 || req.Input.Text() != "I want my money back" {
			t.Errorf("asked %+v", req)
		}
	}

	res, body := call(t, "POST", g.url+"/v1/chat/completions", chatBody(`,"user":"u7"`), "X-Tandem-Session", "s1", "X-Tandem-Force", "teacher")
	if req := a.last(); !req.Teacher || req.Session != "s1" || res.Header.Get("X-Tandem-Step") != "provider" || !strings.Contains(body, `"total_tokens":43`) {
		t.Errorf("asked %+v, got %s", req, body)
	}
}

func TestChatParts(t *testing.T) {
	a := &answers{}
	g := start(t, gateway.Options{Answerer: a})
	res, body := call(t, "POST", g.url+"/v1/chat/completions", `{"model":"support","messages":[{"role":"user","content":[
		{"type":"text","text":"what"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}},
		{"type":"image_url","image_url":{"url":"https://example.org/a.png","detail":"low"}}]}]}`)
	in := a.last().Input
	if res.StatusCode != 200 || len(in.Parts) != 3 || in.Parts[0].Text != "what" || in.Parts[1].MIME != "image/png" || string(in.Parts[1].Data) != "hi" ||
		in.Parts[2].URL != "https://example.org/a.png" || in.Parts[2].Kind != tandem.Image {
		t.Errorf("%s: asked %+v", body, in)
	}
}

// events reads the data of server-sent events.
func events(t *testing.T, body string) []string {
	t.Helper()
	var data []string
	for s := bufio.NewScanner(strings.NewReader(body)); s.Scan(); {
		line := s.Text()
		if line == "" {
			continue
		}
		d, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			t.Fatalf("not an event: %q", line)
		}
		data = append(data, d)
	}
	return data
}

func TestChatStream(t *testing.T) {
	for name, withUsage := range map[string]bool{`,"stream":true`: false, `,"stream":true,"stream_options":{"include_usage":true}`: true} {
		g := start(t, gateway.Options{Answerer: &answers{}})
		res, body := call(t, "POST", g.url+"/v1/chat/completions", chatBody(name))
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("X-Tandem-Step") != "student" {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		data := events(t, body)
		if data[len(data)-1] != "[DONE]" {
			t.Errorf("the stream ends with %s", data[len(data)-1])
		}
		var chunks []completionBody
		for _, d := range data[:len(data)-1] {
			var c completionBody
			if err := json.Unmarshal([]byte(d), &c); err != nil {
				t.Fatalf("%s: %v", d, err)
			}
			if c.Object != "chat.completion.chunk" || c.ID != "chatcmpl-t-1" || c.Model != "support" {
				t.Errorf("a chunk is %s", d)
			}
			if strings.Contains(d, `"usage"`) != withUsage {
				t.Errorf("usage is there or missing: %s", d)
			}
			chunks = append(chunks, c)
		}
		want := 3
		if withUsage {
			want = 4
		}
		if len(chunks) != want {
			t.Fatalf("%d chunks: %s", len(chunks), body)
		}
		if d := chunks[0].Choices[0]; d.Delta.Role != "assistant" || d.FinishReason != nil {
			t.Errorf("the first chunk is %+v", d)
		}
		if d := chunks[1].Choices[0]; d.Delta.Content != "refund" || d.FinishReason != nil {
			t.Errorf("the second chunk is %+v", d)
		}
		if d := chunks[2].Choices[0]; d.FinishReason == nil || *d.FinishReason != "stop" {
			t.Errorf("the third chunk is %+v", d)
		}
		for i, c := range chunks {
			if (c.Tandem != nil) != (i == want-1) {
				t.Errorf("chunk %d: tandem is %v", i, c.Tandem)
			}
		}
		if withUsage && (len(chunks[3].Choices) != 0 || chunks[3].Usage == nil) {
			t.Errorf("the usage chunk is %+v", chunks[3])
		}
	}
}

func TestChatBadInput(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Directory: directory{"gpt": replay.New(replay.Map{}, replay.Options{}).Model("gpt")}})
	message := func(content string) string {
		return `{"model":"support","messages":[{"role":"user","content":` + content + `}]}`
	}
	for name, tc := range map[string]struct {
		body   string
		status int
		code   tandem.Code
		says   string
	}{
		"empty":                  {``, 400, tandem.InvalidRequest, "malformed"},
		"malformed":              {`{"model":"support",}`, 400, tandem.InvalidRequest, "malformed near byte 20"},
		"cut":                    {`{"model":"supp`, 400, tandem.InvalidRequest, "malformed"},
		"list":                   {`[]`, 400, tandem.InvalidRequest, "must be a JSON object"},
		"deep":                   {`{"model":` + strings.Repeat("[", 100000), 400, tandem.InvalidRequest, "too deep"},
		"no model":               {`{"messages":[]}`, 400, tandem.InvalidRequest, `"model" must name`},
		"model of another type":  {`{"model":7}`, 400, tandem.InvalidRequest, `"model" must name`},
		"unknown model":          {`{"model":"nope"}`, 404, tandem.NotFound, `there are gpt, support`},
		"no messages":            {`{"model":"support"}`, 400, tandem.InvalidRequest, `"messages" must be`},
		"no user":                {`{"model":"support","messages":[{"role":"system","content":"a"}]}`, 400, tandem.InvalidRequest, `no message of the role`},
		"null content":           {message(`null`), 400, tandem.InvalidRequest, "content must be"},
		"empty text":             {message(`" "`), 400, tandem.InvalidRequest, "the text is empty"},
		"no parts":               {message(`[]`), 400, tandem.InvalidRequest, "empty"},
		"part of another kind":   {message(`[{"type":"video","text":"a"}]`), 400, tandem.UnsupportedModality, `"video"`},
		"modality not taken":     {message(`[{"type":"input_audio","input_audio":{"data":"aGk=","format":"wav"}}]`), 400, tandem.UnsupportedModality, "does not take audio"},
		"bad data URL":           {message(`[{"type":"image_url","image_url":{"url":"data:image/png,hi"}}]`), 400, tandem.InvalidRequest, "data URL"},
		"invalid UTF-8":          {message("\"\xff\""), 400, tandem.InvalidRequest, "UTF-8"},
		"1 MB text":              {message(`"` + strings.Repeat("a", 1<<20) + `"`), 413, tandem.InputTooLarge, "at most 262144"},
		"10 MB body":             {message(`"` + strings.Repeat("a", 10<<20) + `"`), 413, tandem.InputTooLarge, "limits.body_bytes"},
		"n":                      {chatBody(`,"n":2`), 400, tandem.InvalidRequest, `"n"`},
		"n of another type":      {chatBody(`,"n":"1"`), 400, tandem.InvalidRequest, `"n"`},
		"tools":                  {chatBody(`,"tools":[{"type":"function"}]`), 400, tandem.InvalidRequest, `"tools"`},
		"functions":              {chatBody(`,"functions":[{}]`), 400, tandem.InvalidRequest, `"functions"`},
		"response_format":        {chatBody(`,"response_format":{"type":"json_object"}`), 400, tandem.InvalidRequest, `"response_format"`},
		"logprobs":               {chatBody(`,"logprobs":true`), 400, tandem.InvalidRequest, `"logprobs"`},
		"top_logprobs":           {chatBody(`,"top_logprobs":2`), 400, tandem.InvalidRequest, `"top_logprobs"`},
		"modalities":             {chatBody(`,"modalities":["text","audio"]`), 400, tandem.InvalidRequest, `"modalities"`},
		"audio":                  {chatBody(`,"audio":{}`), 400, tandem.InvalidRequest, `"audio"`},
		"web search":             {chatBody(`,"web_search_options":{}`), 400, tandem.InvalidRequest, `"web_search_options"`},
		"stream of another type": {chatBody(`,"stream":1`), 400, tandem.InvalidRequest, `"stream"`},
		"options without stream": {chatBody(`,"stream_options":{}`), 400, tandem.InvalidRequest, `"stream_options"`},
		"user of another type":   {chatBody(`,"user":{}`), 400, tandem.InvalidRequest, `"user"`},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := call(t, "POST", g.url+"/v1/chat/completions", tc.body)
			wantError(t, res, body, tc.status, tc.code, tc.says)
		})
	}
	t.Run("harmless fields", func(t *testing.T) {
		res, body := call(t, "POST", g.url+"/v1/chat/completions", chatBody(
			`,"n":1,"tools":[],"tool_choice":null,"functions":[],"response_format":{"type":"text"},"logprobs":false,"top_logprobs":0,`+
				`"modalities":["text"],"max_tokens":1,"stop":["x"],"seed":7,"stream":false,"user":null,"metadata":{"a":"b"}`))
		if res.StatusCode != 200 {
			t.Error(body)
		}
	})
	t.Run("tools not to be chosen", func(t *testing.T) {
		if res, body := call(t, "POST", g.url+"/v1/chat/completions", chatBody(`,"tools":[{}],"tool_choice":"none"`)); res.StatusCode != 200 {
			t.Error(body)
		}
	})
	t.Run("unknown force", func(t *testing.T) {
		res, body := call(t, "POST", g.url+"/v1/chat/completions", chatBody(""), "X-Tandem-Force", "student")
		wantError(t, res, body, 400, tandem.InvalidRequest, "one value: teacher")
	})
}

func TestAnswerBadInput(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}})
	for name, tc := range map[string]struct {
		body   string
		status int
		code   tandem.Code
		says   string
	}{
		"empty":              {``, 400, tandem.InvalidRequest, "empty"},
		"malformed":          {`{"input":}`, 400, tandem.InvalidRequest, "malformed"},
		"cut":                {`{"input":"a`, 400, tandem.InvalidRequest, "malformed"},
		"trailing":           {`{"input":"a"} {}`, 400, tandem.InvalidRequest, "after"},
		"deep":               {`{"input":{"parts":` + strings.Repeat("[", 100000), 400, tandem.InvalidRequest, "too deep"},
		"no input":           {`{}`, 400, tandem.InvalidRequest, `no "input"`},
		"input null":         {`{"input":null}`, 400, tandem.InvalidRequest, `no "input"`},
		"input number":       {`{"input":7}`, 400, tandem.InvalidRequest, `must be a text`},
		"empty text":         {`{"input":""}`, 400, tandem.InvalidRequest, "the text is empty"},
		"unknown field":      {`{"inputs":"a"}`, 400, tandem.InvalidRequest, `no field "inputs"`},
		"session number":     {`{"input":"a","session":7}`, 400, tandem.InvalidRequest, `"session"`},
		"unknown part":       {`{"input":{"parts":[{"kind":"smell"}]}}`, 400, tandem.UnsupportedModality, `"smell"`},
		"unknown part field": {`{"input":{"parts":[{"kind":"text","txt":"a"}]}}`, 400, tandem.InvalidRequest, `"txt"`},
		"text with data":     {`{"input":{"parts":[{"kind":"text","text":"a","url":"b"}]}}`, 400, tandem.InvalidRequest, `"text" only`},
		"image without data": {`{"input":{"parts":[{"kind":"image"}]}}`, 400, tandem.InvalidRequest, `needs either`},
		"image without mime": {`{"input":{"parts":[{"kind":"image","data":"aGk="}]}}`, 400, tandem.InvalidRequest, `"mime"`},
		"image not base64":   {`{"input":{"parts":[{"kind":"image","mime":"image/png","data":"?"}]}}`, 400, tandem.InvalidRequest, ``},
		"modality not taken": {`{"input":{"parts":[{"kind":"audio","url":"a"}]}}`, 400, tandem.UnsupportedModality, `does not take audio`},
		"invalid UTF-8":      {"{\"input\":\"\xff\"}", 400, tandem.InvalidRequest, "UTF-8"},
		"1 MB text":          {`{"input":"` + strings.Repeat("a", 1<<20) + `"}`, 413, tandem.InputTooLarge, "at most 262144"},
		"10 MB text":         {`{"input":"` + strings.Repeat("a", 10<<20) + `"}`, 413, tandem.InputTooLarge, "limits.body_bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := call(t, "POST", g.url+"/v1/tasks/support/answer", tc.body)
			wantError(t, res, body, tc.status, tc.code, tc.says)
			if strings.Contains(g.logs.String(), "secret") {
				t.Error("the log tells too much")
			}
		})
	}
	res, body := call(t, "POST", g.url+"/v1/tasks/nope/answer", `{"input":"a"}`)
	wantError(t, res, body, 404, tandem.NotFound, `there is no task "nope"; there are support`)
	res, body = call(t, "GET", g.url+"/v1/tasks/support/answer", "")
	wantError(t, res, body, 405, tandem.InvalidRequest, "POST only")
	if res.Header.Get("Allow") != "POST" {
		t.Errorf("Allow: %q", res.Header.Get("Allow"))
	}
	res, body = call(t, "GET", g.url+"/v1/nothing", "")
	wantError(t, res, body, 404, tandem.NotFound, "no such endpoint")
}

func TestModels(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Directory: directory{"org/gpt": replay.New(replay.Map{}, replay.Options{}).Model("gpt")}})
	_, body := call(t, "GET", g.url+"/v1/models", "")
	want := `{"object":"list","data":[{"id":"support","object":"model","created":0,"owned_by":"tandem"},{"id":"org/gpt","object":"model","created":0,"owned_by":"provider"}]}`
	if body != want {
		t.Errorf("got %s", body)
	}
	for _, id := range []string{"support", "org/gpt"} {
		if res, body := call(t, "GET", g.url+"/v1/models/"+id, ""); res.StatusCode != 200 || !strings.Contains(body, `"id":"`+id+`"`) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	}
	res, body := call(t, "GET", g.url+"/v1/models/nope", "")
	wantError(t, res, body, 404, tandem.NotFound, "there are org/gpt, support")
}

func TestFeedback(t *testing.T) {
	a := &answers{}
	g := start(t, gateway.Options{Answerer: a})
	if res, body := call(t, "POST", g.url+"/v1/traces/t-1/feedback", `{"label":"other","comment":"no"}`); res.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if got := a.feedback["t-1"]; got.Label != "other" || got.Comment != "no" {
		t.Errorf("got %+v", got)
	}
	res, body := call(t, "POST", g.url+"/v1/traces/t-2/feedback", `{"label":"other"}`)
	wantError(t, res, body, 404, tandem.NotFound, "")
	res, body = call(t, "POST", g.url+"/v1/traces/t-1/feedback", `{}`)
	wantError(t, res, body, 400, tandem.InvalidRequest, "label")
	res, body = call(t, "POST", g.url+"/v1/traces/t-1/feedback", "{\"label\":\"\xff\"}")
	wantError(t, res, body, 400, tandem.InvalidRequest, "UTF-8")
}
