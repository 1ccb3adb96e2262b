package support

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func load(t testing.TB) *Desk {
	t.Helper()
	d, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLabels(t *testing.T) {
	d := load(t)
	before, after := d.Labels(Before), d.Labels(After)
	if len(before) < 49 {
		t.Errorf("%d labels before the change, want at least 48 and out_of_scope", len(before))
	}
	if len(after) < len(before)+4 {
		t.Errorf("the change brings %d labels, want at least 4", len(after)-len(before))
	}
	task := d.Task()
	for _, l := range after {
		if l.Description == "" {
			t.Errorf("%s has no description", l.Name)
		}
		if got, ok := task.Resolve(l.Name); !ok || got != l.Name {
			t.Errorf("the task resolves %s to %q", l.Name, got)
		}
	}
	if _, ok := task.Resolve("out_of_scope"); !ok {
		t.Error("the task has no out_of_scope")
	}
	if task.Name != TaskName || task.Instructions != d.Instructions() {
		t.Errorf("the task is %q with instructions %q", task.Name, task.Instructions)
	}
}

func TestMessages(t *testing.T) {
	d := load(t)
	seen := map[string]bool{}
	gold := map[string]int{}
	kinds := map[byte]int{}
	wrong := 0
	for _, m := range d.messages {
		if !utf8.ValidString(m.text) || strings.ContainsAny(m.text, "\t\r\n") || strings.TrimSpace(m.text) != m.text {
			t.Errorf("unclean text %q", m.text)
		}
		if len(m.text) > 600 || len(m.text) < 2 {
			t.Errorf("text of %d bytes: %q", len(m.text), m.text)
		}
		if seen[m.text] {
			t.Errorf("%q is there twice", m.text)
		}
		seen[m.text] = true
		gold[m.gold]++
		kinds[m.kind]++
		if m.kind != 'u' && m.label != m.gold {
			wrong++
		}
		if got, ok := d.Answer(m.text); !ok || got != m.label {
			t.Errorf("recorded answer to %q: %q, want %q", m.text, got, m.label)
		}
	}
	for _, l := range d.Labels(After) {
		if gold[l.Name] < 60 {
			t.Errorf("%s has %d messages, want at least 60", l.Name, gold[l.Name])
		}
	}
	within(t, "share of several requests", float64(kinds['s'])/float64(len(d.messages)), 0.02, 0.08)
	within(t, "share of unclear messages", float64(kinds['u'])/float64(len(d.messages)), 0.02, 0.08)
	within(t, "teacher's mistakes in clear messages", float64(wrong)/float64(len(d.messages)-kinds['u']), 0.011, 0.019)
	if _, ok := d.Answer("a text nobody wrote"); ok {
		t.Error("an answer to a text that was never recorded")
	}
	if len(d.Answers()) != len(d.messages) {
		t.Errorf("%d answers for %d messages", len(d.Answers()), len(d.messages))
	}
}

func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %.4f, want %.3f to %.3f", what, got, low, high)
	}
}

func TestBefore(t *testing.T) {
	d := load(t)
	pool := map[string]bool{}
	for _, topic := range d.pools[Before].topics {
		for _, i := range topic {
			pool[d.messages[i].text] = true
		}
	}
	if len(pool) < 8000 {
		t.Errorf("%d distinct messages before the change, want at least 8,000", len(pool))
	}
	fresh := map[string]bool{}
	for _, l := range d.Labels(After)[len(d.Labels(Before)):] {
		fresh[l.Name] = true
	}
	const n = 12000
	stream := d.Stream(1, n, Before)
	texts, labels, sessions := map[string]int{}, map[string]int{}, map[string]int{}
	differ := 0
	for _, m := range stream {
		texts[m.Text]++
		labels[m.Gold]++
		sessions[m.Session]++
		if m.Label != m.Gold {
			differ++
		}
		if fresh[m.Gold] || fresh[m.Label] {
			t.Fatalf("%q has the intent %s, which does not exist yet", m.Text, m.Gold)
		}
		if s := strings.ToLower(m.Text); strings.Contains(s, "solvo") || strings.Contains(s, "juno") {
			t.Fatalf("%q names a product that does not exist yet", m.Text)
		}
	}
	within(t, "share of distinct texts", float64(len(texts))/n, 0.60, 0.80)
	within(t, "share of answers that differ from the instruction", float64(differ)/n, 0.015, 0.04)
	counts := slices.Sorted(maps.Values(labels))
	slices.Reverse(counts)
	within(t, "share of the first intent", float64(counts[0])/n, 0.08, 0.16)
	within(t, "share of the tenth intent", float64(counts[9])/n, 0.02, 0.05)
	within(t, "share of the fiftieth intent", float64(counts[49])/n, 0.002, 0.008)
	often := slices.Sorted(maps.Values(texts))
	slices.Reverse(often)
	within(t, "share of the most frequent text", float64(often[0])/n, 0.005, 0.05)
	if often[0] < 5*often[30] {
		t.Errorf("the first text comes %d times, the 31st %d: no head", often[0], often[30])
	}
	several := 0
	for _, c := range sessions {
		if c > 1 {
			several++
		}
		if c > maxPerChat {
			t.Errorf("a session of %d messages", c)
		}
	}
	within(t, "share of sessions with several messages", float64(several)/float64(len(sessions)), 0.05, 0.4)
}

