package encoder

import (
	"crypto/sha256"
	"sync"
)

// cacheRows is how many vectors are remembered between trainings: 100 MB for
// vectors of 384 numbers.
const cacheRows = 1 << 16

// cache remembers the vectors of texts by their hash; the oldest go first.
type cache struct {
	mu      sync.Mutex
	limit   int
	vectors map[[sha256.Size]byte][]float32
	order   [][sha256.Size]byte // ring of keys by age once full
	next    int
}

func newCache(limit int) *cache {
	return &cache{limit: limit, vectors: map[[sha256.Size]byte][]float32{}}
}

// get copies the vector of a text into dst.
func (c *cache) get(key [sha256.Size]byte, dst []float32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, ok := c.vectors[key]
	copy(dst, x)
	return ok
}

// put remembers a copy of x.
func (c *cache) put(key [sha256.Size]byte, x []float32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.vectors[key]; ok {
		return
	}
	if len(c.order) < c.limit {
		c.order = append(c.order, key)
	} else {
		delete(c.vectors, c.order[c.next])
		c.order[c.next] = key
		c.next = (c.next + 1) % c.limit
	}
	c.vectors[key] = append([]float32(nil), x...)
}
