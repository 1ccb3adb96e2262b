package wordpiece

import "strings"

// maxWord is the longest word in characters that any setting may allow.
const maxWord = 256

// vocabulary finds the longest token at the beginning of a word. It is a hash
// table with open addressing whose hash grows byte by byte, so that one pass
// over a word hashes all its beginnings.
type vocabulary struct {
	slots   []slot
	mask    uint64
	text    string // of all tokens, one after the other
	longest int    // bytes of the longest token
}

// slot is a token; the empty one has length 0.
type slot struct {
	hash   uint32
	id     int32
	offset uint32
	length uint16
	inner  bool // begins inside a word
}

// FNV-1a, begun differently for tokens inside words.
const (
	hashStart = 0xcbf29ce484222325
	hashInner = 0x84222325cbf29ce4
	hashPrime = 0x100000001b3
)

func newVocabulary(ids map[string]int32, inner string) vocabulary {
	size := uint64(16)
	for size < uint64(len(ids))*5/2 {
		size *= 2
	}
	v := vocabulary{slots: make([]slot, size), mask: size - 1}
	var text strings.Builder
	for token, id := range ids {
		v.put(&text, token, id, false)
		if rest, ok := strings.CutPrefix(token, inner); ok && rest != "" {
			v.put(&text, rest, id, true)
		}
	}
	v.text = text.String()
	return v
}

// put adds a token that is not there yet.
func (v *vocabulary) put(text *strings.Builder, token string, id int32, inner bool) {
	h := uint64(hashStart)
	if inner {
		h = hashInner
	}
	for i := range len(token) {
		h = (h ^ uint64(token[i])) * hashPrime
	}
	i := v.index(h)
	for v.slots[i].length != 0 {
		i = (i + 1) & v.mask
	}
	v.slots[i] = slot{
		hash: uint32(h), id: id, inner: inner,
		offset: uint32(text.Len()), length: uint16(len(token)),
	}
	text.WriteString(token)
	v.longest = max(v.longest, len(token))
}

func (v *vocabulary) index(h uint64) uint64 { return (h ^ h>>32) & v.mask }

// find returns the id of a token whose hash is known, or -1.
func (v *vocabulary) find(h uint64, token []byte, inner bool) int32 {
	for i := v.index(h); ; i = (i + 1) & v.mask {
		s := &v.slots[i]
		if s.length == 0 {
			return -1
		}
		if uint64(s.hash) == h&(1<<32-1) && int(s.length) == len(token) && s.inner == inner &&
			v.text[s.offset:s.offset+uint32(s.length)] == string(token) {
			return s.id
		}
	}
}

// spell appends the ids of a word: again and again the longest token that
// what is left begins with. A word with a rest that nothing begins is
// unknown as a whole.
func (v *vocabulary) spell(ids []int32, word []byte, unknown int32) []int32 {
	h := uint64(hashStart)
	for _, b := range word {
		h = (h ^ uint64(b)) * hashPrime
	}
	if id := v.find(h, word, false); id >= 0 {
		return append(ids, id)
	}
	return v.pieces(ids, word, unknown)
}

func (v *vocabulary) pieces(ids []int32, word []byte, unknown int32) []int32 {
	start := len(ids)
	for from := 0; from < len(word); {
		h := uint64(hashStart)
		if from > 0 {
			h = hashInner
		}
		rest := word[from:min(len(word), from+v.longest)]
		best, length := int32(-1), 0
		for i, b := range rest {
			h = (h ^ uint64(b)) * hashPrime
			if id := v.find(h, rest[:i+1], from > 0); id >= 0 {
				best, length = id, i+1
			}
		}
		if best < 0 {
			return append(ids[:start], unknown)
		}
		ids = append(ids, best)
		from += length
	}
	return ids
}