func TestAfter(t *testing.T) {
	d := load(t)
	old := map[string]string{} // text to answer, as an old student would have learnt
	for _, m := range d.Stream(1, 10000, Before) {
		old[m.Text] = m.Label
	}
	fresh := map[string]int{}
	for _, l := range d.Labels(After)[len(d.Labels(Before)):] {
		fresh[l.Name] = 0
	}
	const n = 5000
	renamed, moved, news, again := 0, 0, 0, 0
	for _, m := range d.Stream(1, n, After) {
		s := strings.ToLower(m.Text)
		if strings.Contains(s, "brisk") {
			t.Fatalf("%q names the old product", m.Text)
		}
		if strings.Contains(s, "solvo") {
			renamed++
		}
		if _, ok := fresh[m.Gold]; ok {
			fresh[m.Gold]++
			news++
		}
		if m.Gold == "line_test" {
			moved++
		}
		if label, ok := old[m.Text]; ok {
			again++
			if label != m.Label {
				t.Fatalf("%q was %s and is now %s: a recording has one answer", m.Text, label, m.Label)
			}
		}
	}
	within(t, "share of new intents", float64(news)/n, 0.15, 0.20)
	for name, c := range fresh {
		within(t, "share of "+name, float64(c)/n, 0.02, 0.06)
	}
	within(t, "share of the intent whose meaning moved", float64(moved)/n, 0.03, 0.10)
	within(t, "share of texts with the new name", float64(renamed)/n, 0.08, 0.40)
	within(t, "share of texts sent before", float64(again)/n, 0.15, 0.45)
}

func TestStreamIsDeterministic(t *testing.T) {
	d, again := load(t), load(t)
	long := d.Stream(7, 3000, After)
	if !slices.Equal(long[:1000], again.Stream(7, 1000, After)) {
		t.Error("a shorter stream of the same seed is not the beginning of the longer one")
	}
	if slices.Equal(long[:1000], d.Stream(8, 1000, After)) {
		t.Error("another seed gives the same stream")
	}
	if got := d.Stream(7, 0, Before); len(got) != 0 {
		t.Errorf("a stream of no messages has %d", len(got))
	}
	// More than the corpus holds: texts repeat, nothing fails.
	if got := d.Stream(3, 60000, Before); len(got) != 60000 {
		t.Errorf("a long stream has %d messages", len(got))
	}
}

func TestParseRefuses(t *testing.T) {
	const in = "intent\tgreet\t*\t1.0\tA greeting.\n"
	for _, tt := range []struct{ name, text string }{
		{"unknown line", "note\tx\n"},
		{"share", "intent\tgreet\t*\tmany\tA greeting.\n"},
		{"short message", in + "message\t*\tp\tgreet\tgreet\thello\n"},
		{"unknown topic", in + "message\t*\tp\tbye\tgreet\tgreet\thello\n"},
		{"unknown gold", in + "message\t*\tp\tgreet\tbye\tgreet\thello\n"},
		{"unknown label", in + "message\t*\tp\tgreet\tgreet\tbye\thello\n"},
		{"no text", in + "message\t*\tp\tgreet\tgreet\tgreet\t\n"},
		{"kind", in + "message\t*\tpp\tgreet\tgreet\tgreet\thello\n"},
	} {
		if _, err := parse([]byte(tt.text)); err == nil {
			t.Errorf("%s: accepted %q", tt.name, tt.text)
		}
	}
	if _, err := parse([]byte(in + "message\t*\tp\tgreet\tgreet\tgreet\thello\n")); err != nil {
		t.Errorf("a good file is refused: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("intent\tgreet\t*\t1.0\tA greeting.\nmessage\t*\tp\tgreet\tgreet\tgreet\thello\n")
	f.Add("message\t\t\t\t\t\t\n")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parse([]byte(s))
		if err != nil {
			return
		}
		for _, m := range d.messages {
			if _, ok := d.Answer(m.text); !ok {
				t.Errorf("no answer to %q", m.text)
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(); err != nil {
			b.Fatal(err)
		}
	}
}
