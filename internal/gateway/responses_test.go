package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/gateway"
	"tandem/internal/provider/replay"
)

type responseBody struct {
	ID, Object, Status, Model string
	Output                    []struct {
		Type, Role, Status string
		Content            []struct{ Type, Text string }
	}
	Usage struct {
		Input  int `json:"input_tokens"`
		Total  int `json:"total_tokens"`
		Detail struct {
			Cached int `json:"cached_tokens"`
		} `json:"input_tokens_details"`
	}
	Tandem *tandem.Decision
}

func TestResponses(t *testing.T) {
	a := &answers{}
	g := start(t, gateway.Options{Answerer: a})
	for name, input := range map[string]string{
		"text":  `"I want my money back"`,
		"items": `[{"role":"user","content":"hi"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"yes?"}]},{"role":"user","content":[{"type":"input_text","text":"I want my money back"}]}]`,
	} {
		res, body := call(t, "POST", g.url+"/v1/responses", `{"model":"support","input":`+input+`,"instructions":"x","store":false,"user":"u7","temperature":1,"tools":[],"unknown":1}`)
		var r responseBody
		if err := json.Unmarshal([]byte(body), &r); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %d %s: %v", name, res.StatusCode, body, err)
		}
		if r.ID != "resp_t-1" || r.Object != "response" || r.Status != "completed" || r.Model != "support" || len(r.Output) != 1 || r.Output[0].Type != "message" ||
			r.Output[0].Content[0].Type != "output_text" || r.Output[0].Content[0].Text != "refund" || r.Tandem.TraceID != "t-1" || res.Header.Get("X-Tandem-Step") != "student" {
			t.Errorf("got %s", body)
		}
		if req := a.last(); req.Session != "u7" || req.Input.Text() != "I want my money back" || len(req.Input.Parts) != 1 {
			t.Errorf("asked %+v", req)
		}
	}
	_, body := call(t, "POST", g.url+"/v1/responses", `{"model":"support","input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:image/png;base64,aGk=","detail":"auto"}]}]}`, "X-Tandem-Force", "teacher")
	if req := a.last(); !req.Teacher || len(req.Input.Parts) != 2 || string(req.Input.Parts[1].Data) != "hi" || !strings.Contains(body, `"total_tokens":43`) {
		t.Errorf("asked %+v: %s", req, body)
	}
}

func TestResponsesStream(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}})
	res, body := call(t, "POST", g.url+"/v1/responses", `{"model":"support","input":"I want my money back","stream":true}`)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	e := named(t, body)
	if got := types(e); got != "response.created response.in_progress response.output_item.added response.content_part.added response.output_text.delta "+
		"response.output_text.done response.content_part.done response.output_item.done response.completed" {
		t.Fatalf("the events are %s", got)
	}
	for i := range e {
		if e[i]["sequence_number"] != float64(i) {
			t.Errorf("event %d is number %v", i, e[i]["sequence_number"])
		}
	}
	last := e[len(e)-1]["response"].(map[string]any)
	if e[4]["delta"] != "refund" || e[5]["text"] != "refund" || last["status"] != "completed" || last["tandem"].(map[string]any)["answer"] != "refund" {
		t.Errorf("got %s", body)
	}
}

func TestResponsesRefuses(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Directory: directory{"recorded": replay.New(replay.Map{}, replay.Options{}).Model("m")}})
	for extra, param := range map[string]string{
		`,"previous_response_id":"resp_1"`:            "previous_response_id",
		`,"conversation":"conv_1"`:                    "conversation",
		`,"store":true`:                               "store",
		`,"background":true`:                          "background",
		`,"prompt":{"id":"p"}`:                        "prompt",
		`,"tools":[{"type":"function"}]`:              "tools",
		`,"include":["message.output_text.logprobs"]`: "include",
		`,"top_logprobs":3`:                           "top_logprobs",
		`,"text":{"format":{"type":"json_object"}}`:   "text.format",
		`,"stream":7`:                                 "stream",
		`,"input":7`:                                  "input",
		`,"input":[{"role":"user","content":[{"type":"input_file"}]}]`:  "input[0].content[0]",
		`,"input":[{"role":"user","content":[{"type":"input_image"}]}]`: "input[0].content[0]",
		`,"input":[{"type":"function_call_output","call_id":"c"}]`:      "input",
	} {
		res, body := call(t, "POST", g.url+"/v1/responses", `{"model":"support","input":"x"`+extra+`}`)
		var e errorBody
		if err := json.Unmarshal([]byte(body), &e); err != nil || res.StatusCode != 400 || e.Error.Param == nil || *e.Error.Param != param {
			t.Errorf("%s: got %d %s, want a refusal of %s", extra, res.StatusCode, body, param)
		}
	}
	res, body := call(t, "POST", g.url+"/v1/responses", `{"model":"recorded","input":"x"}`)
	wantError(t, res, body, 400, tandem.InvalidRequest, "does not speak responses")
	res, body = call(t, "POST", g.url+"/v1/responses", `{"model":"nobody","input":"x"}`)
	wantError(t, res, body, 404, tandem.NotFound, "nobody")
}
