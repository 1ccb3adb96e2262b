package kernel

// rows runs m rows of a product whose columns, `width` of them, are one row of
// tiles. It takes a copy so that nothing escapes to the heap.
func (t tiles) rows(m, width int) {
	if level >= avx512 && width%16 == 0 {
		t.width = width / 16
		if t.height, t.blocks = 8, m/8; t.blocks > 0 {
			gemmAVX512(&t)
		}
		if t.height, t.blocks = m%8, 1; t.height > 0 {
			gemmAVX512(&t)
		}
		return
	}
	t.width = width / 8
	if t.height, t.blocks = 4, m/4; t.blocks > 0 {
		gemmAVX2(&t)
	}
	if t.height, t.blocks = m%4, 1; t.height > 0 {
		gemmAVX2(&t)
	}
}

//go:noescape
func gemmAVX2(t *tiles)

//go:noescape
func gemmAVX512(t *tiles)
