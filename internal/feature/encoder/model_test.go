package encoder

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// small is a BERT of random weights, written to a folder as Hugging Face
// does. Tests change what they want before write.
type small struct {
	files   map[string]string // besides the weights
	config  map[string]any
	tensors map[string]tensorData
	dtype   string
}

type tensorData struct {
	shape []int
	data  []float32
}

var smallVocab = strings.Fields("[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat . ##s : query a b c d e")

func newSmall(seed uint64) *small {
	const h, inner, layers, positions = 24, 40, 2, 32
	r := rand.New(rand.NewPCG(seed, 1))
	m := &small{
		dtype: "F32",
		files: map[string]string{
			"vocab.txt":             strings.Join(smallVocab, "\n") + "\n",
			"modules.json":          `[{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]`,
			"1_Pooling/config.json": `{"pooling_mode_mean_tokens": true}`,
		},
		config: map[string]any{
			"model_type": "bert", "hidden_act": "gelu", "hidden_size": h, "intermediate_size": inner, "layer_norm_eps": 1e-12,
			"max_position_embeddings": positions, "num_attention_heads": 3, "num_hidden_layers": layers,
			"type_vocab_size": 2, "vocab_size": len(smallVocab),
		},
		tensors: map[string]tensorData{},
	}
	put := func(name string, mean, spread float64, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = float32(mean + spread*r.NormFloat64())
		}
		m.tensors[name] = tensorData{shape, data}
	}
	linear := func(name string, in, out int) {
		put(name+".weight", 0, 1/math.Sqrt(float64(in)), out, in)
		put(name+".bias", 0, 0.1, out)
	}
	norm := func(name string) {
		put(name+".weight", 1, 0.1, h)
		put(name+".bias", 0, 0.1, h)
	}
	put("embeddings.word_embeddings.weight", 0, 1, len(smallVocab), h)
	put("embeddings.position_embeddings.weight", 0, 0.3, positions, h)
	put("embeddings.token_type_embeddings.weight", 0, 0.3, 2, h)
	norm("embeddings.LayerNorm")
	for i := range layers {
		p := fmt.Sprintf("encoder.layer.%d.", i)
		for _, part := range []string{"query", "key", "value"} {
			linear(p+"attention.self."+part, h, h)
		}
		linear(p+"attention.output.dense", h, h)
		norm(p + "attention.output.LayerNorm")
		linear(p+"intermediate.dense", h, inner)
		linear(p+"output.dense", inner, h)
		norm(p + "output.LayerNorm")
	}
	return m
}

// rename gives tensors other names.
func (m *small) rename(f func(string) string) {
	named := map[string]tensorData{}
	for name, t := range m.tensors {
		named[f(name)] = t
	}
	m.tensors = named
}

