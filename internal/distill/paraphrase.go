package distill

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tandem"
	"tandem/internal/provider"
	"tandem/internal/student"
)

// Asker is a large model that can be asked.
type Asker interface {
	Ask(ctx context.Context, q provider.Question) (provider.Reply, error)
}

// Paraphrase says whether, and how much, the teacher is asked to put the few
// examples of rare labels in other words. It costs calls, so it is off unless
// Teacher is set. Such rows are learnt from with little weight, beside the row
// they come from and in its fold; they certify nothing.
type Paraphrase struct {
	// Teacher is the model of a task, nil when it has none.
	Teacher func(task string) Asker
	// Rare is the number of training rows under which a label is rare,
	// default 6.
	Rare int
	// Calls bounds what one training may ask, default 50.
	Calls int
}

const (
	// paraphraseWeight is what a paraphrase counts against 1 for a real row.
	paraphraseWeight = 0.3
	// paraphraseTime bounds one call.
	paraphraseTime = 30 * time.Second
	// maxParaphrases bounds what is remembered, so that a refit does not pay
	// again; beyond it everything is forgotten.
	maxParaphrases = 1 << 14
	// paraphraseBytes bounds a paraphrase, as a multiple of the text's bytes.
	paraphraseBytes = 4
)

// paraphrased is the memory's key.
type paraphrased struct {
	task  string
	input [32]byte
}

// paraphrases adds rows for rare labels to a data set that was made from d. A
// teacher that fails is not asked again in this training, which goes on
// without.
func (l *Learner) paraphrases(ctx context.Context, task *tandem.Task, d *dataset, into *student.Dataset) {
	p := l.opt.Paraphrase
	if p.Teacher == nil {
		return
	}
	teacher := p.Teacher(task.Name)
	if teacher == nil {
		return
	}
	count := map[string]int{}
	for i := range d.train {
		count[d.train[i].label]++
	}
	left, failed := p.Calls, false
	for i := range d.train {
		r := &d.train[i]
		if count[r.label] >= p.Rare || r.input.Text() == "" || len(r.input.Parts) != 1 {
			continue
		}
		key := paraphrased{task.Name, r.input.Hash()}
		text, known := l.rewritten[key]
		if !known {
			if left <= 0 || failed || ctx.Err() != nil {
				continue
			}
			left--
			var err error
			if text, err = rewrite(ctx, teacher, r.input.Text()); err != nil {
				failed = true
				l.opt.Log.Warn("no paraphrases in this training", "task", task.Name, "error", err)
				continue
			}
			if len(l.rewritten) >= maxParaphrases {
				clear(l.rewritten)
			}
			l.rewritten[key] = text
		}
		if text == "" {
			continue
		}
		source := &into.Rows[i]
		if source.Group == "" {
			source.Group = "paraphrased " + r.id
		}
		into.Rows = append(into.Rows, student.Example{
			Input: tandem.TextInput(text), Label: source.Label, Weight: paraphraseWeight * source.Weight, Group: source.Group,
		})
	}
}

// rewriting is what the teacher is told.
const rewriting = "Put the user's message in other words. Keep exactly what it asks for or says, and the language it is in; " +
	"change the words and the order. Answer with the new message and nothing else."

// rewrite asks for a text in other words; "" when the answer is of no use.
func rewrite(ctx context.Context, teacher Asker, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, paraphraseTime)
	defer cancel()
	reply, err := teacher.Ask(ctx, provider.Question{
		Task:  &tandem.Task{Name: "paraphrase", Instructions: rewriting},
		Input: tandem.TextInput(text),
	})
	if err != nil {
		return "", fmt.Errorf("ask for a paraphrase: %w", err)
	}
	out := strings.TrimSpace(reply.Text)
	if strings.EqualFold(out, text) || len(out) > paraphraseBytes*len(text)+64 {
		return "", nil
	}
	return out, nil
}
