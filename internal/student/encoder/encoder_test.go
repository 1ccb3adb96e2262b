package encoder_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/student"
	"tandem/internal/student/encoder"
	"tandem/internal/student/linear"
	"tandem/internal/student/nearest"
	"tandem/internal/student/studenttest"
)

// bag embeds a text as the sum of a fixed random direction for each of its
// words: small, exact, and alike for texts that share words.
type bag struct {
	digest string
	calls  *int // texts embedded by Embed, when not nil
}

const bagDim = 48

func (bag) Name() string     { return "bag of words" }
func (b bag) Digest() string { return b.digest }
func (bag) Dim() int         { return bagDim }

func (b bag) Embed(ctx context.Context, texts []string, dst []float32) error {
	for i, t := range texts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.calls != nil {
			*b.calls++
		}
		b.EmbedOne(t, dst[i*bagDim:(i+1)*bagDim])
	}
	return nil
}

func (bag) EmbedOne(text string, dst []float32) {
	clear(dst)
	dst[0] = 0.1 // what an encoder makes of no words at all
	for from := 0; from < len(text); {
		to := strings.IndexAny(text[from:], " \n")
		if to < 0 {
			to = len(text) - from
		}
		h := uint64(14695981039346656037)
		for _, c := range []byte(text[from : from+to]) {
			h = (h ^ uint64(c)) * 1099511628211
		}
		for k := range dst {
			h ^= h << 13
			h ^= h >> 7
			h ^= h << 17
			dst[k] += float32(int32(h>>32)) / (1 << 31)
		}
		from += to + 1
	}
	var sum float64
	for _, v := range dst {
		sum += float64(v) * float64(v)
	}
	for k := range dst {
		dst[k] *= float32(1 / math.Sqrt(sum))
	}
}

func TestFamilies(t *testing.T) {
	for _, f := range encoder.New(bag{digest: "one"}, nil) {
		t.Run(f.Name(), func(t *testing.T) { studenttest.Run(t, f) })
	}
}

func TestAbsentEncoder(t *testing.T) {
	why := errors.New("the weights are not here")
	for _, f := range encoder.New(nil, why) {
		if err := f.Fits(tandem.Task{}); !errors.Is(err, why) {
			t.Errorf("%s: Fits says %v", f.Name(), err)
		}
		if _, err := f.Train(t.Context(), studenttest.Desk(8), student.Options{}); !errors.Is(err, why) {
			t.Errorf("%s: Train says %v", f.Name(), err)
		}
		if _, err := f.Load(make([]byte, 100)); err == nil {
			t.Errorf("%s loads zeros", f.Name())
		}
	}
	for _, f := range encoder.New(nil, nil) {
		if f.Fits(tandem.Task{}) == nil {
			t.Errorf("%s fits without an encoder", f.Name())
		}
	}
}

