package encoder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tandem/internal/feature/wordpiece"
)

// modelConfig is what is read of config.json.
type modelConfig struct {
	ModelType  string  `json:"model_type"`
	Act        string  `json:"hidden_act"`
	Hidden     int     `json:"hidden_size"`
	Inner      int     `json:"intermediate_size"`
	Eps        float64 `json:"layer_norm_eps"`
	Positions  int     `json:"max_position_embeddings"`
	Heads      int     `json:"num_attention_heads"`
	Layers     int     `json:"num_hidden_layers"`
	Position   string  `json:"position_embedding_type"`
	TokenTypes int     `json:"type_vocab_size"`
	Vocab      int     `json:"vocab_size"`
	Decoder    bool    `json:"is_decoder"`
}

// pooling makes one vector of those of all tokens.
type pooling uint8

const (
	poolMean pooling = iota
	poolCLS
	poolMax
)

// folder is a model's folder and the files of it that were read.
type folder struct {
	dir  string
	read []string
}

// maxFile is the largest file besides the weights.
const maxFile = 64 << 20

// file reads a file of the folder; a missing one gives fs.ErrNotExist.
func (f *folder) file(name string) ([]byte, error) {
	path := filepath.Join(f.dir, filepath.FromSlash(name))
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read %s: it has %d bytes; at most %d are read", name, info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	f.read = append(f.read, name)
	return data, nil
}

// json reads a file of the folder into v and says whether it is there.
func (f *folder) json(name string, v any) (bool, error) {
	data, err := f.file(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("read %s: %w", name, err)
	}
	return true, nil
}

// config reads and checks config.json.
func (f *folder) config() (modelConfig, error) {
	c := modelConfig{Act: "gelu", Position: "absolute", TokenTypes: 2, Eps: 1e-12}
	there, err := f.json("config.json", &c)
	if err != nil {
		return c, err
	}
	if !there {
		return c, errors.New("there is no config.json: this is not a model's folder")
	}
	type bound struct {
		name       string
		value, top int
	}
	var faults []error
	for _, b := range []bound{
		{"hidden_size", c.Hidden, 1 << 13},
		{"intermediate_size", c.Inner, 1 << 15},
		{"max_position_embeddings", c.Positions, 1 << 14},
		{"num_attention_heads", c.Heads, 1 << 8},
		{"num_hidden_layers", c.Layers, 1 << 7},
		{"type_vocab_size", c.TokenTypes, 1 << 6},
		{"vocab_size", c.Vocab, wordpiece.MaxTokens},
	} {
		if b.value < 1 || b.value > b.top {
			faults = append(faults, fmt.Errorf("config.json: %s is %d, outside 1 to %d", b.name, b.value, b.top))
		}
	}
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("config.json: "+format, args...))
		}
	}
	want(c.ModelType == "bert", "model_type is %q; only bert encoders are read", c.ModelType)
	want(c.Act == "gelu" || c.Act == "relu", "hidden_act is %q; only gelu and relu are known", c.Act)
	want(c.Position == "absolute", "position_embedding_type is %q; only absolute is known", c.Position)
	want(!c.Decoder, "is_decoder is set; only encoders are read")
	want(c.Eps > 0 && c.Eps < 1, "layer_norm_eps is %g, outside (0, 1)", c.Eps)
	want(c.Heads < 1 || c.Hidden%c.Heads == 0, "hidden_size %d is not a multiple of num_attention_heads %d", c.Hidden, c.Heads)
	return c, errors.Join(faults...)
}

// tail is what happens to the vectors of the tokens.
type tail struct {
	pooling   pooling
	normalise bool
}

// modules reads what sentence-transformers keeps besides the model. Without
// it the mean of all tokens is taken and normalised.
func (f *folder) modules() (tail, error) {
	var modules []struct {
		Path string `json:"path"`
		Type string `json:"type"`
	}
	there, err := f.json("modules.json", &modules)
	if err != nil {
		return tail{}, err
	}
	if !there {
		p, _, err := f.pooling("1_Pooling")
		return tail{pooling: p, normalise: true}, err
	}
	var t tail
	pooled := false
	for i, m := range modules {
		kind := m.Type[lastDot(m.Type):]
		switch {
		case kind == "Transformer" && i == 0 && m.Path == "":
		case kind == "Pooling" && i == 1:
			if !filepath.IsLocal(m.Path) {
				return tail{}, fmt.Errorf("modules.json: path %q leaves the folder", m.Path)
			}
			if t.pooling, pooled, err = f.pooling(m.Path); err != nil {
				return tail{}, err
			}
			if !pooled {
				return tail{}, fmt.Errorf("%s/config.json is missing, and modules.json names it", m.Path)
			}
		case kind == "Normalize" && pooled && !t.normalise:
			t.normalise = true
		default:
			return tail{}, fmt.Errorf("modules.json: module %d is a %s; only Transformer, Pooling and Normalize are known, in this order", i, kind)
		}
	}
	if !pooled {
		return tail{}, errors.New("modules.json lists no Pooling")
	}
	return t, nil
}

func lastDot(s string) int {
	for i := len(s); i > 0; i-- {
		if s[i-1] == '.' {
			return i
		}
	}
	return 0
}

func (f *folder) pooling(dir string) (pooling, bool, error) {
	var c struct {
		CLS      bool `json:"pooling_mode_cls_token"`
		Mean     bool `json:"pooling_mode_mean_tokens"`
		Max      bool `json:"pooling_mode_max_tokens"`
		Root     bool `json:"pooling_mode_mean_sqrt_len_tokens"`
		Weighted bool `json:"pooling_mode_weightedmean_tokens"`
		Last     bool `json:"pooling_mode_lasttoken"`
	}
	name := dir + "/config.json"
	there, err := f.json(name, &c)
	if err != nil || !there {
		return poolMean, false, err
	}
	if c.Root || c.Weighted || c.Last {
		return poolMean, true, fmt.Errorf("%s: only the pooling modes mean, cls and max are known", name)
	}
	switch struct{ mean, cls, max bool }{c.Mean, c.CLS, c.Max} {
	case struct{ mean, cls, max bool }{mean: true}:
		return poolMean, true, nil
	case struct{ mean, cls, max bool }{cls: true}:
		return poolCLS, true, nil
	case struct{ mean, cls, max bool }{max: true}:
		return poolMax, true, nil
	}
	return poolMean, true, fmt.Errorf("%s: exactly one pooling mode must be set", name)
}

// tokenizer reads tokenizer.json, or vocab.txt where there is none, and how
// many tokens a text may have.
func (f *folder) tokenizer(positions int) (*wordpiece.Tokenizer, int, error) {
	tok, err := f.vocabulary()
	if err != nil {
		return nil, 0, err
	}
	var s struct {
		Length int `json:"max_seq_length"`
	}
	if _, err := f.json("sentence_bert_config.json", &s); err != nil {
		return nil, 0, err
	}
	length := positions
	switch {
	case s.Length > 0:
		length = min(length, s.Length)
	case tok.Settings().Length > 0:
		length = min(length, tok.Settings().Length)
	}
	return tok, length, nil
}

func (f *folder) vocabulary() (*wordpiece.Tokenizer, error) {
	data, err := f.file("tokenizer.json")
	if err == nil {
		return wordpiece.FromJSON(data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	vocab, err := f.file("vocab.txt")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is neither tokenizer.json nor vocab.txt; only WordPiece tokenizers are read")
	}
	if err != nil {
		return nil, err
	}
	configuration, err := f.file("tokenizer_config.json")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return wordpiece.FromVocab(vocab, configuration)
}
