package distill

import (
	"context"
	"errors"
	"testing"

	"tandem"
	"tandem/internal/student"
)

// words is a family of one kind of member, which knows a label by its name.
type words struct{ labels []string }

func (words) Name() string           { return "words" }
func (words) Fits(tandem.Task) error { return nil }
func (w words) Classes() int         { return len(w.labels) }
func (words) Load([]byte) (student.Member, error) {
	return nil, errors.New("not in this test")
}
func (words) MarshalBinary() ([]byte, error) { return []byte("words"), nil }
func (words) Train(context.Context, student.Dataset, student.Options) (student.Member, error) {
	return nil, errors.New("not in this test")
}

func (words) Start(_ context.Context, task tandem.Task) (student.Member, error) {
	var w words
	for _, l := range task.Labels {
		w.labels = append(w.labels, l.Name)
	}
	return w, nil
}

func (w words) Predict(in *tandem.Input, out *student.Output) {
	out.Probs = make([]float32, len(w.labels))
	for i, l := range w.labels {
		out.Probs[i] = 0.1 / float32(len(w.labels)-1)
		if l == in.Text() {
			out.Probs[i] = 0.9
		}
	}
}

// shelf is a registry that keeps what it is given.
type shelf struct {
	versions []tandem.Version
	certs    []tandem.Certificate
}

func (s *shelf) Put(_ context.Context, v tandem.Version, _ []byte, c tandem.Certificate) (tandem.Version, tandem.Certificate, error) {
	v.Name = "v1"
	s.versions, s.certs = append(s.versions, v), append(s.certs, c)
	return v, c, nil
}

func (s *shelf) Promote(context.Context, string, string, string) (tandem.Event, error) {
	return tandem.Event{}, errors.New("nothing may be promoted here")
}

func TestStartRunsInShadow(t *testing.T) {
	task := &tandem.Task{Name: "t", Labels: []tandem.Label{{Name: "yes"}, {Name: "no"}}, Guarantee: tandem.Guarantee{Alpha: 0.1, Delta: 0.1}}
	var installed []Installed
	reg, live := &shelf{}, Serving{}
	l := New(Options{
		Registry: reg, Families: map[string]student.Family{"words": words{}},
		Task:    func(name string) (*tandem.Task, bool) { return task, name == "t" },
		Live:    func(string) Serving { return live },
		Install: func(_ context.Context, in Installed) error { installed = append(installed, in); return nil },
	})
	rep, err := l.Start(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	if rep.Version != "v1" || rep.Promoted || len(installed) != 1 || installed[0].Certificate.Status != tandem.Refused || reg.certs[0].Look != 0 {
		t.Fatalf("report %+v, installed %+v, certificates %+v", rep, installed, reg.certs)
	}
	in := tandem.TextInput("no")
	if p := installed[0].Student.Predict(&in); p.Label != 1 || p.Score < 0.85 {
		t.Errorf("prediction %+v", p)
	}
	live.Student = installed[0].Student
	if rep, err := l.Start(t.Context(), "t"); err != nil || rep.Version != "" || len(installed) != 1 {
		t.Errorf("a second start: %+v, %v", rep, err)
	}
	live, task.Labels = Serving{}, nil
	if rep, err := l.Start(t.Context(), "t"); err != nil || rep.Version != "" || rep.Why == "" {
		t.Errorf("labels still to be discovered: %+v, %v", rep, err)
	}
	if _, err := l.Start(t.Context(), "other"); tandem.CodeOf(err) != tandem.NotFound {
		t.Errorf("an unknown task: %v", err)
	}
}
