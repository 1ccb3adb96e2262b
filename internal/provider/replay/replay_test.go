package replay_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem"
	"tandem/internal/provider"
	"tandem/internal/provider/providertest"
	"tandem/internal/provider/replay"
)

func TestConformance(t *testing.T) {
	source := replay.Map{providertest.Input().Text(): providertest.Answer}
	providertest.Run(t, providertest.Traits{Recording: true}, func(_ *testing.T, s providertest.Scenario) (provider.Model, bool) {
		switch s {
		case providertest.Success, providertest.NoUsage:
			return replay.New(source, replay.Options{}).Model("gpt"), true
		case providertest.Hang:
			return replay.New(source, replay.Options{Latency: time.Hour}).Model("gpt"), true
		case providertest.ServerError:
			return replay.New(source, replay.Options{FailureRate: 1}).Model("gpt"), true
		default: // a recording has no network
			return nil, false
		}
	})
}

func question(text string) provider.Question {
	return provider.Question{Task: providertest.Task(), Input: tandem.TextInput(text)}
}

func TestUnknownInput(t *testing.T) {
	m := replay.New(replay.Map{"a": "b"}, replay.Options{}).Model("gpt")
	_, err := m.Ask(t.Context(), question("something else"))
	e, ok := errors.AsType[*provider.Error](err)
	if !ok || e.Retryable || !strings.Contains(e.Message, "recording holds no answer") {
		t.Errorf("got %v", err)
	}
}

// TestDeterministic finds the same failures and latencies in every run, at the
// rates asked for.
func TestDeterministic(t *testing.T) {
	run := func(seed uint64) (fates string, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			m := replay.New(replay.Map{"a": "b"}, replay.Options{
				Latency: time.Second, LatencyJitter: time.Second, FailureRate: 0.3, Seed: seed,
			}).Model("gpt")
			start := time.Now()
			for range 1000 {
				if _, err := m.Ask(t.Context(), question("a")); err != nil {
					fates += "x"
				} else {
					fates += "."
				}
			}
			took = time.Since(start)
		})
		return fates, took
	}
	first, took := run(1)
	again, tookAgain := run(1)
	if first != again || took != tookAgain {
		t.Error("two runs with one seed differ")
	}
	if other, _ := run(2); other == first {
		t.Error("the seed does nothing")
	}
	if n := strings.Count(first, "x"); n < 240 || n > 360 {
		t.Errorf("%d of 1000 calls failed at a rate of 0.3", n)
	}
	if took < 1400*time.Second || took > 1600*time.Second {
		t.Errorf("1000 calls of 1 to 2 s took %s", took)
	}
}

func TestUsage(t *testing.T) {
	m := replay.New(replay.Map{"aaaabbbb": "refund"}, replay.Options{}).Model("gpt")
	reply, err := m.Ask(t.Context(), question("aaaabbbb"))
	if err != nil || reply.Usage.InputTokens < 8 || reply.Usage.OutputTokens != 2 {
		t.Errorf("got %+v, %v", reply, err)
	}
	m = replay.New(replay.Map{"a": "b"}, replay.Options{InputTokens: 700, OutputTokens: 5}).Model("gpt")
	if reply, err := m.Ask(t.Context(), question("a")); err != nil || reply.Usage != (tandem.Usage{InputTokens: 700, OutputTokens: 5}) {
		t.Errorf("got %+v, %v", reply, err)
	}
}

