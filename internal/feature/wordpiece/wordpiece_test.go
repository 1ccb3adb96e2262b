package wordpiece_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tandem/internal/feature/wordpiece"
)

func vocab(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/vocab.txt")
	if err != nil {
		t.Fatal(err)
	}
	return wordpiece.Lines(data)
}

// golden holds what the reference tokenizer says; testdata/reference.py makes
// it.
type golden struct {
	Sentences []string
	Cases     []struct {
		Name    string
		Clean   bool  `json:"clean_text"`
		Chinese bool  `json:"handle_chinese_chars"`
		Strip   *bool `json:"strip_accents"`
		Lower   bool  `json:"lowercase"`
		Limit   int
		IDs     [][]int32
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) < 10 || len(g.Sentences) < 40 {
		t.Fatalf("golden.json holds only %d cases of %d sentences", len(g.Cases), len(g.Sentences))
	}
	for _, c := range g.Cases {
		set := wordpiece.Uncased()
		set.Clean, set.Chinese, set.Lowercase, set.Strip = c.Clean, c.Chinese, c.Lower, c.Lower
		if c.Strip != nil {
			set.Strip = *c.Strip
		}
		tok, err := wordpiece.New(vocab(t), set)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range g.Sentences {
			if got := tok.Encode(nil, s, c.Limit); !slices.Equal(got, c.IDs[i]) {
				t.Errorf("%s, limit %d: %q\n got %v\nwant %v", c.Name, c.Limit, s, got, c.IDs[i])
			}
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	tok, err := wordpiece.FromVocab([]byte("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\na\ná\n"), []byte(`{"do_lower_case": false, "model_max_length": 512, "tokenizer_class": "BertTokenizer"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode(nil, "A á a", 9), []int32{2, 5, 7, 6, 3}; !slices.Equal(got, want) {
		t.Errorf("cased ids are %v, want %v", got, want)
	}
	if n := tok.Settings().Length; n != 512 {
		t.Errorf("length is %d, want 512", n)
	}
	for limit, want := range map[int][]int32{0: {2, 3}, 1: {2, 3}, 2: {2, 3}, 3: {2, 5, 3}, 4: {2, 5, 7, 3}} {
		if got := tok.Encode(nil, "A á a", limit); !slices.Equal(got, want) {
			t.Errorf("limit %d gives %v, want %v", limit, got, want)
		}
	}
	if got, want := tok.Encode([]int32{9, 9}, "A", 3), []int32{9, 9, 2, 5, 3}; !slices.Equal(got, want) {
		t.Errorf("appended ids are %v, want %v", got, want)
	}
}

// sound is a small tokenizer.json; tests break it in one place each.
const sound = `{
 "truncation": {"max_length": 7, "strategy": "LongestFirst", "stride": 0},
 "added_tokens": [{"id": 0, "content": "[PAD]", "special": true}, {"id": 9, "content": "<x>", "special": true}],
 "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
 "pre_tokenizer": {"type": "BertPreTokenizer"},
 "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "[SEP]"}}],
  "special_tokens": {"[CLS]": {"tokens": ["[CLS]"]}}},
 "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
  "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5, "#": 6}}}`

func TestTokenizerJSON(t *testing.T) {
	t.Parallel()
	tok, err := wordpiece.FromJSON([]byte(sound))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode(nil, "AB <x>áb[PAD] c", 99), []int32{2, 4, 5, 9, 4, 5, 0, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("ids are %v, want %v", got, want)
	}
	if tok.Size() != 10 || tok.Settings().Length != 7 {
		t.Errorf("size %d and length %d, want 10 and 7", tok.Size(), tok.Settings().Length)
	}
	bert := strings.Replace(sound, `{"type": "TemplateProcessing"`, `{"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]`, 1)
	tok, err = wordpiece.FromJSON([]byte(bert))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode(nil, "a", 99), []int32{2, 4, 3}; !slices.Equal(got, want) {
		t.Errorf("ids with BertProcessing are %v, want %v", got, want)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to, want string }{
		"not JSON":           {`{`, `[`, "tokenizer.json"},
		"other model":        {`"WordPiece"`, `"BPE"`, "only WordPiece"},
		"other normalizer":   {"BertNormalizer", "NFC", "normalizer"},
		"other pre":          {"BertPreTokenizer", "Whitespace", "pre-tokenizer"},
		"other post":         {"TemplateProcessing", "RobertaProcessing", "post-processor"},
		"no text":            {`"Sequence"`, `"Nothing"`, "0 times"},
		"left truncation":    {`"stride": 0`, `"direction": "Left"`, "beginning"},
		"no vocabulary":      {`"vocab"`, `"words"`, "no vocabulary"},
		"negative id":        {`"a": 4`, `"a": -4`, "id -4"},
		"shared id":          {`"a": 4`, `"a": 5`, "share id 5"},
		"huge id":            {`"a": 4`, `"a": 2000000000`, "must be below"},
		"no unknown token":   {`"unk_token": "[UNK]"`, `"unk_token": "<unk>"`, `"<unk>"`},
		"lstrip":             {`"content": "<x>"`, `"content": "<x>", "lstrip": true`, "white space"},
		"normalized":         {`"content": "<x>"`, `"content": "<x>", "normalized": true`, "normalized text"},
		"empty special":      {`"content": "<x>"`, `"content": ""`, "empty"},
		"words too long":     {`"max_input_chars_per_word": 100`, `"max_input_chars_per_word": 1000`, "1000"},
		"words of no length": {`"max_input_chars_per_word": 100`, `"max_input_chars_per_word": 0`, "not 0"},
		"added in two":       {`{"id": 9, "content": "<x>"`, `{"id": 9, "content": "a"`, "but 4 in the vocabulary"},
	} {
		broken := strings.Replace(sound, c.from, c.to, 1)
		if broken == sound {
			t.Fatalf("%s: nothing was broken", name)
		}
		if _, err := wordpiece.FromJSON([]byte(broken)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	for name, c := range map[string]struct{ vocab, config, want string }{
		"empty":           {"", "", "unknown-word"},
		"no classifier":   {"[UNK]\n[SEP]\n[PAD]\n[MASK]", "", `"[CLS]"`},
		"broken config":   {"a", "{", "tokenizer_config.json"},
		"other tokenizer": {"a", `{"tokenizer_class": "XLMRobertaTokenizer"}`, "XLMRobertaTokenizer"},
		"long token":      {strings.Repeat("x", 2000), "", "2000 bytes"},
	} {
		var config []byte
		if c.config != "" {
			config = []byte(c.config)
		}
		if _, err := wordpiece.FromVocab([]byte(c.vocab), config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	tok, err := wordpiece.New(vocab(t), wordpiece.Uncased())
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int32, 0, 512)
	for _, s := range []string{"My card has not arrived yet, what now?", "Crème brûlée [SEP] 日本語 Привет 한국어", strings.Repeat("word ", 400)} {
		if n := testing.AllocsPerRun(50, func() { ids = tok.Encode(ids[:0], s, 256) }); n > 0 {
			t.Errorf("%q allocates %v times", s, n)
		}
	}
}

// FuzzEncode holds what is true of every text under every setting.
func FuzzEncode(f *testing.F) {
	var toks []*wordpiece.Tokenizer
	for i := range 16 {
		set := wordpiece.Uncased()
		set.Clean, set.Chinese, set.Strip, set.Lowercase = i&1 == 0, i&2 == 0, i&4 == 0, i&8 == 0
		tok, err := wordpiece.New(vocab(f), set)
		if err != nil {
			f.Fatal(err)
		}
		toks = append(toks, tok)
	}
	f.Add("Crème [SEP] brûlée q\u302e\u302f \xff\xfe", 9, uint8(0))
	f.Add(strings.Repeat("\u0301", 300)+"x", 512, uint8(3))
	f.Add("가각힣 日本語 \U000f0000", 30, uint8(12))
	f.Fuzz(func(t *testing.T, text string, limit int, which uint8) {
		tok := toks[which%16]
		limit = min(max(limit, -5), 5000)
		all := tok.Encode(nil, text, 1<<30)
		if len(all) < 2 || len(all) > 4*utf8.RuneCountInString(text)+2 {
			t.Fatalf("%d ids of %q", len(all), text)
		}
		for _, id := range all {
			if id < 0 || int(id) >= tok.Size() {
				t.Fatalf("id %d of %q is outside the vocabulary", id, text)
			}
		}
		cut := tok.Encode(nil, text, limit)
		n := min(len(all), max(limit, 2))
		if len(cut) != n || !slices.Equal(cut[:n-1], all[:n-1]) || cut[n-1] != all[len(all)-1] {
			t.Fatalf("limit %d of %q gives %v, want a beginning of %v", limit, text, cut, all)
		}
		// A text's words do not depend on what stands behind a space.
		if tok.Settings().Clean {
			if longer := tok.Encode(nil, text+" x", 1<<30); !slices.Equal(longer[:len(all)-1], all[:len(all)-1]) {
				t.Fatalf("%q reads otherwise with a word behind it", text)
			}
		}
	})
}

// FuzzFromJSON holds that hostile files are refused or give a tokenizer that
// works.
func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(sound))
	f.Add([]byte(strings.Replace(sound, `"##"`, `""`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := wordpiece.FromJSON(data)
		if err != nil {
			return
		}
		for _, id := range tok.Encode(nil, "A ab áB <x> [PAD] 日 \x00", 64) {
			if id < 0 || int(id) >= tok.Size() {
				t.Fatalf("id %d is outside the vocabulary of %d", id, tok.Size())
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok, err := wordpiece.New(vocab(b), wordpiece.Uncased())
	if dir := os.Getenv("TANDEM_MODELS"); dir != "" { // a real vocabulary, when there is one
		if data, err := os.ReadFile(dir + "/all-minilm-l6-v2/tokenizer.json"); err == nil {
			if tok, err = wordpiece.FromJSON(data); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	for name, s := range map[string]string{
		"ascii":  "I still have not received my new card, I ordered over a week ago.",
		"accent": "Où est passée ma carte ? Je l'ai commandée il y a déjà une semaine.",
	} {
		b.Run(name, func(b *testing.B) {
			ids := make([]int32, 0, 512)
			b.ReportAllocs()
			for b.Loop() {
				ids = tok.Encode(ids[:0], s, 256)
			}
			b.ReportMetric(float64(len(ids)), "ids")
		})
	}
}

// TestCorpus compares every text of the public data sets with the reference
// tokenizer under the real vocabulary of all-MiniLM-L6-v2.
func TestCorpus(t *testing.T) {
	t.Parallel()
	data, models := os.Getenv("TANDEM_DATA"), os.Getenv("TANDEM_MODELS")
	if data == "" || models == "" {
		t.Skip("set TANDEM_DATA to the folder of data sets and TANDEM_MODELS to a folder filled by tools/get-minilm")
	}
	file, err := os.ReadFile(filepath.Join(models, "all-minilm-l6-v2", "tokenizer.json"))
	if err != nil {
		t.Skip("no weights; tools/get-minilm fetches them:", err)
	}
	tok, err := wordpiece.FromJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	var files []struct {
		File       string
		Texts, IDs int
		SHA256     string
	}
	golden, err := os.ReadFile("testdata/corpus.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(golden, &files); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(data, f.File))
		if err != nil {
			t.Skip("this data set is not here:", err)
		}
		texts := strings.Split(strings.ReplaceAll(string(text), `"`, "\n"), "\n")
		digest, n := sha256.New(), 0
		var ids []int32
		var raw []byte
		for _, s := range texts {
			ids, raw = tok.Encode(ids[:0], s, 256), raw[:0]
			for _, id := range ids {
				raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
			}
			digest.Write(raw)
			n += len(ids)
		}
		if got := hex.EncodeToString(digest.Sum(nil)); got != f.SHA256 || len(texts) != f.Texts || n != f.IDs {
			t.Errorf("%s: %d texts, %d ids, sha256 %s; the reference has %d, %d, %s", f.File, len(texts), n, got, f.Texts, f.IDs, f.SHA256)
		}
	}
}
