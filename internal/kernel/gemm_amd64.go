package kernel

import "unsafe"

// maxRows is the number of rows of the largest tile of any kernel.
const maxRows = 4

// rows runs m rows of a product whose columns, `width` of them, fill one row
// of tiles. It takes a copy so that nothing escapes to the heap.
func (t tiles) rows(m, width int) {
	if t.blocks = m / 4; t.blocks > 0 {
		first := t
		switch width {
		case 24:
			gemmAVX2_4x3(&first)
		case 16:
			gemmAVX2_4x2(&first)
		default:
			gemmAVX2_4x1(&first)
		}
	}
	done, left := m&^3, m&3
	if left == 0 {
		return
	}
	t.blocks = 1
	t.d, t.a, t.init = row(t.d, done, t.ldd), row(t.a, done, t.lda), row(t.init, done, t.ldi)
	switch left<<8 | width {
	case 3<<8 | 24:
		gemmAVX2_3x3(&t)
	case 3<<8 | 16:
		gemmAVX2_3x2(&t)
	case 3<<8 | 8:
		gemmAVX2_3x1(&t)
	case 2<<8 | 24:
		gemmAVX2_2x3(&t)
	case 2<<8 | 16:
		gemmAVX2_2x2(&t)
	case 2<<8 | 8:
		gemmAVX2_2x1(&t)
	case 1<<8 | 24:
		gemmAVX2_1x3(&t)
	case 1<<8 | 16:
		gemmAVX2_1x2(&t)
	case 1<<8 | 8:
		gemmAVX2_1x1(&t)
	}
}

func row(p *float32, i int, stride uintptr) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), uintptr(i)*stride))
}

//go:noescape
func gemmAVX2_1x1(t *tiles)

//go:noescape
func gemmAVX2_1x2(t *tiles)

//go:noescape
func gemmAVX2_1x3(t *tiles)

//go:noescape
func gemmAVX2_2x1(t *tiles)

//go:noescape
func gemmAVX2_2x2(t *tiles)

//go:noescape
func gemmAVX2_2x3(t *tiles)

//go:noescape
func gemmAVX2_3x1(t *tiles)

//go:noescape
func gemmAVX2_3x2(t *tiles)

//go:noescape
func gemmAVX2_3x3(t *tiles)

//go:noescape
func gemmAVX2_4x1(t *tiles)

//go:noescape
func gemmAVX2_4x2(t *tiles)

//go:noescape
func gemmAVX2_4x3(t *tiles)
