package provider

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"tandem"
)

func TestRecords(t *testing.T) {
	for name, tc := range map[string]struct {
		sse  bool
		body string
		want []string
	}{
		"events":            {true, "event: a\ndata: 1\n\nid: 7\ndata: 2\n\n", []string{"1", "2"}},
		"carriage returns":  {true, "data: 1\r\n\r\ndata:2\r\n\r\n", []string{"1", "2"}},
		"lines of data":     {true, "data: 1\ndata: 2\n\n", []string{"1\n2"}},
		"comments":          {true, ": ping\n\n: ping\ndata: 1\n\n", []string{"1"}},
		"empty data":        {true, "data:\n\ndata: 1\n\n", []string{"1"}},
		"one space":         {true, "data:  1\n\n", []string{" 1"}},
		"cut in an event":   {true, "data: 1\n\ndata: 2\n", []string{"1"}},
		"cut in a line":     {true, "data: 1\n\ndata: 2", []string{"1"}},
		"lines":             {false, "{1}\n\n{2}\r\n{3}", []string{"{1}", "{2}", "{3}"}},
		"nothing":           {true, "", nil},
		"longer than chunk": {true, "data: " + strings.Repeat("x", 100<<10) + "\n\n", []string{strings.Repeat("x", 100<<10)}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tc.body), iotest.OneByteReader(strings.NewReader(tc.body))} {
				records := NewRecords(r, tc.sse)
				var got []string
				for {
					data, err := records.Next()
					if err != nil {
						if !errors.Is(err, io.ErrUnexpectedEOF) {
							t.Error(err)
						}
						break
					}
					got = append(got, string(data))
				}
				if !reflect.DeepEqual(got, tc.want) {
					t.Errorf("got %.200q, want %.200q", got, tc.want)
				}
			}
		})
	}
	long := NewRecords(io.MultiReader(strings.NewReader("data: "), &endless{}), true)
	if _, err := long.Next(); !errors.Is(err, errLongRecord) {
		t.Errorf("an endless event gives %v", err)
	}
	lines := NewRecords(&endless{line: "data: x\n"}, true)
	if _, err := lines.Next(); !errors.Is(err, errLongRecord) {
		t.Errorf("an event of endless lines gives %v", err)
	}
}

// endless repeats a line, or a letter.
type endless struct{ line string }

func (e *endless) Read(p []byte) (int, error) {
	line := e.line
	if line == "" {
		line = "x"
	}
	n := 0
	for n+len(line) <= len(p) {
		n += copy(p[n:], line)
	}
	return n, nil
}

// FuzzRecords finds the same records however the body is cut into pieces.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("event: a\ndata: 1\r\n\ndata: 2\ndata:3\n\n: x\n\n"), true)
	f.Add([]byte("{}\n{}"), false)
	f.Fuzz(func(t *testing.T, body []byte, sse bool) {
		read := func(r io.Reader) (out []string) {
			records := NewRecords(r, sse)
			for {
				data, err := records.Next()
				if err != nil {
					return out
				}
				if len(data) == 0 {
					t.Error("an empty record")
				}
				out = append(out, string(data))
			}
		}
		if a, b := read(bytes.NewReader(body)), read(iotest.OneByteReader(bytes.NewReader(body))); !reflect.DeepEqual(a, b) {
			t.Errorf("%q and %q", a, b)
		}
	})
}

// TestPlay puts together again what it took apart.
func TestPlay(t *testing.T) {
	want := &Completion{ID: "i", Model: "m", Stop: StopSequence, Hit: "x", Usage: tandem.Usage{InputTokens: 3, OutputTokens: 1}, Blocks: []Block{
		{Kind: ThinkingBlock, Text: "hm", Signature: "s"},
		{Kind: SealedBlock, Text: "d"},
		{Kind: TextBlock, Text: "a"},
		{Kind: TextBlock, Text: "b"},
		{Kind: ToolUse, ID: "t", Name: "f", Input: []byte(`{"a":1}`), Signature: "s"},
	}}
	s := Play(want)
	got, err := Collect(s)
	if err != nil || !reflect.DeepEqual(got, want) || got.Text() != "ab" {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func form(t testing.TB, fields ...string) (string, []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("xXx"); err != nil {
		t.Fatal(err)
	}
	file, err := w.CreateFormFile("file", "model")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write([]byte("\r\n--xX no boundary\x00\r\n"))
	for i := 0; i+1 < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	_ = w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func TestForm(t *testing.T) {
	kind, body := form(t, "a", "1", "model", "old", "b", "")
	got, err := RenameModel(kind, body, "new one")
	if err != nil || string(got) != strings.Replace(string(body), "\r\nold\r\n", "\r\nnew one\r\n", 1) {
		t.Errorf("got %s, %v", got, err)
	}
	boundary, ok := FormBoundary(kind)
	if !ok {
		t.Fatal(kind)
	}
	for name, want := range map[string]string{"a": "1", "model": "old", "b": ""} {
		if value, ok, err := FormField(boundary, body, name); !ok || err != nil || value != want {
			t.Errorf("%s is %q, %v, %v", name, value, ok, err)
		}
	}
	if _, ok, err := FormField(boundary, body, "file"); ok || err != nil {
		t.Errorf("a file is a field: %v", err)
	}
	if _, _, err := FormField(boundary, append([]byte("preamble\r\n"), body...), "a"); err != nil {
		t.Errorf("a preamble gives %v", err)
	}
	for _, bad := range []string{"", "x", "--xXx", "--xXx\r\n", "--xXx\r\nA: b\r\n\r\nvalue", "--xXx junk\r\n\r\n"} {
		if _, _, err := FormField(boundary, []byte(bad), "a"); err == nil {
			t.Errorf("%q is a form", bad)
		}
	}
	if kind, body := form(t, "a", "1"); true {
		if _, err := RenameModel(kind, body, "x"); err == nil {
			t.Error("a form without a model was renamed")
		}
	}
	for _, kind := range []string{"", "application/json", "multipart/form-data", "multipart/mixed; boundary=x"} {
		if _, ok := FormBoundary(kind); ok {
			t.Errorf("%q is a form", kind)
		}
	}
}

// FuzzForm holds the fields to what mime/multipart reads.
func FuzzForm(f *testing.F) {
	_, body := form(f, "a", "1", "model", "old")
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		value, ok, err := FormField("xXx", body, "model")
		if err != nil || !ok {
			return
		}
		renamed, err := RenameModel("multipart/form-data; boundary=xXx", body, "new")
		if err != nil {
			t.Fatalf("a form with the model %q was not renamed: %v", value, err)
		}
		if again, ok, err := FormField("xXx", renamed, "model"); err != nil || !ok || again != "new" {
			t.Errorf("renamed to %q, %v", again, err)
		}
	})
}
