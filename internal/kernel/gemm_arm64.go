package kernel

// rows runs m rows of a product whose columns, `width` of them, are one row of
// tiles. It takes a copy so that nothing escapes to the heap.
func (t tiles) rows(m, width int) {
	t.width = width / 8
	if t.height, t.blocks = 4, m/4; t.blocks > 0 {
		gemmNEON(&t)
	}
	if t.height, t.blocks = m%4, 1; t.height > 0 {
		gemmNEON(&t)
	}
}

//go:noescape
func gemmNEON(t *tiles)
