package tandem_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"tandem"
)

func labels(names ...string) []tandem.Label {
	var out []tandem.Label
	for _, n := range names {
		out = append(out, tandem.Label{Name: n})
	}
	return out
}

func TestTaskResolve(t *testing.T) {
	t.Parallel()
	closed := &tandem.Task{Labels: labels("refund", "card lost", "Yes", "yes", "n.a.", "`code`", "größe")}
	open := &tandem.Task{}
	for _, c := range []struct {
		name  string
		task  *tandem.Task
		reply string
		want  string // "": outside the answer space
	}{
		{"as written", closed, "refund", "refund"},
		{"space around it", closed, " \n\trefund \r\n", "refund"},
		{"quotes around it", closed, "\"refund\"", "refund"},
		{"back quotes and a full stop", closed, "`refund`.", "refund"},
		{"full stop inside the quotes", closed, "'Refund.'", "refund"},
		{"another letter case", closed, "CARD LOST", "card lost"},
		{"a letter case beyond ASCII", closed, "GRÖSSE", ""},
		{"folds beyond ASCII", closed, "GRÖßE", "größe"},
		{"two labels that differ in case", closed, "Yes", "Yes"},
		{"the other of the two", closed, "yes", "yes"},
		{"neither of the two: the first", closed, "YES", "Yes"},
		{"a label that ends in a full stop", closed, "n.a.", "n.a."},
		{"the same in capitals", closed, " N.A. ", "n.a."},
		{"a label in quotes", closed, "`code`", "`code`"},
		{"a sentence around it", closed, "The answer is refund", ""},
		{"inner spaces count", closed, "card  lost", ""},
		{"another label", closed, "cash", ""},
		{"nothing", closed, "", ""},
		{"only wrapping", closed, " \"'`. ", ""},
		{"label 77, as a real model said", closed, "label 77", ""},

		{"open: anything short", open, " \"Billing issue\". ", "Billing issue"},
		{"open: nothing", open, "...", ""},
		{"open: two lines", open, "billing\nissue", ""},
		{"open: a control character", open, "billing\x00", ""},
		{"open: not UTF-8", open, "billing\xff", ""},
		{"open: the longest", open, strings.Repeat("a", tandem.MaxLabelBytes), strings.Repeat("a", tandem.MaxLabelBytes)},
		{"open: longer", open, strings.Repeat("a", tandem.MaxLabelBytes+1), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, ok := c.task.Resolve(c.reply)
			if got != c.want || ok != (c.want != "") {
				t.Errorf("Resolve(%q) = %q, %v; want %q", c.reply, got, ok, c.want)
			}
		})
	}
}

func TestTaskOpen(t *testing.T) {
	t.Parallel()
	if !(&tandem.Task{}).Open() {
		t.Error("a task without labels must be open")
	}
	if (&tandem.Task{Labels: labels("a")}).Open() {
		t.Error("a task with labels must not be open")
	}
}

// FuzzTaskResolve holds what every later step relies on: what resolves is a
// label, a label resolves to itself, and wrapping never changes the answer.
func FuzzTaskResolve(f *testing.F) {
	for _, s := range []string{"refund", "\"Refund.\"", "n.a.", "a..", "'", "\xff", "ſ", "line\nline", strings.Repeat("x", 70)} {
		f.Add(s)
	}
	closed := &tandem.Task{Labels: labels("refund", "n.a.", "'s", "K", "card lost")}
	known := map[string]bool{}
	for _, l := range closed.Labels {
		known[l.Name] = true
	}
	f.Fuzz(func(t *testing.T, reply string) {
		for _, task := range []*tandem.Task{closed, {}} {
			label, ok := task.Resolve(reply)
			if !ok {
				if label != "" {
					t.Fatalf("Resolve(%q) gives %q and says it is none", reply, label)
				}
				continue
			}
			if again, ok := task.Resolve(label); !ok || again != label {
				t.Fatalf("Resolve(%q) = %q, but Resolve(%q) = %q, %v", reply, label, label, again, ok)
			}
			if wrapped, ok := task.Resolve(" " + label + "\n"); !ok || wrapped != label {
				t.Fatalf("space around %q gives %q, %v", label, wrapped, ok)
			}
			if task == closed {
				if !known[label] {
					t.Fatalf("Resolve(%q) = %q, which is no label", reply, label)
				}
				continue
			}
			if !utf8.ValidString(label) || len(label) > tandem.MaxLabelBytes || strings.ContainsAny(label, "\n\r\t\x00") {
				t.Fatalf("Resolve(%q) discovers %q", reply, label)
			}
		}
	})
}
