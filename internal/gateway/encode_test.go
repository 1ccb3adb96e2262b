package gateway

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tandem"
	"tandem/internal/provider"
)

// reference is what encoding/json writes, the specification of appendX.
func reference(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestAppendDecision(t *testing.T) {
	attempt := tandem.Attempt{
		Step: tandem.ProviderStep, Model: "m", Label: "l", Score: 0.25, Reason: tandem.LastStep, Error: tandem.TeacherTimeout,
		Usage: tandem.Usage{InputTokens: 3, OutputTokens: 1, CachedTokens: 2}, CostUSD: 1e-7, Took: time.Second,
	}
	for _, d := range []tandem.Decision{
		{},
		{
			TraceID: "t", Task: "a\"b", Answer: "süß \u2028\u0000<&>", Step: tandem.StudentStep, Model: "v1", Score: 0.123456789, Certified: true,
			Reason: tandem.Accepted, Why: "because\n", Recording: true, Propensity: 1, Usage: tandem.Usage{InputTokens: 1},
			CostUSD: 123.5e-9, SavedUSD: 1e21, Recorded: tandem.Stored, Took: -5, Attempts: []tandem.Attempt{attempt, {}},
		},
	} {
		if got, want := string(appendDecision(nil, &d)), reference(t, d); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		want := reference(t, struct {
			Answer string          `json:"answer"`
			Tandem tandem.Decision `json:"tandem"`
		}{d.Answer, d})
		if got := string(appendReply(nil, &d)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestAppendDecisionIsComplete fails when a field is added that the encoder
// does not know: every field set alone must change what it writes.
func TestAppendDecisionIsComplete(t *testing.T) {
	empty := string(appendDecision(nil, &tandem.Decision{Attempts: []tandem.Attempt{{}}}))
	var check func(d *tandem.Decision, v reflect.Value, name string)
	check = func(d *tandem.Decision, v reflect.Value, name string) {
		for i := range v.NumField() {
			f, name := v.Field(i), name+"."+v.Type().Field(i).Name
			old := reflect.ValueOf(f.Interface())
			switch f.Kind() {
			case reflect.String:
				f.SetString("x")
			case reflect.Int, reflect.Int64:
				f.SetInt(7)
			case reflect.Float64:
				f.SetFloat(7)
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Struct:
				check(d, f, name)
				continue
			case reflect.Slice:
				check(d, f.Index(0), name)
				continue
			default:
				t.Fatalf("%s is a %s: teach the encoder and this test", name, f.Kind())
			}
			if got := string(appendDecision(nil, d)); got == empty || got != reference(t, d) {
				t.Errorf("%s is written as %s", name, got)
			}
			f.Set(old)
		}
	}
	d := &tandem.Decision{Attempts: []tandem.Attempt{{}}}
	check(d, reflect.ValueOf(d).Elem(), "Decision")
}

func TestAppendError(t *testing.T) {
	type body struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	param := "in\"put"
	for _, tc := range []struct {
		e    *tandem.Error
		line int
		want any
	}{
		{tandem.Errorf(tandem.Overloaded, "a\"b\n"), 0, map[string]any{"error": body{"a\"b\n", "server_error", nil, "overloaded"}}},
		{&tandem.Error{Code: tandem.InvalidRequest, Message: "m", Param: param}, 7, struct {
			Error body `json:"error"`
			Line  int  `json:"line"`
		}{body{"m", "invalid_request_error", &param, "invalid_request"}, 7}},
		{tandem.Errorf(tandem.Unauthorized, "m"), 0, map[string]any{"error": body{"m", "authentication_error", nil, "unauthorized"}}},
	} {
		if got, want := string(appendErrorBody(nil, tc.e, tc.line)), reference(t, tc.want); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "süß", "\u2028", "\xff", "a\"\\\n\x00\x7f<>&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := string(appendString(nil, s)), reference(t, s); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func FuzzAppendFloat(f *testing.F) {
	for _, v := range []float64{0, 1, -1, 0.1, 1e-6, 9.9e-7, 1e-9, 1e-10, 1e21, 1e20, 1.5e300, math.SmallestNonzeroFloat64, math.Copysign(0, -1)} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v float64) {
		want := "null"
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			want = reference(t, v)
		}
		if got := string(appendFloat(nil, v)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestAppendAllocates(t *testing.T) {
	d := tandem.Decision{TraceID: "t", Task: "support", Answer: "refund", Step: tandem.StudentStep, Score: 0.97, Attempts: []tandem.Attempt{{Score: 0.97}}}
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { b = appendReply(b[:0], &d) }); n != 0 {
		t.Errorf("appendReply allocates %.0f times", n)
	}
}

// FuzzQuestion holds the quick reading of a request to encoding/json: it may
// only take what that takes, with the same result.
func FuzzQuestion(f *testing.F) {
	for _, s := range []string{
		`{"input":"hello"}`, " {\t\"input\" :\r\n\"hello\" } \n", `{"input":""}`, `{"input":"a\"b"}`, `{"input":"süß"}`, `{"input":"a"}x`, `{"input":"a"`,
		`{"input":"a","session":"s","teacher":true}`, "{\"input\":\"a\x00\"}", "{\"input\":\"\xff\"}", `{"Input":"a"}`, `{"input":"a","input":"b"}`,
		`{"input":{"parts":[{"kind":"image","mime":"image/png","data":"aGk="}]}}`, `{"input":null}`, `[]`, "\ufeff{\"input\":\"a\"}",
		"{\"input\":\"\x7f\u2028\"}", strings.Repeat("[", 20000), `{"input":` + strings.Repeat(`{"parts":`, 12000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text, quick := quickText(body)
		if quick && utf8.Valid(body) {
			slow, err := slowQuestion(body)
			if err != nil || !reflect.DeepEqual(slow, question{input: tandem.TextInput(text)}) {
				t.Errorf("%q: quick reads %q, encoding/json %+v, %v", body, text, slow, err)
			}
		}
		q, err := decodeQuestion(body)
		if err != nil {
			if code := tandem.CodeOf(err); code != tandem.InvalidRequest && code != tandem.UnsupportedModality {
				t.Errorf("%q fails with %v", body, err)
			}
			if !utf8.ValidString(err.Error()) {
				t.Errorf("the error is not UTF-8: %q", err)
			}
			return
		}
		if !utf8.Valid(body) || !json.Valid(body) {
			t.Errorf("%q was accepted", body)
		}
		for _, p := range q.input.Parts {
			if !utf8.ValidString(p.Text) {
				t.Errorf("%q gives invalid text", body)
			}
		}
	})
}

// FuzzChat reads whatever comes as a chat request of a task.
func FuzzChat(f *testing.F) {
	for _, s := range []string{
		`{"model":"t","messages":[{"role":"user","content":"hello"}]}`,
		`{"model":"t","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}]}`,
		`{"stream":true,"stream_options":{"include_usage":true},"n":1,"tools":[],"response_format":{"type":"text"},"messages":[{"role":"user"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var req chatRequest
		if json.Unmarshal(body, &req) != nil {
			return
		}
		for _, err := range []error{
			refuse(&req), func() error { _, _, err := streaming(&req); return err }(),
			func() error { _, err := lastOfUser(req.Messages, "messages", content); return err }(),
		} {
			if code := tandem.CodeOf(err); err != nil && code != tandem.InvalidRequest && code != tandem.UnsupportedModality {
				t.Errorf("%q fails with %v", body, err)
			}
		}
	})
}

// FuzzMeter finds the same usage however a stream is cut into pieces.
func FuzzMeter(f *testing.F) {
	f.Add([]byte("data: {\"usage\":null}\n\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n"), 7)
	f.Add([]byte("data: {\"message\":{\"usage\":{\"input_tokens\":9,\"cache_read_input_tokens\":3}}}\n\ndata: {\"usage\":{\"output_tokens\":7}}\n\n"), 9)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		for _, events := range []bool{true, false} {
			whole, pieces := meter{events: events, dialect: provider.Messages}, meter{events: events, dialect: provider.Messages}
			whole.see(stream)
			for rest := stream; len(rest) > 0; {
				n := min(max(size, 1), len(rest))
				pieces.see(rest[:n])
				rest = rest[n:]
			}
			if whole.usage() != pieces.usage() {
				t.Errorf("%+v and %+v", whole.usage(), pieces.usage())
			}
			whole.dialect = provider.ChatCompletions
			for _, u := range []tandem.Usage{whole.usage(), pieces.usage()} {
				if min(u.InputTokens, u.OutputTokens, u.CachedTokens, u.CacheWriteTokens, u.ReasoningTokens) < 0 ||
					u.CachedTokens+u.CacheWriteTokens > u.InputTokens || u.ReasoningTokens > u.OutputTokens {
					t.Errorf("the parts are more than the whole: %+v", u)
				}
			}
		}
	})
}
