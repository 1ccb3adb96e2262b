// Package text turns text into sparse features: hashed words, pairs of words
// and pieces of words, weighted by how rare they are.
package text

import (
	"unicode"
	"unicode/utf8"

	"tandem"
)

// MaxBytes is how much of a text is read; what follows is ignored. It bounds
// the time and memory that one input can cost.
const MaxBytes = 8 << 10

// The blocks of features. Each is normalised apart, so that the many pieces
// of words do not drown the few words.
const (
	Word = iota // single words and pairs of neighbours
	Skip        // pairs of words with one or two words between them
	Char        // pieces of 2 to 5 characters within words, edges marked
	Blocks
)

// Name identifies the features this package makes; a change of them that
// trained models would notice changes the name.
const Name = "text-1"

// Vector holds the features of one text: distinct 32-bit keys with counts,
// block after block. It is scratch: Fill overwrites it and allocates only
// while it grows. Use one per goroutine.
type Vector struct {
	Keys   []uint32
	Counts []uint16    // how often each key occurred, at least 1
	End    [Blocks]int // block b is Keys[End[b-1]:End[b]]
	Words  int         // words read

	runes []rune
	words []word
	table []uint32 // open addressing: index into Keys plus one
	mask  uint32
}

// word is a span of the lower-cased runes and its hash.
type word struct {
	from, to int
	hash     uint64
}

// NewVector makes an empty vector.
func NewVector() *Vector { return &Vector{} }

// Fill reads the text parts of an input, in order, up to MaxBytes in all.
func (v *Vector) Fill(in *tandem.Input) {
	v.runes, v.words = v.runes[:0], v.words[:0]
	left := MaxBytes
	for i := range in.Parts {
		if in.Parts[i].Kind == tandem.Text && left > 0 {
			left -= v.split(in.Parts[i].Text, left)
		}
	}
	v.features()
}

// Block is the range of keys of a block.
func (v *Vector) Block(b int) (from, to int) {
	if b > 0 {
		from = v.End[b-1]
	}
	return from, v.End[b]
}

// edge marks the start and the end of a word among its runes.
const edge = ' '

// split appends the words of s and returns how many bytes of it were read.
// A word is a run of letters, marks and digits; an apostrophe inside a word
// is dropped. Everything else separates words, except that a symbol such as an
// emoji or a currency sign is a word of its own, and so are ? and !.
func (v *Vector) split(s string, limit int) int {
	if len(s) > limit {
		s = s[:limit]
	}
	from := -1 // start of the open word in v.runes
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		var kind byte
		if r < utf8.RuneSelf {
			kind = ascii[r]
			if kind == upper {
				r, kind = r+'a'-'A', inside
			}
		} else {
			r, size = utf8.DecodeRuneInString(s[i:])
			kind = classify(r, size)
			r = unicode.ToLower(r)
		}
		i += size
		if kind == quote {
			if from >= 0 {
				continue
			}
			kind = between
		}
		if kind != inside && from >= 0 {
			v.close(from)
			from = -1
		}
		if kind == between {
			continue
		}
		if from < 0 {
			from = len(v.runes)
			v.runes = append(v.runes, edge)
		}
		v.runes = append(v.runes, r)
		if kind == alone {
			v.close(from)
			from = -1
		}
	}
	if from >= 0 {
		v.close(from)
	}
	return len(s)
}

func (v *Vector) close(from int) {
	h := uint64(seedWord)
	for _, r := range v.runes[from+1:] {
		h = mix(h, uint64(r))
	}
	v.runes = append(v.runes, edge)
	v.words = append(v.words, word{from, len(v.runes), h})
}

// How a character takes part in words.
const (
	between = iota // separates words
	inside         // belongs to a word
	upper          // belongs to a word after lower-casing (ASCII only)
	alone          // is a word of its own
	quote          // vanishes inside a word
)

var ascii = func() (t [utf8.RuneSelf]byte) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			t[c] = inside
		case c >= 'A' && c <= 'Z':
			t[c] = upper
		case c == '\'':
			t[c] = quote
		case c == '?', c == '!', c == '$', c == '%':
			t[c] = alone
		}
	}
	return t
}()

func classify(r rune, size int) byte {
	switch {
	case r == utf8.RuneError && size <= 1:
		return between
	case r == '’':
		return quote
	case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
		return inside
	case unicode.IsSymbol(r):
		return alone
	default:
		return between
	}
}

const (
	seedWord = 0x8f1bbcdcbfa53e0b
	seedPair = 0x3c6ef372fe94f82b
	seedSkip = 0xa54ff53a5f1d36f1
	seedChar = 0x510e527fade682d1
	factor   = 0x9e3779b97f4a7c15
)

func mix(h, x uint64) uint64 {
	h = (h ^ x) * factor
	return h ^ h>>32
}

// features derives the keys of all blocks from the words.
func (v *Vector) features() {
	v.Keys, v.Counts, v.Words = v.Keys[:0], v.Counts[:0], len(v.words)
	v.reserve(4*len(v.words) + 4*len(v.runes))
	w := v.words
	for i := range w {
		v.add(w[i].hash)
		if i+1 < len(w) {
			v.add(mix(mix(seedPair, w[i].hash), w[i+1].hash))
		}
	}
	v.End[Word] = len(v.Keys)
	for i := range w {
		if i+2 < len(w) {
			v.add(mix(mix(seedSkip, w[i].hash), w[i+2].hash))
		}
		if i+3 < len(w) {
			v.add(mix(mix(seedSkip, w[i].hash), w[i+3].hash))
		}
	}
	v.End[Skip] = len(v.Keys)
	for i := range w {
		v.pieces(v.runes[w[i].from:w[i].to])
	}
	v.End[Char] = len(v.Keys)
}

// pieces adds the character 2- to 5-grams of one word with its edges.
func (v *Vector) pieces(r []rune) {
	for i := range r {
		h := mix(seedChar, uint64(r[i]))
		for _, c := range r[i+1 : min(i+5, len(r))] {
			h = mix(h, uint64(c))
			v.add(h)
		}
	}
}

// reserve empties the table and sizes it for n keys at half load.
func (v *Vector) reserve(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	if size > len(v.table) {
		v.table = make([]uint32, size)
	}
	v.mask = uint32(size - 1)
	clear(v.table[:size])
}

// add counts one occurrence of a feature.
func (v *Vector) add(h uint64) {
	key := uint32(h)
	for slot := uint32(h>>32) & v.mask; ; slot = (slot + 1) & v.mask {
		at := v.table[slot]
		if at == 0 {
			v.Keys = append(v.Keys, key)
			v.Counts = append(v.Counts, 1)
			v.table[slot] = uint32(len(v.Keys))
			return
		}
		if v.Keys[at-1] == key {
			if v.Counts[at-1] < 1<<16-1 {
				v.Counts[at-1]++
			}
			return
		}
	}
}

// Fits says why text features cannot serve a task, or nil.
func Fits(task tandem.Task) error {
	for _, k := range task.Takes {
		if k != tandem.Text {
			return tandem.Errorf(tandem.UnsupportedModality, "takes %s; this family reads text only", k)
		}
	}
	return nil
}
