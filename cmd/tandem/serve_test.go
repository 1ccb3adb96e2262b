package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"tandem/examples"
	"tandem/internal/config"
)

func TestBanner(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("tandem.yaml", examples.Config(), func(name string) string { return map[string]string{"OPENAI_API_KEY": "x"}[name] })
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := banner(system{stdout: &out}, "tandem.yaml", cfg, "[::]:9090"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"serves on http://127.0.0.1:9090\n", "tasks    support (teacher large)\n", "data     ./tandem-data\n",
		`base_url="http://127.0.0.1:9090/v1"  model="support"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q lacks %q", out.String(), want)
		}
	}
}

func TestDialable(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		":80": "127.0.0.1:80", "0.0.0.0:80": "127.0.0.1:80", "[::]:80": "127.0.0.1:80",
		"10.0.0.5:80": "10.0.0.5:80", "[::1]:80": "[::1]:80", "localhost:80": "localhost:80",
	} {
		if got := dialable(listen); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

func TestLogReload(t *testing.T) {
	t.Parallel()
	_, faults := config.Parse("tandem.yaml", []byte("listn: x\n"), func(string) string { return "" })
	for _, tc := range []struct {
		reload config.Reload
		want   []string
	}{
		{config.Reload{}, []string{`level=INFO msg="configuration reloaded" file=tandem.yaml`}},
		{config.Reload{NeedsRestart: []string{"listen", "data"}}, []string{"level=WARN", `restart_for="listen, data"`}},
		{config.Reload{Err: errors.New("no such file")}, []string{"level=ERROR", "the old one stays", "no such file"}},
		{config.Reload{Err: faults}, []string{"level=ERROR", "line=1 column=1", "listn", "at least one task"}},
	} {
		var out bytes.Buffer
		logReload(newLogger(config.Log{Level: "debug"}, &out), "tandem.yaml", tc.reload)
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q lacks %q", out.String(), want)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		thousands(0): "0", thousands(999): "999", thousands(1000): "1,000", thousands(-1234567): "-1,234,567",
		count(1, "row"): "1 row", count(1200, "row"): "1,200 rows", share(1, 0): "–", share(1, 4): "25.0%",
		dollars(0): "$0.00", dollars(0.00012): "$0.000120", dollars(12.345): "$12.35",
		brief("a\n  b\tc", 10): "a b c", brief("abcdef", 4): "abc…",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
