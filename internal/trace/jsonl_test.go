package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"tandem"
)

func desk() *tandem.Task {
	return &tandem.Task{Name: "desk", Labels: []tandem.Label{{Name: "refund"}, {Name: "card lost"}}}
}

func read(t *testing.T, task *tandem.Task, opt ReadOptions, text string) ([]tandem.Trace, *Report) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), task, opt)
	if err != nil {
		t.Fatal(err)
	}
	var out []tandem.Trace
	for tr, err := range r.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tr)
	}
	return out, r.Report()
}

// TestShapes reads one line of every shape: each says "where is my money?"
// and the teacher "refund".
func TestShapes(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		line   string
		fields Fields
		want   func(*tandem.Trace)
	}{
		"row":            {line: `{"input":"where is my money?","teacher":"refund"}`},
		"row in capital": {line: `{"input":"where is my money?","teacher":" \"Refund.\" "}`},
		"row with all": {
			line: `{"input":"where is my money?","teacher":"refund","teacher_model":"large","gold":"card lost","session":"u1","time":"2026-03-01T12:00:00Z","id":"x"}`,
			want: func(x *tandem.Trace) {
				x.TeacherModel, x.Model, x.Gold, x.Time, x.Session = "large", "large", "card lost", at, "bb"
			},
		},
		"row of parts":      {line: `{"input":{"parts":[{"kind":"text","text":"where is my money?"}]},"teacher":"refund"}`},
		"row with content":  {line: `{"input":[{"type":"text","text":"where is my money?"}],"teacher":"refund"}`},
		"row, wrapped":      {line: `{"input":"where is my money?","teacher":"{\"label\":\"refund\"}"}`},
		"row, unix seconds": {line: `{"input":"where is my money?","teacher":"refund","time":1772366400}`, want: func(x *tandem.Trace) { x.Time = at }},
		"row, unix millis":  {line: `{"input":"where is my money?","teacher":"refund","time":"1772366400000"}`, want: func(x *tandem.Trace) { x.Time = at }},
		"row, nulls":        {line: `{"input":"where is my money?","teacher":"refund","gold":null,"time":null,"session":null}`},
		"fine-tuning": {line: `{"messages":[{"role":"system","content":"classify"},{"role":"user","content":"hello"},{"role":"assistant","content":"refund"},` +
			`{"role":"user","content":"where is my money?"},{"role":"assistant","content":"refund"}]}`},
		"prompt and completion": {line: `{"prompt":"where is my money?","completion":" refund"}`},
		"request and response": {
			line: `{"request":{"model":"m","messages":[{"role":"user","content":"where is my money?"}]},` +
				`"response":{"model":"large-1","created":1772366400,"choices":[{"message":{"role":"assistant","content":"refund"},"finish_reason":"stop"}]}}`,
			want: func(x *tandem.Trace) { x.TeacherModel, x.Model, x.Time = "large-1", "large-1", at },
		},
		"bodies": {
			line: `{"request":{"method":"POST","body":{"messages":[{"role":"user","content":[{"type":"text","text":"where is my money?"}]}]}},` +
				`"response":{"status_code":200,"body":{"choices":[{"message":{"content":"refund"}}]}}}`,
		},
		"bodies in strings": {
			line: `{"request":"{\"messages\":[{\"role\":\"user\",\"content\":\"where is my money?\"}]}","response":"{\"choices\":[{\"message\":{\"content\":\"refund\"}}]}"}`,
		},
		"bare answer": {line: `{"request":{"messages":[{"role":"user","content":"where is my money?"}]},"response":"refund"}`},
		"one object":  {line: `{"messages":[{"role":"user","content":"where is my money?"}],"choices":[{"message":{"content":"refund"}}]}`},
		"named": {
			line: `{"q":"where is my money?","a":"refund","other":{"deep":[1]}}`, fields: Fields{Text: "q", Teacher: "a"},
		},
		"named, nested": {
			line:   `{"log":{"in":[{"t":"x"},{"t":"where is my money?"}],"out":{"label":"refund"},"who":7,"at":"2026-03-01 12:00:00"}}`,
			fields: Fields{Text: "log.in.-1.t", Teacher: "log.out.label", Session: "log.who", Time: "log.at"},
			want:   func(x *tandem.Trace) { x.Session, x.Time = "79", at },
		},
		"named, dots in keys": {line: `{"a.b":{"c.d":"where is my money?"},"e.f":"refund"}`, fields: Fields{Text: "a.b.c.d", Teacher: "e.f"}},
		"named, in a string":  {line: `{"t":"where is my money?","raw":"{\"label\":\"refund\"}"}`, fields: Fields{Text: "t", Teacher: "raw.label"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, rep := read(t, desk(), ReadOptions{Fields: c.fields}, c.line+"\n")
			if len(got) != 1 || rep.Faults != 0 || rep.Lines != 1 || rep.Rows != 1 {
				t.Fatalf("read %d rows, report %+v", len(got), rep)
			}
			want := tandem.Trace{
				Task: "desk", Time: time.Unix(0, 0).UTC(), Input: tandem.TextInput("where is my money?"), Source: tandem.Imported,
				Answer: "refund", Step: tandem.ProviderStep, Score: 1, Certified: true, Reason: tandem.LastStep,
				Propensity: 1, Labelled: true, Teacher: "refund",
			}
			if c.want != nil {
				c.want(&want)
			}
			x := got[0]
			if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(x.ID) {
				t.Errorf("id %q has not the shape of a UUID", x.ID)
			}
			if want.Session != "" { // hashed; the first digits are in the table
				if len(x.Session) != 32 || !strings.HasPrefix(x.Session, want.Session) {
					t.Errorf("session %q", x.Session)
				}
				want.Session = x.Session
			}
			want.ID = x.ID
			if !reflect.DeepEqual(x, want) {
				t.Errorf("got  %+v\nwant %+v", x, want)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	long := `{"input":"` + strings.Repeat("x", MaxLine) + `","teacher":"refund"}`
	for _, c := range []struct{ line, want string }{
		{`{"input":"a","teacher":"refund"`, "cut short"},
		{`{"input":"a" "teacher":"refund"}`, "malformed JSON at byte"},
		{`[{"input":"a","teacher":"refund"}]`, "JSON list"},
		{`"input"`, "not a JSON object"},
		{"{\"input\":\"\xff\",\"teacher\":\"refund\"}", "not valid UTF-8"},
		{`{"input":"a"}`, `"teacher" is missing`},
		{`{"teacher":"refund"}`, `"input" is missing`},
		{`{"input":"a","teacher":null}`, "is not one of the 2 labels"},
		{`{"input":"a","teacher":"pony"}`, `"pony" is not one of the 2 labels of task desk`},
		{`{"input":"a","teacher":"refund","gold":"pony"}`, `gold: the teacher's answer "pony"`},
		{`{"input":"","teacher":"refund"}`, "the text is empty"},
		{`{"input":"  \u2003 ","teacher":"refund"}`, "the text is empty"},
		{`{"input":null,"teacher":"refund"}`, "null"},
		{`{"input":["a"],"teacher":"refund"}`, "wrong type"},
		{`{"input":{"parts":[]},"teacher":"refund"}`, "the input is empty"},
		{`{"input":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}],"teacher":"refund"}`, "does not take image parts"},
		{`{"input":[{"type":"image_url","image_url":{"url":"data:image/png;base64,A"}}],"teacher":"refund"}`, "data URL"},
		{`{"input":[{"type":"smell"}],"teacher":"refund"}`, `unknown type "smell"`},
		{`{"input":"a","teacher":["refund"]}`, `"teacher" is not a text`},
		{`{"input":"a","teacher":"refund","time":"yesterday"}`, `"time" is not a time`},
		{`{"input":"a","teacher":"refund","time":-5}`, `"time" is not a time`},
		{`{"input":"a","step":"teacher","propensity":1}`, `must be "student" or "provider"`},
		{`{"input":"a","step":"student","propensity":1.5}`, `"propensity" is 1.5`},
		{`{"input":"a","step":"student","score":7}`, `"score" is 7`},
		{`{"input":"a","step":5}`, `"step" has a wrong type`},
		{`{"foo":1}`, "name the fields with --text and --teacher"},
		{`{"messages":[]}`, `no list of "messages"`},
		{`{"messages":[{"role":"user","content":"a"}]}`, "not the assistant's"},
		{`{"messages":[{"role":"assistant","content":"refund"}]}`, `no message of the role "user"`},
		{`{"request":{"messages":[{"role":"user","content":"a"}]},"response":{"error":{"code":500}}}`, `no "choices"`},
		{`{"request":{"messages":[{"role":"user","content":"a"}]},"response":{"choices":[{"message":{"refusal":"no"}}]}}`, "refused"},
		{`{"request":{"messages":[{"role":"user","content":"a"}]},"response":{"choices":[{"message":{"content":"ref"},"finish_reason":"length"}]}}`, "not whole"},
		{long, "longer than 16 MB"},
	} {
		got, rep := read(t, desk(), ReadOptions{}, "\n"+c.line+"\r\n{\"input\":\"b\",\"teacher\":\"refund\"}")
		if len(got) != 1 || rep.Faults != 1 || rep.Lines != 2 || rep.First[0].Line != 2 || !strings.Contains(rep.First[0].Message, c.want) {
			t.Errorf("%.80s: %d rows, report %+v; want a fault in line 2 with %q", c.line, len(got), rep, c.want)
		}
	}
}

func TestFaultsOfNamedFields(t *testing.T) {
	opt := ReadOptions{Fields: Fields{Text: "q.0", Teacher: "a"}}
	for _, c := range []struct{ line, want string }{
		{`{"q":"x","a":"refund"}`, `"q.0" (--text) is missing`},
		{`{"q":["x"]}`, `"a" (--teacher) is missing`},
		{`{"q":[null],"a":"refund"}`, `"q.0" (--text) is missing`},
		{`{"q":["x"],"a":{"b":1}}`, `"a" is not a text`},
	} {
		got, rep := read(t, desk(), opt, c.line)
		if len(got) != 0 || rep.Faults != 1 || !strings.Contains(rep.First[0].Message, c.want) {
			t.Errorf("%s: report %+v, want %q", c.line, rep, c.want)
		}
	}
	if _, err := NewReader(nil, desk(), ReadOptions{Fields: Fields{Text: "q"}}); tandem.CodeOf(err) != tandem.InvalidRequest {
		t.Errorf("one field named, the other not: %v", err)
	}
}

func TestManyFaults(t *testing.T) {
	_, rep := read(t, desk(), ReadOptions{}, strings.Repeat("nonsense\n", 50))
	if rep.Faults != 50 || len(rep.First) != MaxFaults || rep.First[19].Line != 20 {
		t.Errorf("report %+v", rep)
	}
	if msg := rep.Err().Error(); !strings.Contains(msg, "50 of 50 lines") || !strings.Contains(msg, "and 30 more") || tandem.CodeOf(rep.Err()) != tandem.InvalidRequest {
		t.Errorf("error %s", msg)
	}
	_, rep = read(t, desk(), ReadOptions{}, "\ufeff{\"input\":\"a\",\"teacher\":\"refund\"}\n\n  \n")
	if rep.Err() != nil || rep.Lines != 1 {
		t.Errorf("a byte order mark and blank lines: %+v", rep)
	}
}

func TestOpenTask(t *testing.T) {
	open := &tandem.Task{Name: "open"}
	got, rep := read(t, open, ReadOptions{}, `{"input":"a","teacher":"anything at all"}
{"input":"b","teacher":"{\"label\":\"new\"}"}
{"input":"c","teacher":"`+strings.Repeat("x", 100)+`"}
{"input":"d","teacher":""}`)
	if len(got) != 2 || got[0].Teacher != "anything at all" || got[1].Teacher != "new" || rep.Faults != 2 {
		t.Errorf("read %+v, report %+v", got, rep)
	}
}

func TestIDs(t *testing.T) {
	row := func(input, more string) string {
		return fmt.Sprintf("{\"input\":%q,\"teacher\":\"refund\"%s}\n", input, more)
	}
	file := row("a", "") + row("b", "") + row("a", "") + row("c", `,"time":"2026-03-01T12:00:00Z"`) + row("d", `,"id":"7"`)
	first, _ := read(t, desk(), ReadOptions{}, file)
	again, _ := read(t, desk(), ReadOptions{Start: time.Now()}, file)
	other, _ := read(t, &tandem.Task{Name: "other", Labels: desk().Labels}, ReadOptions{}, file)
	seen := map[string]bool{}
	for i := range first {
		if first[i].ID != again[i].ID {
			t.Errorf("row %d has another id the second time", i)
		}
		if first[i].ID == other[i].ID {
			t.Errorf("row %d has the same id in another task", i)
		}
		if seen[first[i].ID] {
			t.Errorf("id of row %d is taken", i)
		}
		seen[first[i].ID] = true
	}
	if first[0].ID >= first[1].ID || first[1].ID >= first[2].ID {
		t.Error("ids do not follow the lines")
	}
	if !first[0].Time.Before(first[1].Time) {
		t.Error("times do not follow the lines")
	}
	moved, _ := read(t, desk(), ReadOptions{}, row("other", "")+row("d", `,"id":"7"`))
	if moved[1].ID != first[4].ID {
		t.Error("a row with an id of its own depends on its line")
	}
}

func full() tandem.Trace {
	return tandem.Trace{
		ID: "0192f7c4-aaaa-7000-8000-000000000001", Task: "desk", Time: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC),
		Session: "5e551", Source: tandem.Live,
		Input: tandem.Input{Parts: []tandem.Part{
			{Kind: tandem.Text, Text: "is <this> a duck? \u2028\u0000"}, {Kind: tandem.Image, MIME: "image/png", Data: []byte{0, 255}},
		}},
		Answer: "refund", Step: tandem.StudentStep, Model: "v3", Score: 0.875, Certified: true, Reason: tandem.Accepted,
		CostUSD: 0.125, SavedUSD: 0.0625, Took: 1234567, Student: "refund", StudentModel: "v3", Propensity: 0.03, Audit: true,
		Labelled: true, Teacher: "a pony,\nI think", TeacherModel: "large-1", OutsideSpace: true, TeacherAgain: "refund",
		Gold: "card lost", Feedback: "hm",
	}
}

func TestRoundTrip(t *testing.T) {
	task := desk()
	task.Takes = []tandem.Kind{tandem.Text, tandem.Image}
	plain := full()
	plain.ID, plain.Input, plain.OutsideSpace, plain.Teacher = "0192f7c4-aaaa-7000-8000-000000000002", tandem.TextInput("hello"), false, "refund"
	unlabelled := tandem.Trace{
		ID: "3", Task: "desk", Time: plain.Time, Source: tandem.Imported, Input: tandem.TextInput("x"),
		Step: tandem.StudentStep, Model: "v1", Answer: "refund", Reason: tandem.Accepted,
	}
	private := unlabelled
	private.ID, private.Input = "4", tandem.Input{}
	want := []tandem.Trace{full(), plain, unlabelled, private}
	var buf bytes.Buffer
	n, err := Export(&buf, values(want, nil))
	if err != nil || n != 4 || strings.Count(buf.String(), "\n") != 4 {
		t.Fatalf("exported %d, %v:\n%s", n, err, &buf)
	}
	if !strings.Contains(buf.String(), `"input":"hello"`) {
		t.Errorf("a plain text is not written plainly:\n%s", &buf)
	}
	got, rep := read(t, task, ReadOptions{}, buf.String())
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v\nreport %+v", got, want, rep)
	}
	// Into another task: the rows are copies and need ids of their own.
	task.Name = "copy"
	got, _ = read(t, task, ReadOptions{}, buf.String())
	if len(got) != 4 || got[0].ID == want[0].ID || got[0].Task != "copy" || got[0].Propensity != want[0].Propensity {
		t.Errorf("copied %+v", got[0])
	}
}

func values(traces []tandem.Trace, last error) iter.Seq2[tandem.Trace, error] {
	return func(yield func(tandem.Trace, error) bool) {
		for _, tr := range traces {
			if !yield(tr, nil) {
				return
			}
		}
		if last != nil {
			yield(tandem.Trace{}, last)
		}
	}
}

// brokenDisk fails every write.
type brokenDisk struct{}

func (brokenDisk) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestStreamsFail(t *testing.T) {
	broken := errors.New("broken")
	if n, err := Export(io.Discard, values([]tandem.Trace{full()}, broken)); n != 1 || !errors.Is(err, broken) {
		t.Errorf("a failing source: %d, %v", n, err)
	}
	if _, err := Export(brokenDisk{}, values([]tandem.Trace{full()}, nil)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a failing target: %v", err)
	}
	r, err := NewReader(io.MultiReader(strings.NewReader("{\"input\":\"a\",\"teacher\":\"refund\"}\n{"), iotest.ErrReader(broken)), desk(), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Errorf("the sound line: %v", err)
	}
	if _, err := r.Next(); !errors.Is(err, broken) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("the broken one: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range r.All(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context: %v", err)
		}
	}
}

