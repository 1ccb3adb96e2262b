package encoder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/internal/kernel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// far is the largest difference of two vectors.
func far(a []float32, b []float64) float64 {
	top := 0.0
	for i, v := range a {
		if d := math.Abs(float64(v) - b[i]); !(d <= top) {
			top = d
		}
	}
	return top
}

func embed(e *Encoder, text string) []float32 {
	v := make([]float32, e.Dim())
	e.EmbedOne(text, v)
	return v
}

func TestEqualsTheDefinition(t *testing.T) {
	t.Parallel()
	normalised := func(m *small) {
		m.files["modules.json"] = strings.Replace(m.files["modules.json"], "]", `, {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]`, 1)
	}
	for name, c := range map[string]struct {
		change    func(*small)
		pooling   string
		normalise bool
		near      float64
	}{
		"mean":       {func(*small) {}, "mean", false, 1e-5},
		"normalised": {normalised, "mean", true, 1e-5},
		"cls":        {func(m *small) { m.files["1_Pooling/config.json"] = `{"pooling_mode_cls_token": true}` }, "cls", false, 1e-5},
		"max":        {func(m *small) { m.files["1_Pooling/config.json"] = `{"pooling_mode_max_tokens": true}` }, "max", false, 1e-5},
		"relu":       {func(m *small) { m.config["hidden_act"] = "relu" }, "mean", false, 1e-5},
		"F16":        {func(m *small) { m.dtype = "F16" }, "mean", false, 1e-5},
		"BF16":       {func(m *small) { m.dtype = "BF16" }, "mean", false, 1e-5},
		"no modules": {func(m *small) { delete(m.files, "modules.json"); delete(m.files, "1_Pooling/config.json") }, "mean", true, 1e-5},
		"one head":   {func(m *small) { m.config["num_attention_heads"] = 1 }, "mean", false, 1e-5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSmall(7)
			c.change(m)
			e, err := Open(m.write(t), Options{})
			if err != nil {
				t.Fatal(err)
			}
			for text, ids := range map[string][]int{
				"The cats sat on a mat.": {2, 5, 6, 11, 7, 8, 14, 9, 10, 3},
				"":                       {2, 3},
				"zebra":                  {2, 1, 3},
			} {
				if d := far(embed(e, text), m.vector(ids, c.pooling, c.normalise)); !(d < c.near) {
					t.Errorf("%q differs by %g", text, d)
				}
			}
		})
	}
}