func (m *small) write(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	config, err := json.Marshal(m.config)
	if err != nil {
		t.Fatal(err)
	}
	files := maps.Clone(m.files)
	files["config.json"] = string(config)
	files["model.safetensors"] = string(m.safetensors(t))
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// safetensors encodes the tensors, and rounds them in place to what the type
// can hold.
func (m *small) safetensors(t testing.TB) []byte {
	t.Helper()
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var body []byte
	for _, name := range slices.Sorted(maps.Keys(m.tensors)) {
		tensor, from := m.tensors[name], len(body)
		for i, v := range tensor.data {
			switch m.dtype {
			case "F32":
				body = binary.LittleEndian.AppendUint32(body, math.Float32bits(v))
			case "BF16":
				b := uint16(math.Float32bits(v) >> 16)
				body = binary.LittleEndian.AppendUint16(body, b)
				tensor.data[i] = math.Float32frombits(uint32(b) << 16)
			case "F16":
				b := toHalf(v)
				body = binary.LittleEndian.AppendUint16(body, b)
				tensor.data[i] = fromHalf(b)
			}
		}
		header[name] = map[string]any{"dtype": m.dtype, "shape": tensor.shape, "data_offsets": []int{from, len(body)}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), body...)
}

// toHalf truncates a number that binary16 holds without overflow.
func toHalf(v float32) uint16 {
	b := math.Float32bits(v)
	sign, exponent := uint16(b>>16&0x8000), int(b>>23&0xff)-112
	if exponent <= 0 { // a multiple of 2^-24
		return sign | uint16(math.Abs(float64(v))*(1<<24))
	}
	return sign | uint16(exponent)<<10 | uint16(b>>13&0x3ff)
}

// fromHalf is the number by its definition.
func fromHalf(h uint16) float32 {
	sign := 1 - 2*float64(h>>15)
	if h>>10&0x1f == 0 {
		return float32(sign * float64(h&0x3ff) / (1 << 24))
	}
	return float32(sign * (1 + float64(h&0x3ff)/1024) * math.Pow(2, float64(h>>10&0x1f)-15))
}

// vector computes in 64 bits, by the definitions and one number at a time,
// what the encoder should say about ids.
func (m *small) vector(ids []int, pooling string, normalise bool) []float64 {
	h, heads := m.config["hidden_size"].(int), m.config["num_attention_heads"].(int)
	at := func(name string, i int) float64 { return float64(m.tensors[name].data[i]) }
	norm := func(x []float64, name string) []float64 {
		var mean, variance float64
		for _, v := range x {
			mean += v / float64(h)
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(h)
		}
		out := make([]float64, h)
		for i, v := range x {
			out[i] = (v-mean)/math.Sqrt(variance+m.config["layer_norm_eps"].(float64))*at(name+".weight", i) + at(name+".bias", i)
		}
		return out
	}
	linear := func(x []float64, name string) []float64 {
		out := make([]float64, m.tensors[name+".bias"].shape[0])
		for j := range out {
			out[j] = at(name+".bias", j)
			for i, v := range x {
				out[j] += v * at(name+".weight", j*len(x)+i)
			}
		}
		return out
	}
	plus := func(a, b []float64) []float64 {
		out := slices.Clone(a)
		for i := range out {
			out[i] += b[i]
		}
		return out
	}
	var rows [][]float64
	for p, id := range ids {
		x := make([]float64, h)
		for i := range x {
			x[i] = at("embeddings.word_embeddings.weight", id*h+i) + at("embeddings.position_embeddings.weight", p*h+i) + at("embeddings.token_type_embeddings.weight", i)
		}
		rows = append(rows, norm(x, "embeddings.LayerNorm"))
	}
	for l := range m.config["num_hidden_layers"].(int) {
		p := fmt.Sprintf("encoder.layer.%d.", l)
		next := make([][]float64, len(rows))
		for r, x := range rows {
			q, gathered := linear(x, p+"attention.self.query"), make([]float64, h)
			for head := range heads {
				from, to := head*h/heads, (head+1)*h/heads
				weights, sum := make([]float64, len(rows)), 0.0
				for s, y := range rows {
					k := linear(y, p+"attention.self.key")
					for i := from; i < to; i++ {
						weights[s] += q[i] * k[i] / math.Sqrt(float64(h/heads))
					}
					weights[s] = math.Exp(weights[s])
					sum += weights[s]
				}
				for s, y := range rows {
					v := linear(y, p+"attention.self.value")
					for i := from; i < to; i++ {
						gathered[i] += weights[s] / sum * v[i]
					}
				}
			}
			x = norm(plus(linear(gathered, p+"attention.output.dense"), x), p+"attention.output.LayerNorm")
			up := linear(x, p+"intermediate.dense")
			for i, v := range up {
				if m.config["hidden_act"] == "relu" {
					up[i] = max(v, 0)
				} else {
					up[i] = v / 2 * (1 + math.Erf(v/math.Sqrt2))
				}
			}
			next[r] = norm(plus(linear(up, p+"output.dense"), x), p+"output.LayerNorm")
		}
		rows = next
	}
	out := slices.Clone(rows[0])
	for _, x := range rows[1:] {
		for i, v := range x {
			switch pooling {
			case "mean":
				out[i] += v
			case "max":
				out[i] = max(out[i], v)
			}
		}
	}
	length := 1.0
	if pooling == "mean" {
		length = float64(len(rows))
	}
	if normalise {
		length = 0
		for _, v := range out {
			length += v * v
		}
		length = math.Sqrt(length)
	}
	for i := range out {
		out[i] /= length
	}
	return out
}
