package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSources(t *testing.T) {
	csv := write(t, "a.csv", "\ufefflabel,text,gpt\n1,\"Where, is\nmy card?\",11\n2,hello,\n3,  ,7\n4,bye,oos\n")
	lines := write(t, "b.jsonl", `{"text":"again","gpt":12,"label":"x","more":[1]}`+"\n\n"+`{"text":"né","gpt":null,"label":"y"}`+"\n")
	got, err := Source{Paths: []string{csv, lines}, Text: "text", Teacher: "gpt", Gold: "label", Exclude: []string{"oos"}}.Read()
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{{Text: "Where, is\nmy card?", Teacher: "11", Gold: "1"}, {Text: "again", Teacher: "12", Gold: "x"}}
	if len(got.Rows) != 2 || got.Rows[0] != want[0] || got.Rows[1] != want[1] {
		t.Errorf("rows = %+v, want %+v", got.Rows, want)
	}
	if got.Read != 6 || got.Unlabeled != 2 || got.Blank != 1 || got.Excluded != 1 {
		t.Errorf("counts = %+v", got)
	}

	splits := write(t, "c.json", `{"val":[["a","x"]],"train":[["b","y"],["c","oos"]],"test":[["d","z"]]}`)
	got, err = Source{Paths: []string{splits}, Text: "text", Teacher: "intent", Gold: "split", Splits: []string{"train", "test"}}.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 3 || got.Rows[0] != (Row{Text: "b", Teacher: "y", Gold: "train"}) || got.Rows[2].Text != "d" {
		t.Errorf("splits = %+v", got.Rows)
	}
}

func TestReadErrorsNameFileAndLine(t *testing.T) {
	for _, c := range []struct{ name, content, text, teacher, want string }{
		{"empty.csv", "", "t", "l", "empty.csv:1: the file is empty"},
		{"col.csv", "a,b\n1,2\n", "a", "l", `col.csv:1: there is no column "l"; the columns are a, b`},
		{"count.csv", "t,l\n1,2\n1,2,3\n", "t", "l", "count.csv:3: wrong number of fields"},
		{"quote.csv", "t,l\nok,2\n\"open,2\n", "t", "l", "quote.csv:3: extraneous or missing"},
		{"utf.csv", "t,l\nok,2\n\xff,2\n", "t", "l", `utf.csv:3: column "t" is not valid UTF-8`},
		{"none.csv", "t,l\nhello,\n", "t", "l", "no usable row among 1 (1 without a teacher label"},
		{"bad.jsonl", "{\"t\":\"a\",\"l\":\"b\"}\n{\"t\":", "t", "l", "bad.jsonl:2: not a JSON object"},
		{"field.jsonl", "{\"t\":\"a\"}\n", "t", "l", `field.jsonl:1: there is no field "l"`},
		{"deep.jsonl", "{\"t\":\"a\",\"l\":[1]}\n", "t", "l", `deep.jsonl:1: field "l": must be a string`},
		{"cut.json", "{\"train\":\n[[\"a\",\"b\"]]", "text", "intent", "cut.json:2: the file is cut off"},
		{"pair.json", `{"train":[["a"]]}`, "text", "intent", `pair.json:1: split "train", row 1: has 1 values`},
		{"list.json", `[1]`, "text", "intent", "list.json:1: must be an object of splits"},
		{"what.txt", "x", "t", "l", "what.txt: unknown kind of file"},
	} {
		path := write(t, c.name, c.content)
		_, err := Source{Paths: []string{path}, Text: c.text, Teacher: c.teacher}.Read()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", c.name, err, c.want)
		}
		if tandem.CodeOf(err) != tandem.InvalidRequest {
			t.Errorf("%s: code %s", c.name, tandem.CodeOf(err))
		}
	}
	if _, err := (Source{Paths: []string{"absent.csv"}}).Read(); err == nil || !strings.Contains(err.Error(), "absent.csv") {
		t.Errorf("absent file: %v", err)
	}
	splits := write(t, "s.json", `{"train":[["a","b"]]}`)
	_, err := Source{Paths: []string{splits}, Text: "text", Teacher: "intent", Splits: []string{"trian"}}.Read()
	if err == nil || !strings.Contains(err.Error(), `no split "trian"`) {
		t.Errorf("unknown split: %v", err)
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("t,l\na,b\n")
	f.Add("\ufefft,l\n\"a\nb\",c\n")
	f.Add("t\n\"")
	fuzzReader(f, func(s string, emit func([]string)) error {
		return readCSV(strings.NewReader(s), "in", []string{"t", "l", ""}, emit)
	})
}

func FuzzReadLines(f *testing.F) {
	f.Add(`{"t":"a","l":1}`)
	f.Add("{\"t\":null,\"l\":true}\n\n{")
	fuzzReader(f, func(s string, emit func([]string)) error {
		return readLines(strings.NewReader(s), "in", []string{"t", "l", ""}, emit)
	})
}

func FuzzReadSplits(f *testing.F) {
	f.Add(`{"train":[["a","b"]]}`)
	f.Add(`{"train":[["a",1]]}`)
	f.Add(`{"a":`)
	fuzzReader(f, func(s string, emit func([]string)) error {
		return readSplits(strings.NewReader(s), "in", []string{"text", "intent", ""}, nil, emit)
	})
}

// fuzzReader checks what holds for every parser: no panic, three values a
// record, the unwanted column empty, and errors that name the file.
func fuzzReader(f *testing.F, read func(string, func([]string)) error) {
	f.Fuzz(func(t *testing.T, s string) {
		err := read(s, func(v []string) {
			if len(v) != 3 || v[2] != "" {
				t.Errorf("emitted %q", v)
			}
		})
		if err != nil && !strings.Contains(err.Error(), "in:") {
			t.Errorf("error does not name the place: %v", err)
		}
	})
}
