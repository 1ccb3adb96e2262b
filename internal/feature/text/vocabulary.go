package text

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
)

// Sparse is a weighted feature vector over the rows of a vocabulary.
type Sparse struct {
	Index  []uint32
	Value  []float32
	Unseen float32 // share of the text's keys that the vocabulary lacks, in [0, 1]

	slots []slot // where the keys of a block should be
}

// Vocabulary maps keys to consecutive rows with their inverse document
// frequency. It is immutable and safe for concurrent use.
type Vocabulary struct {
	keys  []uint32 // by row
	idf   []float32
	slots []slot // open addressing, a power of two, at most half full
	mask  uint32
}

// slot holds a key in the high half and its row plus one in the low half; 0
// is empty.
type slot uint64

func newSlot(key uint32, row int) slot { return slot(key)<<32 | slot(row+1) }

func (s slot) key() uint32 { return uint32(s >> 32) }

// row is the row plus one, 0 of an empty slot.
func (s slot) row() uint32 { return uint32(s) }

// Corpus counts keys over many texts, to choose a vocabulary from.
type Corpus struct {
	docs  int
	count map[uint32]uint32
}

// NewCorpus makes an empty corpus.
func NewCorpus() *Corpus { return &Corpus{count: make(map[uint32]uint32)} }

// Add counts the distinct keys of one text.
func (c *Corpus) Add(v *Vector) {
	c.docs++
	for _, k := range v.Keys {
		c.count[k]++
	}
}

// Vocabulary keeps the keys found in at least minDocs texts, the most
// frequent when there are more than maxKeys.
func (c *Corpus) Vocabulary(minDocs, maxKeys int) *Vocabulary {
	type entry struct{ key, docs uint32 }
	all := make([]entry, 0, len(c.count))
	for k, n := range c.count {
		if int(n) >= minDocs {
			all = append(all, entry{k, n})
		}
	}
	// Order by frequency, then key: frequent rows lie together in memory, and
	// the order does not depend on the map.
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.docs, a.docs), cmp.Compare(a.key, b.key))
	})
	if len(all) > maxKeys {
		all = all[:maxKeys]
	}
	keys, idf := make([]uint32, len(all)), make([]float32, len(all))
	for i, e := range all {
		keys[i] = e.key
		idf[i] = float32(math.Log((1+float64(c.docs))/(1+float64(e.docs))) + 1)
	}
	return index(keys, idf)
}

func index(keys []uint32, idf []float32) *Vocabulary {
	size := 16
	for size < 2*len(keys) {
		size *= 2
	}
	v := &Vocabulary{keys: keys, idf: idf, slots: make([]slot, size), mask: uint32(size - 1)}
	for row, k := range keys {
		s := spread(k) & v.mask
		for v.slots[s] != 0 {
			s = (s + 1) & v.mask
		}
		v.slots[s] = newSlot(k, row)
	}
	return v
}

func spread(k uint32) uint32 { k *= 0x9e3779b1; return k ^ k>>15 }

// Len is the number of rows.
func (v *Vocabulary) Len() int { return len(v.keys) }

// find returns the row of a key plus one, 0 when it is unknown.
func (v *Vocabulary) find(k uint32) uint32 {
	for s := spread(k) & v.mask; ; s = (s + 1) & v.mask {
		if e := v.slots[s]; e.key() == k || e == 0 {
			return e.row()
		}
	}
}

// Weights are the lengths the blocks are normalised to.
type Weights [Blocks]float32

// Weigh fills s with the TF-IDF weights of the known keys: (1 + ln count) ·
// idf, each block scaled to the length w gives it, blocks of length 0 left
// out. Unknown keys are left out and counted.
func (v *Vocabulary) Weigh(x *Vector, w Weights, s *Sparse) {
	if n := len(x.Keys); cap(s.Index) < n || cap(s.slots) < n {
		s.Index, s.Value, s.slots = make([]uint32, n), make([]float32, n), make([]slot, n)
	}
	found, total := 0, 0
	for b := range Blocks {
		if w[b] == 0 {
			continue
		}
		from, to := x.Block(b)
		n := v.look(x.Keys[from:to], x.Counts[from:to], s.slots[:to-from], s.Index[found:cap(s.Index)], s.Value[found:cap(s.Value)])
		scale(s.Value[found:found+n], w[b])
		total += to - from
		found += n
	}
	s.Index, s.Value, s.Unseen = s.Index[:found], s.Value[:found], 0
	if total > 0 {
		s.Unseen = float32(total-found) / float32(total)
	}
}