// Files of whole models name the encoder's tensors otherwise.
func TestOtherNames(t *testing.T) {
	t.Parallel()
	m := newSmall(3)
	want := m.vector([]int{2, 6, 3}, "mean", false)
	m.rename(func(name string) string {
		name = strings.Replace(name, "LayerNorm.weight", "LayerNorm.gamma", 1)
		return "bert." + strings.Replace(name, "LayerNorm.bias", "LayerNorm.beta", 1)
	})
	e, err := Open(m.write(t), Options{Name: "renamed"})
	if err != nil {
		t.Fatal(err)
	}
	if d := far(embed(e, "cat"), want); !(d < 1e-5) {
		t.Errorf("differs by %g", d)
	}
	if e.Name() != "renamed" || e.Dim() != 24 || e.MaxTokens() != 32 {
		t.Errorf("name %q, dimension %d, %d tokens", e.Name(), e.Dim(), e.MaxTokens())
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	m := newSmall(5)
	dir := m.write(t)
	open := func(opt Options) *Encoder {
		t.Helper()
		e, err := Open(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	prefixed := open(Options{Prefix: "query: "})
	if d := far(embed(prefixed, "cat"), m.vector([]int{2, 13, 12, 6, 3}, "mean", false)); !(d < 1e-5) {
		t.Errorf("with a prefix: differs by %g", d)
	}
	short := open(Options{MaxTokens: 4})
	if d := far(embed(short, "the cat sat on"), m.vector([]int{2, 5, 6, 3}, "mean", false)); !(d < 1e-5) {
		t.Errorf("cut: differs by %g", d)
	}
	if n := short.Tokens("the cat sat on"); n != 4 {
		t.Errorf("%d tokens are read, want 4", n)
	}
	long := embed(open(Options{}), strings.Repeat("cat ", 500))
	if d := far(long, m.vector(append(append([]int{2}, slices.Repeat([]int{6}, 30)...), 3), "mean", false)); !(d < 1e-5) {
		t.Errorf("the longest text: differs by %g", d)
	}
	digests := map[string]bool{}
	for _, opt := range []Options{{}, {Prefix: "query: "}, {MaxTokens: 4}, {Int8: true}} {
		digests[open(opt).Digest()] = true
	}
	if len(digests) != 4 || !digests[open(Options{Threads: 9, Name: "x"}).Digest()] {
		t.Errorf("digests %v do not tell apart what changes vectors", digests)
	}
	for opt, want := range map[Options]string{
		{MaxTokens: 2}:                        "can read 3 to 32",
		{MaxTokens: 33}:                       "can read 3 to 32",
		{Prefix: "query"}:                     "white space",
		{Prefix: "a b c d", MaxTokens: 5}:     "white space",
		{Prefix: "a b c d ", MaxTokens: 5}:    "no room",
		{Prefix: "the cat sat: ", Int8: true}: "",
	} {
		if _, err := Open(dir, opt); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", opt, err, want)
		}
	}
}

func TestInt8IsNear(t *testing.T) {
	t.Parallel()
	m := newSmall(9)
	dir := m.write(t)
	full, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	quantised, err := Open(dir, Options{Int8: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"the cat sat on the mat.", "", "a b c d e"} {
		if c := cosine(embed(full, text), embed(quantised, text)); c < 0.99 {
			t.Errorf("%q: cosine %g", text, c)
		}
	}
}

func cosine(a, b []float32) float64 {
	return float64(kernel.Dot(a, b)) / math.Sqrt(float64(kernel.Dot(a, a))*float64(kernel.Dot(b, b)))
}

// TestEmbed holds that however texts are computed together, each has the
// vector it has alone.
func TestEmbed(t *testing.T) {
	t.Parallel()
	dir := newSmall(11).write(t)
	var texts []string
	for i := range 300 {
		texts = append(texts, strings.Repeat("cat on a mat. ", i%9)+smallVocab[i%len(smallVocab)])
	}
	for _, opt := range []Options{{}, {Threads: 1}, {Threads: 3}, {Threads: 2, Int8: true}} {
		e, err := Open(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, 2, 17, len(texts)} {
			got := make([]float32, n*e.Dim())
			if err := e.Embed(t.Context(), texts[:n], got); err != nil {
				t.Fatal(err)
			}
			for i, text := range texts[:n] {
				one, v := embed(e, text), got[i*e.Dim():(i+1)*e.Dim()]
				for j := range one {
					if d := math.Abs(float64(one[j] - v[j])); !(d < 1e-5) {
						t.Fatalf("%+v, %d texts: %q differs by %g from what it is alone", opt, n, text, d)
					}
				}
			}
		}
		if err := e.Embed(t.Context(), texts, make([]float32, 7)); err == nil || !strings.Contains(err.Error(), "room for 7 numbers") {
			t.Errorf("a short result gives error %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Embed(ctx, texts, make([]float32, len(texts)*e.Dim())); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled call gives error %v", err)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	dir := newSmall(1).write(t)
	for _, opt := range []Options{{}, {Int8: true, Prefix: "query: "}} {
		e, err := Open(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		v := make([]float32, e.Dim())
		for _, text := range []string{"cat", strings.Repeat("the cat ", 100)} {
			if n := testing.AllocsPerRun(20, func() { e.EmbedOne(text, v) }); n > 0 {
				t.Errorf("%+v: %v allocations", opt, n)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*small)
		want   string
	}{
		"other model":     {func(m *small) { m.config["model_type"] = "roberta" }, `model_type is "roberta"`},
		"other act":       {func(m *small) { m.config["hidden_act"] = "silu" }, "hidden_act"},
		"relative":        {func(m *small) { m.config["position_embedding_type"] = "relative_key" }, "only absolute"},
		"decoder":         {func(m *small) { m.config["is_decoder"] = true }, "only encoders"},
		"no layers":       {func(m *small) { m.config["num_hidden_layers"] = 0 }, "num_hidden_layers is 0"},
		"huge":            {func(m *small) { m.config["hidden_size"] = 1 << 40 }, "hidden_size"},
		"uneven heads":    {func(m *small) { m.config["num_attention_heads"] = 5 }, "not a multiple"},
		"no eps":          {func(m *small) { m.config["layer_norm_eps"] = 0 }, "layer_norm_eps"},
		"more layers":     {func(m *small) { m.config["num_hidden_layers"] = 3 }, `"encoder.layer.2.attention.self.query.weight" is missing`},
		"other shape":     {func(m *small) { m.config["intermediate_size"] = 41 }, "has shape [40 24]; the configuration wants [41 24]"},
		"smaller words":   {func(m *small) { m.config["vocab_size"] = 7 }, "has 19 tokens, but the weights have 7"},
		"no vocabulary":   {func(m *small) { delete(m.files, "vocab.txt") }, "neither tokenizer.json nor vocab.txt"},
		"broken pooling":  {func(m *small) { m.files["1_Pooling/config.json"] = "{" }, "1_Pooling/config.json"},
		"no pooling file": {func(m *small) { delete(m.files, "1_Pooling/config.json") }, "modules.json names it"},
		"two poolings": {func(m *small) {
			m.files["1_Pooling/config.json"] = `{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}`
		}, "exactly one"},
		"other pooling": {func(m *small) { m.files["1_Pooling/config.json"] = `{"pooling_mode_lasttoken": true}` }, "only the pooling modes"},
		"dense": {func(m *small) {
			m.files["modules.json"] = strings.Replace(m.files["modules.json"], "]", `,{"type":"x.Dense"}]`, 1)
		}, "module 2 is a Dense"},
		"no pooling": {func(m *small) { m.files["modules.json"] = `[{"path": "", "type": "x.Transformer"}]` }, "no Pooling"},
		"leaves": {func(m *small) {
			m.files["modules.json"] = strings.Replace(m.files["modules.json"], "1_Pooling", "../x", 1)
		}, "leaves the folder"},
		"not BERT":   {func(m *small) { m.rename(func(s string) string { return "x" + s }) }, "not a BERT encoder"},
		"not finite": {func(m *small) { m.tensors["embeddings.LayerNorm.weight"].data[3] = float32(math.NaN()) }, "not finite"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSmall(2)
			c.change(m)
			if _, err := Open(m.write(t), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Open(t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "no config.json") {
		t.Errorf("an empty folder gives error %v", err)
	}
	dir := newSmall(2).write(t)
	if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "docs/models.md") {
		t.Errorf("a folder without weights gives error %v", err)
	}
}

// realModel is the folder of all-MiniLM-L6-v2.
func realModel(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("TANDEM_MODELS")
	if dir == "" {
		t.Skip("set TANDEM_MODELS to a folder filled by tools/get-minilm")
	}
	dir = filepath.Join(dir, "all-minilm-l6-v2")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no weights; tools/get-minilm fetches them:", err)
	}
	return dir
}

// TestReal compares the real model with ONNX Runtime; testdata/reference.py
// makes the vectors.
func TestReal(t *testing.T) {
	t.Parallel()
	dir := realModel(t)
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden []struct {
		Text   string
		Vector []float64
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) < 10 {
		t.Fatalf("only %d golden vectors", len(golden))
	}
	full, err := Open(dir, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if full.Dim() != 384 || full.MaxTokens() != 256 || full.Name() != "all-minilm-l6-v2" {
		t.Errorf("dimension %d, %d tokens, name %q", full.Dim(), full.MaxTokens(), full.Name())
	}
	texts := make([]string, len(golden))
	for i, g := range golden {
		texts[i] = g.Text
		if d := far(embed(full, g.Text), g.Vector); !(d < 1e-4) {
			t.Errorf("%.40q differs by %g", g.Text, d)
		}
	}
	all := make([]float32, len(texts)*full.Dim())
	if err := full.Embed(t.Context(), texts, all); err != nil {
		t.Fatal(err)
	}
	for i, g := range golden {
		if d := far(all[i*384:(i+1)*384], g.Vector); !(d < 1e-4) {
			t.Errorf("%.40q differs by %g among others", g.Text, d)
		}
	}
	quantised, err := Open(dir, Options{Int8: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range golden {
		if c := cosine(embed(quantised, g.Text), all[i*384:(i+1)*384]); c < 0.96 {
			t.Errorf("%.40q in int8 has cosine %g", g.Text, c)
		}
	}
}

func BenchmarkEmbed(b *testing.B) {
	dir := realModel(b)
	for _, small := range []bool{false, true} {
		for _, threads := range []int{1, 2} {
			e, err := Open(dir, Options{Int8: small, Threads: threads})
			if err != nil {
				b.Fatal(err)
			}
			kind := map[bool]string{false: "fp32", true: "int8"}[small]
			for _, tokens := range []int{8, 32, 128} {
				text := strings.Repeat("card ", tokens-2)
				if n := e.Tokens(text); n != tokens {
					b.Fatalf("the text has %d tokens", n)
				}
				b.Run(fmt.Sprintf("%s/threads=%d/tokens=%d", kind, threads, tokens), func(b *testing.B) {
					v := make([]float32, e.Dim())
					one := []string{text}
					var wall, cpu []time.Duration
					b.ReportAllocs()
					for b.Loop() {
						w, c := time.Now(), cpuTime()
						if threads == 1 {
							e.EmbedOne(text, v)
						} else if err := e.Embed(b.Context(), one, v); err != nil {
							b.Fatal(err)
						}
						wall, cpu = append(wall, time.Since(w)), append(cpu, cpuTime()-c)
					}
					b.ReportMetric(slices.Min(wall).Seconds()*1e3, "best-ms")
					b.ReportMetric(slices.Min(cpu).Seconds()*1e3, "cpu-best-ms")
					slices.Sort(cpu)
					b.ReportMetric(cpu[len(cpu)/2].Seconds()*1e3, "cpu-median-ms")
				})
			}
			b.Run(fmt.Sprintf("%s/threads=%d/texts=64", kind, threads), func(b *testing.B) {
				texts := make([]string, 64)
				for i := range texts {
					texts[i] = strings.Repeat("card ", 4+i%24)
				}
				v := make([]float32, len(texts)*e.Dim())
				for b.Loop() {
					if err := e.Embed(b.Context(), texts, v); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(texts)), "µs/text")
			})
		}
	}
}
