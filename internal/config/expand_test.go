package config

import (
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "",
		"plain $HOME $":           "plain $HOME $",
		"${PORT}":                 "9090",
		"a${PORT}b${PORT}c":       "a9090b9090c",
		"$${PORT}":                "${PORT}",
		"$$${PORT}":               "$${PORT}",
		"$${${PORT}":              "${9090",
		"${NONE:-}":               "",
		"${NONE:-a:-b}":           "a:-b",
		"${NONE:-${PORT}":         "${PORT",
		"${PORT:-8080}":           "9090",
		"${NONE:-sk-1}/${PORT:-}": "sk-1/9090",
	} {
		if got, problems := expand(text, env); got != want || problems != nil {
			t.Errorf("%q becomes %q (%v), want %q", text, got, problems, want)
		}
	}
	for text, want := range map[string]string{
		"${NONE}":     "NONE is not set",
		"${":          "never closed",
		"${PORT":      "never closed",
		"${}":         `"" is not the name`,
		"${a b}":      `"a b" is not the name`,
		"${1A}":       `"1A" is not the name`,
		"${PORT:+x}":  "is not the name",
		"${NONE}${X}": "X is not set",
	} {
		_, problems := expand(text, env)
		if len(problems) == 0 || !strings.Contains(strings.Join(problems, "\n"), want) {
			t.Errorf("%q: %v, want %q", text, problems, want)
		}
	}
}

// FuzzExpand: text without a variable stays, whatever comes out of the
// environment is not expanded again, and what is escaped comes out literally.
func FuzzExpand(f *testing.F) {
	f.Add("a ${PORT} $${x} ${NONE:-y}")
	f.Fuzz(func(t *testing.T, text string) {
		again := func(string) string { return "${AGAIN}" }
		got, problems := expand(text, again)
		if !strings.Contains(text, "${") && (got != text || problems != nil) {
			t.Fatalf("%q becomes %q (%v)", text, got, problems)
		}
		escaped := strings.ReplaceAll(text, "${", "$${")
		if strings.Contains(text, "$${") {
			return
		}
		if got, problems := expand(escaped, again); got != text || problems != nil {
			t.Fatalf("%q escaped is %q, which becomes %q (%v)", text, escaped, got, problems)
		}
	})
}