// look finds the keys and says how many are known; their rows and unscaled
// weights go to index and value. The table is larger than the caches, so
// that all places are read before anything depends on what is found there:
// the processor then waits for many at once.
func (v *Vocabulary) look(keys []uint32, counts []uint16, slots []slot, index []uint32, value []float32) int {
	slots = slots[:len(keys)]
	table := v.slots
	for i, k := range keys {
		slots[i] = table[int(spread(k))&(len(table)-1)]
	}
	n := 0
	for i, k := range keys {
		e := slots[i]
		row := e.row()
		if e.key() != k && e != 0 {
			row = v.find(k)
		}
		if row != 0 {
			index[n], value[n] = row-1, float32(counts[i])
			n++
		}
	}
	index, value = index[:n], value[:n]
	for i, row := range index {
		c := value[i]
		t := v.idf[row]
		if c > 1 {
			t *= 1 + logCount(c)
		}
		value[i] = t
	}
	return n
}

// scale brings x to a length.
func scale(x []float32, length float32) {
	var sum float32
	for _, t := range x {
		sum += t * t
	}
	if sum > 0 {
		by := length / float32(math.Sqrt(float64(sum)))
		for i := range x {
			x[i] *= by
		}
	}
}

var logs = func() (t [64]float32) {
	for i := 1; i < len(t); i++ {
		t[i] = float32(math.Log(float64(i)))
	}
	return t
}()

// logCount is the logarithm of a whole number.
func logCount(c float32) float32 {
	if int(c) < len(logs) {
		return logs[int(c)]
	}
	return float32(math.Log(float64(c)))
}

// MaxVocabulary bounds the rows of a vocabulary, on reading too.
const MaxVocabulary = 1 << 20

// AppendBinary appends the vocabulary: the number of rows, then the keys,
// then the inverse document frequencies, all little-endian 32 bits.
func (v *Vocabulary) AppendBinary(b []byte) ([]byte, error) {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v.keys)))
	for _, k := range v.keys {
		b = binary.LittleEndian.AppendUint32(b, k)
	}
	for _, f := range v.idf {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b, nil
}

// ReadVocabulary decodes what AppendBinary wrote and returns the rest.
func ReadVocabulary(b []byte) (*Vocabulary, []byte, error) {
	if len(b) < 4 {
		return nil, nil, errors.New("read vocabulary: cut short")
	}
	n := int(binary.LittleEndian.Uint32(b))
	b = b[4:]
	if n > MaxVocabulary {
		return nil, nil, fmt.Errorf("read vocabulary: %d rows are more than %d", n, MaxVocabulary)
	}
	if len(b) < 8*n {
		return nil, nil, errors.New("read vocabulary: cut short")
	}
	keys, idf := make([]uint32, n), make([]float32, n)
	for i := range keys {
		keys[i] = binary.LittleEndian.Uint32(b[4*i:])
		f := math.Float32frombits(binary.LittleEndian.Uint32(b[4*(n+i):]))
		if !(f >= 0 && f < 100) {
			return nil, nil, fmt.Errorf("read vocabulary: row %d has weight %g", i, f)
		}
		idf[i] = f
	}
	v := index(keys, idf)
	for i, k := range keys {
		if int(v.find(k)) != i+1 {
			return nil, nil, fmt.Errorf("read vocabulary: key of row %d repeats", i)
		}
	}
	return v, b[8*n:], nil
}

// Extend returns a vocabulary that also knows the keys of the texts, up to
// maxKeys in all, as if each was seen once. Known keys keep their rows and
// weights. The receiver is returned when nothing is new.
func (v *Vocabulary) Extend(texts iter.Seq[*Vector], maxKeys int) *Vocabulary {
	fresh := make(map[uint32]bool)
	var added []uint32
	for x := range texts {
		for _, k := range x.Keys {
			if v.find(k) != 0 || fresh[k] || len(v.keys)+len(added) >= maxKeys {
				continue
			}
			fresh[k] = true
			added = append(added, k)
		}
	}
	if len(added) == 0 {
		return v
	}
	top := float32(1)
	for _, f := range v.idf {
		top = max(top, f)
	}
	keys := append(slices.Clone(v.keys), added...)
	idf := slices.Clone(v.idf)
	for range added {
		idf = append(idf, top)
	}
	return index(keys, idf)
}
