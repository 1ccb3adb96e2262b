// Package wordpiece turns text into the token ids that BERT models read, the
// same ids as the reference tokenizer of those models gives.
package wordpiece

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what a vocabulary may hold. They keep a hostile file from costing
// more memory than a real one.
const (
	MaxTokens     = 1 << 20 // ids are below it
	MaxTokenBytes = 1 << 10
)

// Settings say how text is read. The zero value reads nothing well: start
// from Uncased.
type Settings struct {
	Clean     bool // drop control characters, make all white space alike
	Chinese   bool // every Chinese character is a word
	Strip     bool // take accents away
	Lowercase bool

	Unknown  string // the token for words that cannot be spelt
	Continue string // what tokens inside words begin with
	MaxWord  int    // longer words, in characters, are unknown

	Before, After []string // tokens around every text
	// Special tokens are found in the text as they are written, before
	// anything else is done to it.
	Special []string
	// Length is the most ids that a text should give, 0 when the files do not
	// say.
	Length int
}

// Uncased is how the English models of 2018 and most small models since read.
func Uncased() Settings {
	return Settings{
		Clean: true, Chinese: true, Strip: true, Lowercase: true,
		Unknown: "[UNK]", Continue: "##", MaxWord: 100,
		Before: []string{"[CLS]"}, After: []string{"[SEP]"},
		Special: []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"},
	}
}

// Tokenizer turns text into ids. It is immutable and safe for concurrent use,
// and encoding allocates nothing.
type Tokenizer struct {
	set           Settings
	chars         *characters
	words         vocabulary
	unknown       int32
	before, after []int32
	special       []special
	specialFirst  [256]bool // bytes with which a special token begins
	size          int
}

type special struct {
	text string
	id   int32
}

// New makes a tokenizer from the tokens of a vocabulary, which are its ids'
// names: tokens[7] has id 7. Empty tokens are gaps.
func New(tokens []string, set Settings) (*Tokenizer, error) {
	if len(tokens) == 0 || len(tokens) > MaxTokens {
		return nil, fmt.Errorf("vocabulary has %d tokens; 1 to %d can be read", len(tokens), MaxTokens)
	}
	if set.MaxWord < 1 || set.MaxWord > maxWord {
		return nil, fmt.Errorf("words of at most %d characters are read, not %d", maxWord, set.MaxWord)
	}
	t := &Tokenizer{set: set, chars: newCharacters(set), size: len(tokens)}
	ids := make(map[string]int32, len(tokens))
	for id, token := range tokens {
		if len(token) > MaxTokenBytes {
			return nil, fmt.Errorf("token %d has %d bytes; at most %d are read", id, len(token), MaxTokenBytes)
		}
		if token != "" {
			ids[token] = int32(id)
		}
	}
	var missing error
	find := func(token, role string) int32 {
		id, ok := ids[token]
		if !ok {
			missing = errors.Join(missing, fmt.Errorf("vocabulary lacks the %s token %q", role, token))
		}
		return id
	}
	t.unknown = find(set.Unknown, "unknown-word")
	for _, token := range set.Before {
		t.before = append(t.before, find(token, "first"))
	}
	for _, token := range set.After {
		t.after = append(t.after, find(token, "last"))
	}
	for _, token := range set.Special {
		if token == "" {
			missing = errors.Join(missing, errors.New("a special token is empty"))
			continue
		}
		t.special = append(t.special, special{token, find(token, "special")})
		t.specialFirst[token[0]] = true
	}
	if missing != nil {
		return nil, missing
	}
	// The longest special token wins where several begin at one place.
	slices.SortStableFunc(t.special, func(a, b special) int { return len(b.text) - len(a.text) })
	t.words = newVocabulary(ids, set.Continue)
	return t, nil
}

// Size is the number of ids: every id is below it.
func (t *Tokenizer) Size() int { return t.size }

// Settings are how it reads.
func (t *Tokenizer) Settings() Settings { return t.set }

// Encode appends to ids those of a text, the tokens before and after it
// included, at most limit in all; what is beyond is cut off the text's end. A
// limit smaller than the tokens around the text leaves these alone. Invalid
// UTF-8 reads as U+FFFD, which cleaning drops.
func (t *Tokenizer) Encode(ids []int32, text string, limit int) []int32 {
	return t.EncodeAfter(ids, nil, text, limit)
}

// EncodeAfter is Encode of a text that begins with another, whose ids are
// known (see Inner). What the two meet at must separate words.
func (t *Tokenizer) EncodeAfter(ids, first []int32, text string, limit int) []int32 {
	start := len(ids)
	ids = append(ids, t.before...)
	end := start + max(limit-len(t.after), len(t.before))
	ids = append(ids, first[:min(len(first), end-len(ids))]...)
	if len(t.special) == 0 {
		ids = t.plain(ids, text, end)
	} else {
		ids = t.around(ids, text, end)
	}
	return append(ids, t.after...)
}

// Inner is the ids of a text without those before and after it.
func (t *Tokenizer) Inner(text string) []int32 {
	ids := t.Encode(nil, text, MaxTokens)
	return ids[len(t.before) : len(ids)-len(t.after)]
}

