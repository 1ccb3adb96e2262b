package distill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/provider"
	"tandem/internal/provider/replay"
)

// rareRows has three rows of label "rare" and many of "common".
func rareRows() *dataset {
	d := &dataset{labels: []string{"common", "rare"}}
	for i := range 40 {
		r := row{id: fmt.Sprint(i), label: "common", input: tandem.TextInput(fmt.Sprint("common ", i)), propensity: 1}
		if i%15 == 0 {
			r.label, r.input = "rare", tandem.TextInput(fmt.Sprint("rare ", i))
		}
		d.train = append(d.train, r)
	}
	return d
}

// rewriter answers from a recording and counts.
type rewriter struct {
	provider.Model
	calls int
	err   error
}

func (r *rewriter) Ask(ctx context.Context, q provider.Question) (provider.Reply, error) {
	r.calls++
	if r.err != nil {
		return provider.Reply{}, r.err
	}
	return r.Model.Ask(ctx, q)
}

func recorded(answer func(text string) string) *rewriter {
	e := replay.New(replay.Func(func(in tandem.Input) (string, bool) { return answer(in.Text()), true }), replay.Options{})
	return &rewriter{Model: e.Model("teacher")}
}

func TestParaphrasesOfRareLabels(t *testing.T) {
	teacher := recorded(func(text string) string { return " in other words: " + text + "\n" })
	l := New(Options{Paraphrase: Paraphrase{Teacher: func(string) Asker { return teacher }}})
	task, d := &tandem.Task{Name: "t"}, rareRows()
	for range 2 { // the second training asks for nothing
		data := d.examples(d.taken)
		l.paraphrases(t.Context(), task, d, &data)
		if teacher.calls != 3 {
			t.Fatalf("%d calls, want one for each of 3 rare rows", teacher.calls)
		}
		extra := data.Rows[len(d.train):]
		if len(extra) != 3 {
			t.Fatalf("%d paraphrases, want 3", len(extra))
		}
		for k, e := range extra {
			source := data.Rows[15*k]
			if e.Input.Text() != "in other words: "+source.Input.Text() || e.Label != 1 || e.Weight >= source.Weight {
				t.Errorf("paraphrase %+v of %+v", e, source)
			}
			if e.Group == "" || e.Group != source.Group {
				t.Errorf("groups %q and %q: a paraphrase could straddle folds", e.Group, source.Group)
			}
		}
	}
}

func TestParaphrasesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name         string
		answer       func(string) string
		err          error
		calls        int
		asked, extra int
	}{
		{"two calls allowed", strings.ToUpper, nil, 2, 2, 0}, // the same words are no paraphrase
		{"an essay", func(s string) string { return strings.Repeat(s+" ", 40) }, nil, 50, 3, 0},
		{"nothing", func(string) string { return " " }, nil, 50, 3, 0},
		{"a teacher that fails", nil, errors.New("down"), 50, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			teacher := recorded(c.answer)
			teacher.err = c.err
			l := New(Options{Paraphrase: Paraphrase{Teacher: func(string) Asker { return teacher }, Calls: c.calls}})
			d := rareRows()
			data := d.examples(d.taken)
			l.paraphrases(t.Context(), &tandem.Task{Name: "t"}, d, &data)
			if teacher.calls != c.asked || len(data.Rows)-len(d.train) != c.extra {
				t.Errorf("%d calls and %d paraphrases, want %d and %d", teacher.calls, len(data.Rows)-len(d.train), c.asked, c.extra)
			}
		})
	}
}

func TestNoParaphrasesUnlessAskedFor(t *testing.T) {
	d := rareRows()
	data := d.examples(d.taken)
	for _, p := range []Paraphrase{{}, {Teacher: func(string) Asker { return nil }}} {
		New(Options{Paraphrase: p}).paraphrases(t.Context(), &tandem.Task{Name: "t"}, d, &data)
	}
	if len(data.Rows) != len(d.train) {
		t.Errorf("%d rows of %d", len(data.Rows), len(d.train))
	}
}