func TestForward(t *testing.T) {
	m := replay.New(replay.Map{"hello\nthere": "greeting \"x\""}, replay.Options{InputTokens: 7, OutputTokens: 2}).Model("gpt")
	body := `{"model":"m","messages":[{"role":"user","content":"no"},{"role":"user","content":[{"type":"text","text":"hello"},{"type":"text","text":"there"}]}]`
	get := func(d provider.Dialect, body string) (int, string, string) {
		res, err := m.Forward(t.Context(), provider.Call{Dialect: d, Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil || res.ContentLength != int64(len(b)) || res.Header.Get(replay.Header) != "true" {
			t.Errorf("%d bytes of %d, %v, %v", len(b), res.ContentLength, res.Header, err)
		}
		return res.StatusCode, res.Header.Get("Content-Type"), string(b)
	}
	status, kind, text := get(provider.ChatCompletions, body+"}")
	for _, part := range []string{`"content":"greeting \"x\""`, `"model":"recording:gpt"`, `"system_fingerprint":"recording"`, `"total_tokens":9`, `"finish_reason":"stop"`} {
		if status != 200 || kind != "application/json" || !strings.Contains(text, part) {
			t.Errorf("%d %s lacks %s: %s", status, kind, part, text)
		}
	}

	status, kind, text = get(provider.ChatCompletions, body+`,"stream":true,"stream_options":{"include_usage":true}}`)
	if status != 200 || kind != "text/event-stream" || !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("%d %s %q", status, kind, text)
	}
	answer, chunks := "", 0
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		data, ok := strings.CutPrefix(s.Text(), "data: {")
		if !ok {
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte("{"+data), &chunk); err != nil {
			t.Fatal(err)
		}
		chunks++
		for _, c := range chunk.Choices {
			answer += c.Delta.Content
		}
	}
	if answer != `greeting "x"` || chunks != 4 {
		t.Errorf("%d chunks say %q", chunks, answer)
	}

	for _, tc := range []struct {
		dialect provider.Dialect
		body    string
		status  int
	}{
		{provider.ChatCompletions, `{`, 400},
		{provider.ChatCompletions, `{"messages":[{"role":"user","content":"what?"}]}`, 404},
		{provider.ChatCompletions, `{"messages":[{"role":"user","content":7}]}`, 404},
		{provider.Embeddings, body + "}", 404},
	} {
		if status, _, text := get(tc.dialect, tc.body); status != tc.status || !strings.Contains(text, `"error"`) {
			t.Errorf("%s %s: %d %s", tc.dialect, tc.body, status, text)
		}
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "answers.jsonl")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{\"input\":\"a\",\"answer\":\"1\",\"extra\":[1]}\n\n {\"input\":\"a\",\"answer\":\"2\"}")
	e, err := replay.Config{File: path}.Open()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := e.Model("gpt").Ask(t.Context(), question("a"))
	if err != nil || reply.Text != "2" {
		t.Errorf("got %+v, %v", reply, err)
	}
	for text, says := range map[string]string{
		"":                            "no answers",
		"{\"input\":\"a\"}":           "line 1",
		"\n{\"answer\":\"a\"}":        "line 2",
		"{\"input\":1,\"answer\":2}":  "line 1",
		"{\"input\":\"\xff\"}":        "UTF-8",
		"{\"input\":\"a\",\"answer\"": "line 1",
		"{\"input\":\"" + strings.Repeat("a", 9<<20) + "\",\"answer\":\"b\"}": "longer than",
	} {
		write(text)
		if _, err := (replay.Config{File: path}).Open(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: got %v, want %s", text, err, says)
		}
	}
	if _, err := (replay.Config{File: path + ".missing"}).Open(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("{\"input\":\"a\",\"answer\":\"1\"}\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := replay.Read(strings.NewReader(s)); err == nil && len(m) == 0 {
			t.Error("an empty recording was accepted")
		}
	})
}

func TestCheck(t *testing.T) {
	if err := (replay.Config{Source: replay.Map{}}).Check(); err != nil {
		t.Error(err)
	}
	for key, c := range map[string]replay.Config{
		"file":           {},
		"latency":        {File: "a", Latency: -1},
		"latency_jitter": {File: "a", LatencyJitter: -1},
		"failure_rate":   {File: "a", FailureRate: 1.5},
		"input_tokens":   {File: "a", InputTokens: -1},
		"output_tokens":  {File: "a", OutputTokens: -1},
	} {
		if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), key+":") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

// TestTranslate answers conversations of other dialects.
func TestTranslate(t *testing.T) {
	m, ok := replay.New(replay.Map{"a\nb": "other"}, replay.Options{}).Model("gpt").(provider.Translator)
	if !ok {
		t.Fatal("a recording translates nothing")
	}
	block := func(s string) provider.Block { return provider.Block{Kind: provider.TextBlock, Text: s} }
	c := &provider.Conversation{Messages: []provider.Message{{Role: provider.User, Blocks: []provider.Block{block("x")}}, {Role: provider.User, Blocks: []provider.Block{block("a"), block("b")}}}}
	s, err := m.Stream(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := provider.Collect(s)
	if err != nil || reply.Text() != "other" || reply.Model != "recording:gpt" || reply.Usage.OutputTokens != 2 || s.Close() != nil {
		t.Errorf("got %+v, %v", reply, err)
	}
	if _, err := m.Complete(t.Context(), &provider.Conversation{}); err == nil {
		t.Error("an unknown text was answered")
	}
}