// around reads the text between special tokens, and these.
func (t *Tokenizer) around(ids []int32, text string, end int) []int32 {
	from := 0
	for i := 0; i < len(text) && len(ids) < end; {
		if !t.specialFirst[text[i]] {
			i++
			continue
		}
		s := t.specialAt(text[i:])
		if s == nil {
			i++
			continue
		}
		ids = t.plain(ids, text[from:i], end)
		if len(ids) < end {
			ids = append(ids, s.id)
		}
		i += len(s.text)
		from = i
	}
	return t.plain(ids, text[from:], end)
}

func (t *Tokenizer) specialAt(text string) *special {
	for i := range t.special {
		if strings.HasPrefix(text, t.special[i].text) {
			return &t.special[i]
		}
	}
	return nil
}

// word is the word being read, as UTF-8.
type word struct {
	bytes [maxWord * utf8.UTFMax]byte
	n     int // bytes, of which there may be more than fit
	chars int
	run   int // where the characters begin that combine with the last starter
}

func (w *word) reset() { w.n, w.chars, w.run = 0, 0, 0 }

// plain reads text without special tokens and appends ids up to end.
func (t *Tokenizer) plain(ids []int32, text string, end int) []int32 {
	var w word
	c := t.chars
	for i := 0; i < len(text) && len(ids) < end; {
		b := text[i]
		if b >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			ids = t.wide(ids, &w, r)
			i += size
			continue
		}
		i++
		switch c.ascii[b] & (drop | space | alone) {
		case 0:
			if w.chars < maxWord {
				w.bytes[w.n] = c.asciiFold[b]
				w.n++
				w.run = w.n
			}
			w.chars++
		case space:
			ids = t.flush(ids, &w)
		case alone:
			ids = t.flush(ids, &w)
			if len(ids) < end {
				w.bytes[0], w.n, w.chars = c.asciiFold[b], 1, 1
				ids = t.flush(ids, &w)
			}
		}
	}
	if len(ids) < end {
		ids = t.flush(ids, &w)
	}
	return ids[:min(len(ids), max(end, 0))]
}

// wide reads one character that is not ASCII.
func (t *Tokenizer) wide(ids []int32, w *word, r rune) []int32 {
	c := t.chars
	p := c.properties(r)
	switch {
	case p&drop != 0:
		return ids
	case p&ideograph != 0:
		ids = t.flush(ids, w)
		ids = t.folded(ids, w, r, p)
		return t.flush(ids, w)
	}
	return t.folded(ids, w, r, p)
}

// folded appends what a character becomes when it is stripped and lower-cased.
func (t *Tokenizer) folded(ids []int32, w *word, r rune, p property) []int32 {
	if p&changes == 0 {
		return t.char(ids, w, r, p)
	}
	if parts, ok := t.chars.fold[r]; ok {
		if parts == "" && p&combines == 0 {
			w.run = w.n // it is gone, but kept what came before from moving
		}
		for _, s := range parts {
			ids = t.char(ids, w, s, t.chars.properties(s))
		}
		return ids
	}
	// A Hangul syllable, by the arithmetic of the Unicode standard.
	const base, vowels, tails = 0xac00, 21, 28
	s := r - base
	ids = t.char(ids, w, 0x1100+s/(vowels*tails), 0)
	ids = t.char(ids, w, 0x1161+s%(vowels*tails)/tails, 0)
	if s%tails != 0 {
		ids = t.char(ids, w, 0x11a7+s%tails, 0)
	}
	return ids
}

// char appends one character to the word, or ends the word with it.
func (t *Tokenizer) char(ids []int32, w *word, r rune, p property) []int32 {
	if p&(space|alone) != 0 {
		ids = t.flush(ids, w)
		if p&space != 0 {
			return ids
		}
	}
	if w.chars < maxWord {
		w.n += utf8.EncodeRune(w.bytes[w.n:w.n+utf8.UTFMax:len(w.bytes)], r)
		switch {
		case p&combines == 0:
			w.run = w.n
		case t.set.Strip:
			t.order(w, r)
		}
	}
	w.chars++
	if p&alone != 0 {
		ids = t.flush(ids, w)
	}
	return ids
}

// order moves the last character of the word, r, before those of a higher
// combining class: the canonical order.
func (t *Tokenizer) order(w *word, r rune) {
	class := t.chars.class[r]
	size := utf8.RuneLen(r)
	at := w.n - size
	for at > w.run {
		before, n := utf8.DecodeLastRune(w.bytes[w.run:at])
		if t.chars.class[before] <= class {
			break
		}
		copy(w.bytes[at-n+size:], w.bytes[at-n:at])
		utf8.EncodeRune(w.bytes[at-n:], r)
		at -= n
	}
}

// flush appends the ids of the word and empties it.
func (t *Tokenizer) flush(ids []int32, w *word) []int32 {
	if w.chars == 0 {
		w.reset()
		return ids
	}
	if w.chars > t.set.MaxWord {
		ids = append(ids, t.unknown)
	} else {
		ids = t.words.spell(ids, w.bytes[:w.n], t.unknown)
	}
	w.reset()
	return ids
}

// Lines splits a vocab.txt: a token a line, its id being the line's number.
func Lines(vocab []byte) []string {
	vocab = bytes.TrimSuffix(vocab, []byte("\n"))
	tokens := strings.Split(string(vocab), "\n")
	for i := range tokens {
		tokens[i] = strings.TrimRight(tokens[i], "\r")
	}
	return tokens
}
