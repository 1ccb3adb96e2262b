package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"tandem/scenes/support"
)

// The corpus in the program is what the material makes.
func TestCorpusIsUpToDate(t *testing.T) {
	m, err := readMaterial(os.DirFS("../material"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := build(m)
	if err != nil {
		t.Fatal(err)
	}
	have, err := support.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	want := c.encode()
	if !bytes.Equal(have, want) {
		t.Fatalf("the embedded corpus (%d bytes, %x) is not what the material makes (%d bytes, %x); run go run ./scenes/support/gen",
			len(have), sha256.Sum256(have), len(want), sha256.Sum256(want))
	}
}

// Every intent has enough genuinely different patterns.
func TestMaterial(t *testing.T) {
	m, err := readMaterial(os.DirFS("../material"))
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range m.intents {
		seen := map[string]bool{}
		for _, p := range in.patterns {
			if seen[p] {
				t.Errorf("%s: %q is written twice", in.name, p)
			}
			seen[p] = true
		}
		if len(seen) < 30 {
			t.Errorf("%s has %d patterns, want at least 30", in.name, len(seen))
		}
		if len(in.confused) == 0 {
			t.Errorf("%s says nothing it could be confused with", in.name)
		}
	}
}

func TestExpand(t *testing.T) {
	m := &material{slots: map[string][]string{
		"box": {"old"}, "box@after": {"new"}, "thing": {"the {box}"}, "loop": {"{loop}"},
	}}
	for _, tt := range []struct {
		pattern, before, after string
		dated                  bool
	}{
		{"my line", "my line", "my line", false},
		{"my {box}", "my old", "my new", true},
		{"see {thing}  now", "see the old now", "see the new now", true},
		{"(a|a) b", "a b", "a b", false},
		{"a (|)b", "a b", "a b", false},
		{"((x|x) y|x y)", "x y", "x y", false},
	} {
		for _, after := range []bool{false, true} {
			w := &writer{m: m, rng: newRand(tt.pattern), after: after}
			got, err := w.expand(tt.pattern)
			want := tt.before
			if after {
				want = tt.after
			}
			if err != nil || got != want || w.dated != tt.dated {
				t.Errorf("%q after=%t: %q, dated %t, %v; want %q, %t", tt.pattern, after, got, w.dated, err, want, tt.dated)
			}
		}
	}
	for _, bad := range []string{"(a", "{box", "{nothing}", "{loop}", "(a|(b)"} {
		w := &writer{m: m, rng: newRand(bad)}
		if got, err := w.expand(bad); err == nil {
			t.Errorf("%q gives %q, want an error", bad, got)
		}
	}
}

func TestReadMaterialRefuses(t *testing.T) {
	good := func() fstest.MapFS {
		return fstest.MapFS{
			"slots.txt":         {Data: []byte("[a]\nb\n")},
			"frames.txt":        {Data: []byte("[opener plain]\nhi\n")},
			"desk.txt":          {Data: []byte("greet\n")},
			"ambiguous.txt":     {Data: []byte("")},
			"intents/greet.txt": {Data: []byte("description: A greeting.\nhello {a}\n")},
		}
	}
	if _, err := readMaterial(good()); err != nil {
		t.Fatalf("good material is refused: %v", err)
	}
	for _, tt := range []struct{ name, file, text, want string }{
		{"slot", "intents/greet.txt", "description: A greeting.\nhello {b}\n", "unknown slot"},
		{"confused", "intents/greet.txt", "description: A greeting.\nconfused: bye\nhi\n", `unknown intent "bye"`},
		{"description", "intents/greet.txt", "hi\n", "no description"},
		{"share", "intents/greet.txt", "description: A greeting.\nshare: lots\n", "share"},
		{"missing file", "desk.txt", "greet\nbye\n", "intents/bye.txt"},
		{"twice", "desk.txt", "greet\ngreet\n", "listed twice"},
		{"not listed", "intents/bye.txt", "description: Bye.\nbye\n", "does not list"},
		{"ambiguous", "ambiguous.txt", "greet hello\n", "no \": \""},
		{"heading", "slots.txt", "b\n[a]\nb\n", "before the first heading"},
	} {
		dir := good()
		dir[tt.file] = &fstest.MapFile{Data: []byte(tt.text)}
		if _, err := readMaterial(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("hello (a|b|) {box} {order}")
	f.Add("((((|")
	m := &material{slots: map[string][]string{"box": {"x", "{box}"}}}
	f.Fuzz(func(t *testing.T, pattern string) {
		w := &writer{m: m, rng: newRand(pattern)}
		if len(pattern) > 2000 {
			return
		}
		got, err := w.expand(pattern)
		if err == nil && strings.Contains(got, "{box}") {
			t.Errorf("%q leaves a slot unfilled: %q", pattern, got)
		}
	})
}
