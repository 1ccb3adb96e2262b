package text

import (
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tandem"
)

func fill(parts ...string) *Vector {
	v := NewVector()
	var in tandem.Input
	for _, p := range parts {
		in.Parts = append(in.Parts, tandem.Part{Kind: tandem.Text, Text: p})
	}
	v.Fill(&in)
	return v
}

// said returns the words read, edges dropped, joined by bars.
func said(v *Vector) string {
	var out []string
	for _, w := range v.words {
		out = append(out, string(v.runes[w.from+1:w.to-1]))
	}
	return strings.Join(out, "|")
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		" \t\n":                     "",
		"Where is MY card?":         "where|is|my|card|?",
		"don't can’t 'quoted'":      "dont|cant|quoted",
		"a,b;c/d-e_f.g":             "a|b|c|d|e|f|g",
		"£10 $5.50 3%":              "£|10|$|5|50|3|%",
		"🙂ok🙂":                      "🙂|ok|🙂",
		"ÄÖÜ Straße ÉCOLE e\u0301t": "äöü|straße|école|e\u0301t",
		"ΑΘΗΝΑ МОСКВА":              "αθηνα|москва",
		"日本語 テスト":                   "日本語|テスト",
		"a\xffb\xc3":                "a|b",
		"a\x00b":                    "a|b",
		"what?!":                    "what|?|!",
	} {
		if got := said(fill(text)); got != want {
			t.Errorf("%q: words %q, want %q", text, got, want)
		}
	}
	if got := said(fill("one", "two")); got != "one|two" {
		t.Errorf("two parts: %q", got)
	}
	v := NewVector()
	v.Fill(&tandem.Input{Parts: []tandem.Part{{Kind: tandem.Image, Text: "not read"}}})
	if len(v.Keys) != 0 {
		t.Error("an image's text is read")
	}
}

func TestFeaturesOfASmallText(t *testing.T) {
	v := fill("ab cd ab")
	// ab, ab+cd, cd, cd+ab | ab_ab | the pieces of " ab " and " cd ": three of
	// two characters, two of three and one of four each.
	if got := [Blocks]int{v.End[Word], v.End[Skip] - v.End[Word], v.End[Char] - v.End[Skip]}; got != [Blocks]int{4, 1, 12} {
		t.Fatalf("features per block %v", got)
	}
	if v.Counts[0] != 2 || v.Words != 3 {
		t.Errorf("the first word counts %d of %d", v.Counts[0], v.Words)
	}
	sorted := slices.Clone(v.Keys)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) != len(v.Keys) {
		t.Error("keys repeat")
	}
	if !slices.Equal(fill("AB  cd, Ab!").Keys[:2], v.Keys[:2]) {
		t.Error("case and spacing change the keys")
	}
	if slices.Equal(fill("cd ab").Keys, fill("ab cd").Keys) {
		t.Error("order does not matter")
	}
}

// TestKeysAreStable pins the hashing: artefacts depend on it.
func TestKeysAreStable(t *testing.T) {
	want := []uint32{
		0xb425ef4f, 0x515a9e7b, 0x5732dcc9, 0xd4a4fe6f, 0x342d4bbe, 0x9d079925, 0x896b66a9, 0xcab1d18, 0x3e28825e, 0x1b861985,
		0x753c9e55, 0xe2ea26fd, 0x9baebf69, 0x961629b3, 0x154aa5d8, 0xa6f33009, 0x6f9a8eb8, 0xa1962375, 0x65e1e30d,
	}
	if got := fill("Hi you").Keys; !slices.Equal(got, want) {
		t.Errorf("keys %#v, want %#v; a change needs a new Name and a new format", got, want)
	}
}

func TestOnlyTheBeginningIsRead(t *testing.T) {
	long := strings.Repeat("word ", MaxBytes)
	if got := fill(long); got.Words != MaxBytes/5+1 {
		t.Errorf("%d words", got.Words)
	}
	if a, b := fill(long[:MaxBytes]+"x"), fill(long[:MaxBytes]); !slices.Equal(a.Keys, b.Keys) {
		t.Error("text past the limit is read")
	}
	if a, b := fill(long, "more"), fill(long); !slices.Equal(a.Keys, b.Keys) {
		t.Error("parts past the limit are read")
	}
}