func TestMembersRefuseAnotherEncoder(t *testing.T) {
	mine, other, none := encoder.New(bag{digest: "one"}, nil), encoder.New(bag{digest: "two"}, nil), encoder.New(nil, errors.New("no weights"))
	for i, f := range mine {
		m, err := f.Train(t.Context(), studenttest.Desk(40), student.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		blob, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(blob); err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
		if _, err := other[i].Load(blob); err == nil || !strings.Contains(err.Error(), `weights one, and this program has "bag of words" with weights two`) {
			t.Errorf("%s of other weights: %v", f.Name(), err)
		}
		if _, err := none[i].Load(blob); err == nil || !strings.Contains(err.Error(), `trained on the encoder "bag of words"`) {
			t.Errorf("%s without an encoder: %v", f.Name(), err)
		}
	}
}

func TestTextsAreEmbeddedOnce(t *testing.T) {
	calls := 0
	families := encoder.New(bag{"one", &calls}, nil)
	d := studenttest.Desk(120)
	distinct := map[string]bool{}
	for i := range d.Rows {
		distinct[d.Rows[i].Input.Text()] = true
	}
	for range 2 { // the second student finds everything remembered
		if _, _, err := student.Fit(context.Background(), families, d, student.Options{Seed: 1, Threads: 1}); err != nil {
			t.Fatal(err)
		}
		if calls != len(distinct) {
			t.Fatalf("%d texts embedded, there are %d", calls, len(distinct))
		}
	}
}

func TestStudentOfAllFamilies(t *testing.T) {
	families := encoder.New(bag{digest: "one"}, nil)
	table := map[string]student.Family{}
	for _, f := range families {
		table[f.Name()] = f
	}
	d := studenttest.Desk(160)
	s, rep, err := student.Fit(context.Background(), families, d, student.Options{Seed: 1, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Agree < 0.9 {
		t.Errorf("agree %v", rep.Agree)
	}
	blob, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back, err := student.Load(table, blob)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Rows {
		if a, b := s.Predict(&d.Rows[i].Input), back.Predict(&d.Rows[i].Input); a != b {
			t.Fatalf("row %d: %+v before, %+v after", i, a, b)
		}
	}
	in := d.Rows[0].Input
	if n := testing.AllocsPerRun(500, func() { s.Predict(&in) }); n >= 1 && !studenttest.Race {
		t.Errorf("%v allocations", n)
	}
}

func TestStartFromLabels(t *testing.T) {
	families := encoder.New(bag{digest: "one"}, nil)
	task := tandem.Task{Labels: []tandem.Label{
		{Name: "parcel_late"}, {Name: "moneyBack", Description: "please refund my money"}, {Name: "cancel"},
	}}
	s, err := student.Start(t.Context(), families, task)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"my parcel is late": "parcel_late", "refund please": "moneyBack", "i want the money back": "moneyBack", "cancel it": "cancel",
	} {
		in := tandem.TextInput(text)
		p := s.Predict(&in)
		if got := s.Labels()[p.Label]; got != want || !(p.Score > 0.3 && p.Score <= 1) {
			t.Errorf("%q: %s with score %v, want %s", text, got, p.Score, want)
		}
	}
	blob, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back, err := student.Load(map[string]student.Family{encoder.LinearName: families[0]}, blob)
	if err != nil {
		t.Fatal(err)
	}
	in := tandem.TextInput("where is it")
	if a, b := s.Predict(&in), back.Predict(&in); a != b {
		t.Errorf("%+v before, %+v after", a, b)
	}
	for name, task := range map[string]tandem.Task{"no labels": {}, "one label": {Labels: task.Labels[:1]}, "images": {Labels: task.Labels, Takes: []tandem.Kind{tandem.Image}}} {
		if _, err := student.Start(t.Context(), families, task); !errors.Is(err, student.ErrNoStart) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := student.Start(t.Context(), encoder.New(nil, nil), task); !errors.Is(err, student.ErrNoStart) {
		t.Errorf("without an encoder: %v", err)
	}
}

// TestTwoStages asks the encoder only where the cheap families are not sure.
func TestTwoStages(t *testing.T) {
	table := map[string]student.Family{"linear": linear.Family{}, "nearest": nearest.Family{}}
	families := []student.Family{table["linear"], table["nearest"]}
	calls := 0
	e := &counted{bag: bag{digest: "one"}, calls: &calls}
	for _, f := range encoder.New(e, nil)[:1] {
		table[f.Name()] = f
		families = append(families, f)
	}
	const plain, whole = 20, 30 // estimated time of the members alone
	d := studenttest.Desk(200)
	for i := 0; i < len(d.Rows); i += 9 {
		d.Rows[i].Label = (d.Rows[i].Label + 1) % 4 // or the first stage would be sure of everything
	}
	s, rep, err := student.Fit(t.Context(), families, d, student.Options{Seed: 1, Threads: 2, Served: func(r *student.Report) float64 {
		if r.Micros > plain && r.Micros < whole {
			return 0.8 + (r.Micros-plain)/100 // the more often the encoder is asked, the better
		}
		return 0.5
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Tried) != 4 || rep.Tried[0].Name != "linear+nearest, then linear+nearest+encoder" || rep.Tried[0].Served <= 0.8 {
		t.Fatalf("tried %+v", rep.Tried)
	}
	if why := rep.Why(); !strings.Contains(why, "linear+nearest, then linear+nearest+encoder would serve most for its time, about 8") || !strings.Contains(why, "encoder 50.0 %") {
		t.Errorf("why: %s", why)
	}
	blob, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back, err := student.Load(table, blob)
	if err != nil {
		t.Fatal(err)
	}
	asks := func(text string) int {
		calls = 0
		in := tandem.TextInput(text)
		if a, b := s.Predict(&in), back.Predict(&in); a != b {
			t.Fatalf("%q: %+v before, %+v after", text, a, b)
		}
		return calls
	}
	if n := asks("where is my parcel 5"); n != 0 {
		t.Errorf("a plain text is embedded %d times", n)
	}
	if n := asks("zwölf boxkämpfer jagen viktor"); n != 2 {
		t.Errorf("a strange text is embedded %d times by 2 students", n)
	}
}

// TestChoiceBeforeAnythingServes goes by agreement while no candidate is
// expected to serve, not by time alone.
func TestChoiceBeforeAnythingServes(t *testing.T) {
	calls := 0
	families := []student.Family{linear.Family{}, nearest.Family{}}
	families = append(families, encoder.New(&counted{bag: bag{digest: "one"}, calls: &calls}, nil)[:1]...)
	d := studenttest.Desk(200)
	for i := 0; i < len(d.Rows); i += 9 {
		d.Rows[i].Label = (d.Rows[i].Label + 1) % 4
	}
	_, rep, err := student.Fit(t.Context(), families, d, student.Options{Seed: 1, Threads: 2, Served: func(*student.Report) float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	value := func(c student.Candidate) float64 { return c.Agree - c.Micros/500_000 }
	for _, c := range rep.Tried[1:] {
		if value(c) > value(rep.Tried[0]) {
			t.Errorf("%+v was chosen before %+v", rep.Tried[0], c)
		}
	}
	if rep.Agree != rep.Tried[0].Agree || len(rep.Tried) < 3 {
		t.Errorf("agreement %g; tried %+v", rep.Agree, rep.Tried)
	}
}

// counted counts what is embedded one at a time.
type counted struct {
	bag
	calls *int
}

func (c *counted) EmbedOne(text string, dst []float32) {
	*c.calls++
	c.bag.EmbedOne(text, dst)
}
