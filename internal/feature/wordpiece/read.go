package wordpiece

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// file is what is read of a tokenizer.json.
type file struct {
	Truncation *struct {
		MaxLength int    `json:"max_length"`
		Strategy  string `json:"strategy"`
		Direction string `json:"direction"`
	} `json:"truncation"`
	AddedTokens []addedToken `json:"added_tokens"`
	Normalizer  *struct {
		Type    string `json:"type"`
		Clean   *bool  `json:"clean_text"`
		Chinese *bool  `json:"handle_chinese_chars"`
		Strip   *bool  `json:"strip_accents"`
		Lower   *bool  `json:"lowercase"`
	} `json:"normalizer"`
	PreTokenizer *struct {
		Type string `json:"type"`
	} `json:"pre_tokenizer"`
	PostProcessor *postProcessor `json:"post_processor"`
	Model         struct {
		Type     string           `json:"type"`
		Unknown  string           `json:"unk_token"`
		Continue *string          `json:"continuing_subword_prefix"`
		MaxWord  *int             `json:"max_input_chars_per_word"`
		Vocab    map[string]int32 `json:"vocab"`
	} `json:"model"`
}

type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	Special    bool   `json:"special"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
}

type postProcessor struct {
	Type   string          `json:"type"`
	Cls    json.RawMessage `json:"cls"` // of BertProcessing: a token and its id
	Sep    json.RawMessage `json:"sep"`
	Single []struct {
		Special *struct {
			ID string `json:"id"`
		} `json:"SpecialToken"`
		Sequence *struct {
			ID string `json:"id"`
		} `json:"Sequence"`
	} `json:"single"`
	SpecialTokens map[string]struct {
		Tokens []string `json:"tokens"`
	} `json:"special_tokens"`
}

// FromJSON reads a tokenizer.json. What it asks for that WordPiece models do
// not need is refused, never ignored.
func FromJSON(data []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("read tokenizer.json: %w", err)
	}
	set, err := f.settings()
	if err != nil {
		return nil, fmt.Errorf("read tokenizer.json: %w", err)
	}
	tokens, err := f.tokens()
	if err != nil {
		return nil, fmt.Errorf("read tokenizer.json: %w", err)
	}
	t, err := New(tokens, set)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer.json: %w", err)
	}
	return t, nil
}

func (f *file) settings() (Settings, error) {
	set := Uncased()
	set.Special = nil
	if f.Model.Type != "WordPiece" && f.Model.Type != "" {
		return set, fmt.Errorf("the model is %s; only WordPiece vocabularies, those of BERT models, are read", f.Model.Type)
	}
	if f.Normalizer == nil || f.Normalizer.Type != "BertNormalizer" {
		return set, errors.New("the normalizer is not a BertNormalizer")
	}
	if f.PreTokenizer == nil || f.PreTokenizer.Type != "BertPreTokenizer" {
		return set, errors.New("the pre-tokenizer is not a BertPreTokenizer")
	}
	n := f.Normalizer
	set.Clean, set.Chinese, set.Lowercase = isTrue(n.Clean, true), isTrue(n.Chinese, true), isTrue(n.Lower, true)
	set.Strip = isTrue(n.Strip, set.Lowercase)
	if f.Model.Unknown != "" {
		set.Unknown = f.Model.Unknown
	}
	if f.Model.Continue != nil {
		set.Continue = *f.Model.Continue
	}
	if f.Model.MaxWord != nil {
		set.MaxWord = *f.Model.MaxWord
	}
	if t := f.Truncation; t != nil {
		if t.Direction == "Left" {
			return set, errors.New("texts are cut at their beginning; only cutting at the end is known")
		}
		set.Length = t.MaxLength
	}
	for _, a := range f.AddedTokens {
		switch {
		case a.SingleWord || a.LStrip || a.RStrip:
			return set, fmt.Errorf("added token %q takes white space or word edges into account; that is not known", a.Content)
		case a.Normalized && a.Content != "" && !isSymbol(a.Content):
			return set, fmt.Errorf("added token %q is found in normalized text; that is not known", a.Content)
		}
		set.Special = append(set.Special, a.Content)
	}
	var err error
	set.Before, set.After, err = f.PostProcessor.surround()
	return set, err
}

// isSymbol says whether a token is written the same in normalized text.
func isSymbol(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool {
		return r >= 0x80 || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	})
}

func isTrue(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

// surround finds the tokens before and after a text.
func (p *postProcessor) surround() (before, after []string, err error) {
	switch {
	case p == nil:
		return nil, nil, nil
	case p.Type == "BertProcessing":
		cls, err1 := pairToken(p.Cls)
		sep, err2 := pairToken(p.Sep)
		return []string{cls}, []string{sep}, errors.Join(err1, err2)
	case p.Type != "TemplateProcessing":
		return nil, nil, fmt.Errorf("the post-processor is %s; only BertProcessing and TemplateProcessing are known", p.Type)
	}
	texts := 0
	for _, piece := range p.Single {
		switch {
		case piece.Sequence != nil:
			texts++
		case piece.Special != nil:
			tokens := []string{piece.Special.ID}
			if s, ok := p.SpecialTokens[piece.Special.ID]; ok && len(s.Tokens) > 0 {
				tokens = s.Tokens
			}
			if texts == 0 {
				before = append(before, tokens...)
			} else {
				after = append(after, tokens...)
			}
		}
	}
	if texts != 1 {
		return nil, nil, fmt.Errorf("the template holds the text %d times, not once", texts)
	}
	return before, after, nil
}

// pairToken reads the token of a pair such as ["[CLS]", 101].
func pairToken(raw json.RawMessage) (string, error) {
	var pair []json.RawMessage
	if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
		return "", errors.New("the post-processor's cls and sep are not pairs of a token and its id")
	}
	var token string
	if err := json.Unmarshal(pair[0], &token); err != nil {
		return "", fmt.Errorf("read a token of the post-processor: %w", err)
	}
	return token, nil
}

// tokens are the names of all ids, added tokens included.
func (f *file) tokens() ([]string, error) {
	if len(f.Model.Vocab) == 0 {
		return nil, errors.New("there is no vocabulary")
	}
	last := int32(-1)
	for _, id := range f.Model.Vocab {
		last = max(last, id)
	}
	for _, a := range f.AddedTokens {
		last = max(last, a.ID)
	}
	if last < 0 || last >= MaxTokens {
		return nil, fmt.Errorf("the highest id is %d; it must be below %d", last, MaxTokens)
	}
	tokens := make([]string, last+1)
	put := func(token string, id int32) error {
		switch {
		case id < 0:
			return fmt.Errorf("token %q has id %d", token, id)
		case tokens[id] != "" && tokens[id] != token:
			return fmt.Errorf("tokens %q and %q share id %d", tokens[id], token, id)
		}
		tokens[id] = token
		return nil
	}
	for token, id := range f.Model.Vocab {
		if err := put(token, id); err != nil {
			return nil, err
		}
	}
	for _, a := range f.AddedTokens {
		if id, ok := f.Model.Vocab[a.Content]; ok && id != a.ID {
			return nil, fmt.Errorf("added token %q has id %d, but %d in the vocabulary", a.Content, a.ID, id)
		}
		if err := put(a.Content, a.ID); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// config is what is read of a tokenizer_config.json.
type config struct {
	Lower   *bool   `json:"do_lower_case"`
	Strip   *bool   `json:"strip_accents"`
	Chinese *bool   `json:"tokenize_chinese_chars"`
	Class   *string `json:"tokenizer_class"`
	Length  float64 `json:"model_max_length"` // 1e30 stands for no limit
}

// FromVocab reads a vocab.txt together with its tokenizer_config.json, which
// may be nil: then text is read as by Uncased.
func FromVocab(vocab, configuration []byte) (*Tokenizer, error) {
	set := Uncased()
	if configuration != nil {
		var c config
		if err := json.Unmarshal(configuration, &c); err != nil {
			return nil, fmt.Errorf("read tokenizer_config.json: %w", err)
		}
		if c.Class != nil && !slices.Contains([]string{"BertTokenizer", "BertTokenizerFast"}, *c.Class) {
			return nil, fmt.Errorf("read tokenizer_config.json: tokenizer_class is %q; only BertTokenizer is known", *c.Class)
		}
		set.Lowercase = isTrue(c.Lower, true)
		set.Strip = isTrue(c.Strip, set.Lowercase)
		set.Chinese = isTrue(c.Chinese, true)
		if c.Length >= 1 && c.Length < MaxTokens {
			set.Length = int(c.Length)
		}
	}
	t, err := New(Lines(vocab), set)
	if err != nil {
		return nil, fmt.Errorf("read vocab.txt: %w", err)
	}
	return t, nil
}
