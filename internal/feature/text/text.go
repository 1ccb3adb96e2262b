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

	runes  []rune
	words  []word
	hashes []uint64 // of all features, repeated ones too
	table  []uint64 // open addressing: key in the high half, index into Keys plus one in the low
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
	v.Words = len(v.words)
	// No character begins more than four pieces and no word more than four of
	// the other features.
	v.reserve(4*len(v.words) + 4*len(v.runes))
	w, h := v.words, v.hashes[:0]
	for i := range w {
		h = append(h, w[i].hash)
		if i+1 < len(w) {
			h = append(h, mix(mix(seedPair, w[i].hash), w[i+1].hash))
		}
	}
	v.count(Word, h)
	h = h[:0]
	for i := range w {
		if i+2 < len(w) {
			h = append(h, mix(mix(seedSkip, w[i].hash), w[i+2].hash))
		}
		if i+3 < len(w) {
			h = append(h, mix(mix(seedSkip, w[i].hash), w[i+3].hash))
		}
	}
	v.count(Skip, h)
	h = h[:0]
	for i := range w {
		h = pieces(h, v.runes[w[i].from:w[i].to])
	}
	v.count(Char, h)
}

// pieces appends the character 2- to 5-grams of one word with its edges; h
// has room for them.
func pieces(h []uint64, r []rune) []uint64 {
	n := len(h)
	h = h[:cap(h)]
	// The last four characters begin fewer than four pieces.
	for len(r) >= 5 {
		a := mix(mix(seedChar, uint64(r[0])), uint64(r[1]))
		b := mix(a, uint64(r[2]))
		c := mix(b, uint64(r[3]))
		to := h[n : n+4]
		to[0], to[1], to[2], to[3] = a, b, c, mix(c, uint64(r[4]))
		n += 4
		r = r[1:]
	}
	for ; len(r) >= 2; r = r[1:] {
		x := mix(seedChar, uint64(r[0]))
		for _, c := range r[1:] {
			x = mix(x, uint64(c))
			h[n] = x
			n++
		}
	}
	return h[:n]
}

// reserve empties the vector and makes room for n features, the table at most
// half full.
func (v *Vector) reserve(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	if size > cap(v.table) {
		v.table = make([]uint64, size)
		v.hashes = make([]uint64, size/2)
		v.Keys, v.Counts = make([]uint32, 0, size/2), make([]uint16, 0, size/2)
	}
	v.table = v.table[:size]
	v.Keys, v.Counts = v.Keys[:0], v.Counts[:0]
	clear(v.table)
}

// count ends a block: it counts the occurrences of the features given.
func (v *Vector) count(block int, hashes []uint64) {
	n := len(v.Keys)
	keys, counts, table := v.Keys[:cap(v.Keys)], v.Counts[:cap(v.Counts)], v.table
	for _, h := range hashes {
		key := uint32(h)
		slot := int(h>>32) & (len(table) - 1)
		at := table[slot]
		for at != 0 && at>>32 != h&(1<<32-1) {
			slot = (slot + 1) & (len(table) - 1)
			at = table[slot]
		}
		if at == 0 {
			keys[n], counts[n] = key, 1
			n++
			table[slot] = uint64(key)<<32 | uint64(n)
		} else if c := &counts[uint32(at)-1]; *c < 1<<16-1 {
			*c++
		}
	}
	v.Keys, v.Counts, v.End[block] = keys[:n], counts[:n], n
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