// FuzzReader: whatever the file, the reader ends, counts every line, and what
// it accepts is fit to store and survives an export.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		`{"input":"a","teacher":"refund","time":"2026-03-01T12:00:00Z","id":"x","session":5}`,
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"refund"}]}`,
		`{"request":{"body":{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}},"response":"{\"choices\":[{\"message\":{\"content\":\"refund\"}}]}"}`,
		`{"q":{"t":["a"]},"input":"b","teacher":"refund","step":"student","propensity":0.5}`,
		"{\"input\":\"\xff\"}\n[]\n{}\n{\"input\":{\"parts\":null},\"step\":\"provider\"}", "\ufeff\r\n\n", `{"prompt":"a","completion":"refund"}`,
	} {
		f.Add(s, "", "")
		f.Add(s, "q.t.0", "teacher")
	}
	f.Fuzz(func(t *testing.T, text, in, out string) {
		if (in == "") != (out == "") {
			return
		}
		task := desk()
		task.Takes = []tandem.Kind{tandem.Text, tandem.Image, tandem.Audio}
		got, rep := read(t, task, ReadOptions{Fields: Fields{Text: in, Teacher: out}}, text)
		if rep.Rows != len(got) || rep.Lines != rep.Rows+rep.Faults || rep.Lines > strings.Count(text, "\n")+1 {
			t.Fatalf("%d rows, report %+v", len(got), rep)
		}
		for _, x := range got {
			if x.ID == "" || x.Task != "desk" || x.Step == "" || !(x.Propensity >= 0 && x.Propensity <= 1) {
				t.Fatalf("unfit: %+v", x)
			}
			if x.Labelled && !x.OutsideSpace && x.Teacher != "refund" && x.Teacher != "card lost" {
				t.Fatalf("a label outside the space: %q", x.Teacher)
			}
		}
		var buf bytes.Buffer
		if _, err := Export(&buf, values(got, nil)); err != nil {
			if _, ok := errors.AsType[*json.MarshalerError](err); ok {
				return // a year beyond 9999
			}
			t.Fatal(err)
		}
		back, rep := read(t, task, ReadOptions{}, buf.String())
		if len(back) != len(got) || len(got) > 0 && !reflect.DeepEqual(back, got) {
			t.Fatalf("exported and read again\n got %+v\nwant %+v\n%+v", back, got, rep)
		}
	})
}