func TestWeigh(t *testing.T) {
	c := NewCorpus()
	for _, s := range []string{"red apple", "red pear", "red plum plum"} {
		c.Add(fill(s))
	}
	all := c.Vocabulary(1, 1000)
	var s Sparse
	all.Weigh(fill("red apple"), Weights{1, 0, 2}, &s)
	if s.Unseen != 0 || len(s.Index) != 3+len(fill("red apple").Keys)-fill("red apple").End[Skip] {
		t.Fatalf("%d features, unseen %v", len(s.Index), s.Unseen)
	}
	norm := func(v []float32) (n float64) {
		for _, x := range v {
			n += float64(x) * float64(x)
		}
		return math.Sqrt(n)
	}
	if a, b := norm(s.Value[:3]), norm(s.Value[3:]); math.Abs(a-1) > 1e-5 || math.Abs(b-2) > 1e-5 {
		t.Errorf("blocks have lengths %v and %v", a, b)
	}
	if s.Value[0] >= s.Value[2] {
		t.Errorf("the common word weighs %v, the rare one %v", s.Value[0], s.Value[2])
	}
	all.Weigh(fill("blue sky"), Weights{1, 1, 0}, &s)
	if s.Unseen != 1 || len(s.Index) != 0 {
		t.Errorf("unknown words: %d features, unseen %v", len(s.Index), s.Unseen)
	}
	all.Weigh(fill(""), Weights{1, 1, 1}, &s)
	if s.Unseen != 0 || len(s.Index) != 0 {
		t.Errorf("no words: %d features, unseen %v", len(s.Index), s.Unseen)
	}
	few := c.Vocabulary(3, 1000)
	if few.Len() >= all.Len() || c.Vocabulary(1, 5).Len() != 5 {
		t.Errorf("%d rows found thrice of %d", few.Len(), all.Len())
	}
}

func TestVocabularyRoundTripAndExtend(t *testing.T) {
	c := NewCorpus()
	c.Add(fill("some words to keep"))
	v := c.Vocabulary(1, 1000)
	blob, err := v.AppendBinary([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	back, rest, err := ReadVocabulary(append(blob[1:], 'r'))
	if err != nil || string(rest) != "r" || !slices.Equal(back.keys, v.keys) || !slices.Equal(back.idf, v.idf) {
		t.Fatalf("read back: %v, rest %q", err, rest)
	}
	wider := v.Extend(slices.Values([]*Vector{fill("new words"), fill("new words")}), 1000)
	if wider.Len() <= v.Len() || !slices.Equal(wider.keys[:v.Len()], v.keys) {
		t.Errorf("%d rows grew to %d", v.Len(), wider.Len())
	}
	var s Sparse
	if wider.Weigh(fill("new words"), Weights{1, 1, 1}, &s); s.Unseen != 0 {
		t.Errorf("unseen %v after extending", s.Unseen)
	}
	if v.Extend(slices.Values([]*Vector{fill("new words")}), v.Len()) != v {
		t.Error("grows past the bound")
	}
	twice := slices.Clone(blob[1:])
	copy(twice[8:12], twice[4:8])
	for name, b := range map[string][]byte{
		"nothing": nil, "cut": blob[1 : len(blob)-1], "absurd": {0xff, 0xff, 0xff, 0xff}, "repeated key": twice,
	} {
		if _, _, err := ReadVocabulary(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFillAllocatesNothing(t *testing.T) {
	v := NewVector()
	in := tandem.TextInput("Where is my card? I ordered it two weeks ago.")
	v.Fill(&in)
	if n := testing.AllocsPerRun(100, func() { v.Fill(&in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFits(t *testing.T) {
	if Fits(tandem.Task{}) != nil || Fits(tandem.Task{Takes: []tandem.Kind{tandem.Text}}) != nil {
		t.Error("a text task does not fit")
	}
	if tandem.CodeOf(Fits(tandem.Task{Takes: []tandem.Kind{tandem.Audio}})) != tandem.UnsupportedModality {
		t.Error("audio fits")
	}
}

func FuzzFill(f *testing.F) {
	for _, s := range []string{"", "Where is it?", "\xff\xfe", "🙂", strings.Repeat("ab ", 4000), "don't ’’'"} {
		f.Add(s)
	}
	v := NewVector()
	f.Fuzz(func(t *testing.T, s string) {
		in := tandem.TextInput(s)
		v.Fill(&in)
		once := slices.Clone(v.Keys)
		if len(v.Keys) != len(v.Counts) || v.End[Char] != len(v.Keys) || !(v.End[Word] <= v.End[Skip] && v.End[Skip] <= v.End[Char]) {
			t.Fatalf("%d keys, %d counts, ends %v", len(v.Keys), len(v.Counts), v.End)
		}
		if v.Words > len(s) || len(v.Keys) > 16*MaxBytes {
			t.Fatalf("%d words, %d keys from %d bytes", v.Words, len(v.Keys), len(s))
		}
		for _, r := range v.runes {
			if !utf8.ValidRune(r) {
				t.Fatalf("rune %x", r)
			}
		}
		if v.Fill(&in); !slices.Equal(once, v.Keys) {
			t.Fatal("two readings differ")
		}
	})
}

func FuzzReadVocabulary(f *testing.F) {
	c := NewCorpus()
	c.Add(fill("some words"))
	b, err := c.Vocabulary(1, 10).AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _, err := ReadVocabulary(b)
		if err != nil {
			return
		}
		var s Sparse
		v.Weigh(fill("some words"), Weights{1, 1, 1}, &s)
		for _, i := range s.Index {
			if int(i) >= v.Len() {
				t.Fatalf("row %d of %d", i, v.Len())
			}
		}
	})
}

func BenchmarkFill(b *testing.B) {
	v := NewVector()
	in := tandem.TextInput("Where is my card? I ordered it two weeks ago.")
	for b.Loop() {
		v.Fill(&in)
	}
}
