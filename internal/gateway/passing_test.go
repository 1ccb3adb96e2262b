package gateway_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/gateway"
	"tandem/internal/provider"
	"tandem/internal/provider/anthropic"
	"tandem/internal/provider/openai"
)

// upstreams starts a server and opens both kinds of providers in front of it.
func upstreams(t *testing.T, h http.HandlerFunc) (*running, *watcher) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	server := provider.Server{BaseURL: srv.URL + "/v1", APIKey: "sk-upstream"}
	d := directory{}
	for name, c := range map[string]provider.Config{"gpt": openai.Config{Server: server}, "claude": anthropic.Config{Server: server}} {
		e, err := c.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		d[name] = e.Model("real-" + name)
	}
	w := &watcher{forwarded: make(chan tandem.Usage, 8)}
	return start(t, gateway.Options{Answerer: &answers{}, Directory: d, Observer: w}), w
}

// TestPassing passes every dialect through: only the model's name changes.
func TestPassing(t *testing.T) {
	type arrived struct{ path, query, body, kind, key string }
	var got arrived
	reply, replyType := "", "application/json"
	g, w := upstreams(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = arrived{r.URL.Path, r.URL.RawQuery, string(b), r.Header.Get("Content-Type"), r.Header.Get("Authorization") + r.Header.Get("X-Api-Key")}
		w.Header().Set("Content-Type", replyType)
		_, _ = io.WriteString(w, reply)
	})
	for name, tc := range map[string]struct {
		path, model, body, reply, kind string
		usage                          tandem.Usage
	}{
		"embeddings": {"/v1/embeddings", "gpt", `"input":["a"], "x":1.0`, `{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}`, "", tandem.Usage{InputTokens: 8}},
		"images": {
			"/v1/images/generations", "gpt", `"prompt":"a cat"`, `{"data":[{"b64_json":"` + strings.Repeat("A", 3<<20) + `"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50}}`, "",
			tandem.Usage{InputTokens: 50, OutputTokens: 50},
		},
		"speech": {"/v1/audio/speech", "gpt", `"input":"hi","voice":"v"`, "\x00\x01\xff", "audio/mpeg", tandem.Usage{}},
		"responses": {
			"/v1/responses", "gpt", `"input":"hi","previous_response_id":"r"`, `{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2}}}`, "",
			tandem.Usage{InputTokens: 9, OutputTokens: 5, CachedTokens: 4, ReasoningTokens: 2},
		},
		"responses streamed": {"/v1/responses", "gpt", `"input":"hi","stream":true`, "event: response.created\ndata: {\"response\":{\"usage\":null}}\n\n" +
			"event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":5}}}\n\n", "text/event-stream", tandem.Usage{InputTokens: 9, OutputTokens: 5}},
		"messages": {
			"/v1/messages?beta=true", "claude", `"max_tokens":1, "new":{}`, `{"usage":{"input_tokens":9,"cache_read_input_tokens":4,"cache_creation_input_tokens":2,"output_tokens":5}}`, "",
			tandem.Usage{InputTokens: 15, OutputTokens: 5, CachedTokens: 4, CacheWriteTokens: 2},
		},
		"messages streamed": {"/v1/messages", "claude", `"stream":true`, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"cache_read_input_tokens\":4,\"output_tokens\":1}}}\n\n" +
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\n\n", "text/event-stream", tandem.Usage{InputTokens: 13, OutputTokens: 7, CachedTokens: 4}},
		"count_tokens": {"/v1/messages/count_tokens", "claude", `"messages":[]`, `{"input_tokens":14}`, "", tandem.Usage{}},
	} {
		t.Run(name, func(t *testing.T) {
			if reply, replyType = tc.reply, tc.kind; replyType == "" {
				replyType = "application/json"
			}
			res, body := call(t, "POST", g.url+tc.path, `{"model":"`+tc.model+`", `+tc.body+`}`, "X-Api-Key", "of the client", "Authorization", "Bearer of the client")
			path, query, _ := strings.Cut(tc.path, "?")
			if res.StatusCode != 200 || body != tc.reply || res.Header.Get("Content-Type") != replyType || res.Header.Get("X-Tandem-Step") != "passthrough" {
				t.Errorf("%d %.200s", res.StatusCode, body)
			}
			if got.path != path || got.query != query || got.body != `{"model":"real-`+tc.model+`", `+tc.body+`}` || !strings.HasSuffix(got.key, "sk-upstream") || strings.Contains(got.key, "client") {
				t.Errorf("arrived %+v", got)
			}
			if u := <-w.forwarded; u != tc.usage {
				t.Errorf("usage %+v, want %+v", u, tc.usage)
			}
		})
	}
}

// TestTranscriptions passes a form through: its bytes are the client's but for
// the model.
func TestTranscriptions(t *testing.T) {
	sound := bytes.Repeat([]byte("\x00\r\n--not the boundary\r\n"), 1000)
	type arrived struct {
		model, language string
		sound           []byte
	}
	var got arrived
	g, _ := upstreams(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1 << 20); err != nil {
			t.Error(err)
			return
		}
		got = arrived{model: r.FormValue("model"), language: r.FormValue("language")}
		f, _, err := r.FormFile("file")
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if got.sound, err = io.ReadAll(f); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, `{"text":"hello"}`)
	})
	form := func(model string) (string, string) {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		f, err := m.CreateFormFile("file", "model") // a file of that name is no field
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write(sound)
		for name, value := range map[string]string{"model": model, "language": "en"} {
			if value != "" {
				_ = m.WriteField(name, value)
			}
		}
		_ = m.Close()
		return b.String(), m.FormDataContentType()
	}
	body, kind := form("gpt")
	res, reply := call(t, "POST", g.url+"/v1/audio/transcriptions", body, "Content-Type", kind)
	if res.StatusCode != 200 || reply != `{"text":"hello"}` || got.model != "real-gpt" || got.language != "en" || !bytes.Equal(got.sound, sound) {
		t.Errorf("%d %s; arrived %s %s, %d bytes", res.StatusCode, reply, got.model, got.language, len(got.sound))
	}
	body, kind = form("")
	res, reply = call(t, "POST", g.url+"/v1/audio/transcriptions", body, "Content-Type", kind)
	wantError(t, res, reply, 400, tandem.InvalidRequest, "model")
	body, kind = form("gpt")
	res, reply = call(t, "POST", g.url+"/v1/audio/transcriptions", body[:len(body)/2], "Content-Type", kind)
	wantError(t, res, reply, 400, tandem.InvalidRequest, "malformed or cut off")
}

func TestPassingRefuses(t *testing.T) {
	g, _ := upstreams(t, func(http.ResponseWriter, *http.Request) { t.Error("it was passed on") })
	for _, tc := range []struct{ path, model, says string }{
		{"/v1/embeddings", "support", "is a task"},
		{"/v1/embeddings", "claude", "does not speak embeddings"},
		{"/v1/images/generations", "claude", "does not speak image generations"},
		{"/v1/audio/speech", "claude", "does not speak audio speech"},
		{"/v1/responses", "claude", "does not speak responses"},
		{"/v1/embeddings", "", "must name"},
	} {
		res, body := call(t, "POST", g.url+tc.path, `{"model":"`+tc.model+`"}`)
		wantError(t, res, body, 400, tandem.InvalidRequest, tc.says)
	}
	res, body := call(t, "POST", g.url+"/v1/embeddings", `{"model":"nobody"}`)
	wantError(t, res, body, 404, tandem.NotFound, "nobody")
}
