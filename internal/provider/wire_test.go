package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestUnwrap(t *testing.T) {
	for in, want := range map[string]string{
		`{"answer":"refund"}`:                   "refund",
		" {\"answer\": \"re\\\"fund\"} ":        `re"fund`,
		"```json\n{\"answer\":\"refund\"}\n```": "refund",
		"```\n{\"answer\":\"refund\"}```":       "refund",
		`refund`:                                "refund",
		`{"answer":"refu`:                       `{"answer":"refu`,
		`{"label":"refund"}`:                    `{"label":"refund"}`,
		`{"answer":7}`:                          `{"answer":7}`,
		`The answer is {"answer":"refund"}`:     `The answer is {"answer":"refund"}`,
	} {
		if got := Unwrap(in); got != want {
			t.Errorf("Unwrap(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add("```json\n{\"answer\":\"x\"}\n```")
	f.Fuzz(func(t *testing.T, s string) { Unwrap(s) })
}

func TestRename(t *testing.T) {
	for in, want := range map[string]string{
		`{"model":"a"}`: `{"model":"real"}`,
		`{ "x" : {"model":"a"}, "model" :  "a" ,"y":1}`: `{ "x" : {"model":"a"}, "model" :  "real" ,"y":1}`,
		`{"model":"a","model":"b"}`:                     `{"model":"real","model":"real"}`,
		"{\"mod\\u0065l\":\"a\"}\n":                     "{\"mod\\u0065l\":\"real\"}\n",
	} {
		got, err := rename([]byte(in), "real")
		if err != nil || string(got) != want {
			t.Errorf("rename(%s) = %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{``, `[]`, `{}`, `{"Model":"a"}`, `{"model":`, `{"model" "a"}`, `null`} {
		if got, err := rename([]byte(in), "real"); err == nil {
			t.Errorf("rename(%s) = %s, want an error", in, got)
		}
	}
}

// FuzzRename holds rename to what encoding/json sees before and after.
func FuzzRename(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"model":"x"}],"model":"b"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := rename(body, "real")
		if err != nil {
			return
		}
		var before, after map[string]json.RawMessage
		if json.Unmarshal(body, &before) != nil {
			return // cut off after the model; the gateway has checked it
		}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%s became %s: %v", body, got, err)
		}
		before["model"] = json.RawMessage(`"real"`)
		if fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("%s became %s", body, got)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "3", 3 * time.Second},
		{"Retry-After", "1.5", 1500 * time.Millisecond},
		{"Retry-After", "-3", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "1e300", maxRetryAfter},
		{"Retry-After", "NaN", 0},
		{"Retry-After", now.Add(time.Minute).Format(http.TimeFormat), time.Minute},
		{"Retry-After", now.Add(-time.Minute).Format(http.TimeFormat), 0},
		{"Retry-After-Ms", "250", 250 * time.Millisecond},
	} {
		if got := RetryAfter(http.Header{tc.name: {tc.value}}, now); got != tc.want {
			t.Errorf("%s: %s gives %s, want %s", tc.name, tc.value, got, tc.want)
		}
	}
}
