package student

import (
	"context"
	"errors"
	"fmt"

	"tandem"
)

// ErrNoStart says that no family can make a student of a task from its labels
// alone.
var ErrNoStart = errors.New("no family can begin without labelled requests")

// Start makes a student from what a task says about its labels, with the first
// of the families that can. Nothing has judged it: its score is the plain
// probability of its label, and promises nothing. It is for running in shadow
// until there are rows to learn from. ErrNoStart says that there is none.
func Start(ctx context.Context, families []Family, task tandem.Task) (*Student, error) {
	if len(task.Labels) < 2 {
		return nil, ErrNoStart
	}
	for _, f := range families {
		starter, ok := f.(Starter)
		if !ok || f.Fits(task) != nil {
			continue
		}
		m, err := starter.Start(ctx, task)
		if err != nil {
			return nil, fmt.Errorf("start student: family %s: %w", f.Name(), err)
		}
		s := &Student{families: []string{f.Name()}, members: []Member{m}}
		for _, l := range task.Labels {
			s.labels = append(s.labels, l.Name)
		}
		if m.Classes() != len(s.labels) {
			return nil, fmt.Errorf("start student: family %s knows %d labels, want %d", f.Name(), m.Classes(), len(s.labels))
		}
		s.stages = []stage{{use: []int{0}, pool: pool{weights: []float64{1}}, scorer: unjudged(len(s.labels))}}
		s.prepare()
		return s, nil
	}
	return nil, ErrNoStart
}

// unjudged is the score of a single member that nothing is known about: of
// all facts it uses the log-odds of the label, as they are.
func unjudged(labels int) scorer {
	const d = factsShared + factsMember
	s := scorer{
		reliable: make([]float64, labels), prior: make([]float64, labels),
		mean: make([]float64, d), scale: make([]float64, d), knots: make([][3]float64, d), coef: make([]float64, 1+4*d),
	}
	s.scale[0], s.coef[1] = 1, 1
	return s
}
