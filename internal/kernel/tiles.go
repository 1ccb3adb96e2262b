//go:build amd64 || arm64

package kernel

//go:generate go run -C ../../tools ./kernelasm ../internal/kernel

// tiles describes blocks of rows of one product, d = init + bias + a·b, to the
// assembly: a block has as many rows as the kernel's tile. Strides count
// bytes. The kernel moves the pointers along to the row after the last one.
type tiles struct {
	a, b, d, init, bias *float32
	lda, ldb, ldd, ldi  uintptr
	k, blocks           int
	height, width       int // of a tile, in rows and in vectors
}

// kBlock is how much of k is done at once, so that a panel's part stays in
// the first-level cache while the rows go by.
const kBlock = 256

// maxRows is the number of rows of the tallest tile of any kernel.
const maxRows = 8

// mulFast is mulGo with assembly.
func (p *Packed) mulFast(dst []float32, ldd int, a []float32, lda, m, from, to int, e Epilogue) {
	for ; from < to; from += p.panel {
		width := min(p.panel, p.pad(p.n-from))
		cols := min(width, to-from)
		w := p.data[p.k*from : p.k*(from+width)]
		if cols < width {
			p.lastPanel(dst, ldd, a, lda, m, from, cols, w, e)
			continue
		}
		t := tiles{ldb: uintptr(width) * 4}
		for k := 0; k < p.k; k += kBlock {
			t.k = min(kBlock, p.k-k)
			t.b, t.bias = &w[k*width], &zeros[0]
			t.init, t.ldi = &zeros[0], 0
			switch {
			case k > 0:
				t.init, t.ldi = &dst[from], uintptr(ldd)*4
			default:
				if e.Add != nil {
					t.init, t.ldi = &e.Add[from], uintptr(e.AddStride)*4
				}
				if e.Bias != nil {
					t.bias = &e.Bias[from]
				}
			}
			t.d, t.ldd, t.a, t.lda = &dst[from], uintptr(ldd)*4, &a[k], uintptr(lda)*4
			t.rows(m, width)
		}
		if e.Act != Identity {
			activateFast(dst[from:], width, m, ldd, e.Act)
		}
	}
}

// lastPanel does a panel with fewer columns than a vector's multiple, by way
// of a tile on the stack.
func (p *Packed) lastPanel(dst []float32, ldd int, a []float32, lda, m, from, cols int, w []float32, e Epilogue) {
	var tile [maxRows * ColumnStep]float32
	var bias [ColumnStep]float32
	if e.Bias != nil {
		copy(bias[:cols], e.Bias[from:])
	}
	width := p.pad(cols)
	for i := 0; i < m; i += maxRows {
		rows := min(maxRows, m-i)
		for r := range rows {
			row := tile[r*width : (r+1)*width]
			if e.Add != nil {
				copy(row[:cols], e.Add[(i+r)*e.AddStride+from:])
			} else {
				clear(row)
			}
		}
		t := tiles{
			b: &w[0], ldb: uintptr(width) * 4, init: &tile[0], ldi: uintptr(width) * 4, bias: &bias[0], k: p.k,
		}
		t.d, t.ldd, t.a, t.lda = &tile[0], uintptr(width)*4, &a[i*lda], uintptr(lda)*4
		t.rows(rows, width)
		for r := range rows {
			row := tile[r*width : r*width+cols]
			if e.Act != Identity {
				activate(row, e.Act)
			}
			copy(dst[(i+r)*ldd+from:], row)
		}
	}
}

// mulABFast is mulABGo with assembly; k is positive. A padded b has columns
// of zeros up to a multiple of Lanes, which saves copying the last ones.
func mulABFast(dst, a, b []float32, m, k, n, ldd, lda, ldb int, padded bool) {
	lanes := panelLanes()
	for at := 0; at < n; {
		left := n - at
		width := left &^ (Lanes - 1)
		if padded {
			width = Pad(left)
		}
		switch {
		case width == 0:
			lastColumns(dst[at:], a, b[at:], m, k, left, ldd, lda, ldb)
			return
		case width == 32 && lanes == 8:
			width = 16 // two tiles of 16 keep more sums going than 24 and 8
		case width > lanes:
			width = min(width&^(lanes-1), panelWidth())
		}
		t := tiles{b: &b[at], ldb: uintptr(ldb) * 4, init: &zeros[0], bias: &zeros[0], k: k}
		if width > left {
			t.stacked(dst[at:], ldd, a, lda, m, width, left)
		} else {
			t.d, t.ldd, t.a, t.lda = &dst[at], uintptr(ldd)*4, &a[0], uintptr(lda)*4
			t.rows(m, width)
		}
		at += width
	}
}

// stacked runs m rows by way of a tile on the stack, of whose columns the
// first `cols` are wanted.
func (t tiles) stacked(dst []float32, ldd int, a []float32, lda, m, width, cols int) {
	var tile [maxRows * ColumnStep]float32
	for i := 0; i < m; i += maxRows {
		rows := min(maxRows, m-i)
		t.d, t.ldd, t.a, t.lda = &tile[0], uintptr(width)*4, &a[i*lda], uintptr(lda)*4
		t.rows(rows, width)
		for r := range rows {
			copy(dst[(i+r)*ldd:][:cols], tile[r*width:])
		}
	}
}

// lastColumns does fewer columns than a vector has, by way of copies on the
// stack.
func lastColumns(dst, a, b []float32, m, k, cols, ldd, lda, ldb int) {
	var part [kBlock * Lanes]float32
	var tile [maxRows * Lanes]float32
	for k0 := 0; k0 < k; k0 += kBlock {
		depth := min(kBlock, k-k0)
		for q := range depth {
			copy(part[q*Lanes:][:cols], b[(k0+q)*ldb:])
		}
		for i := 0; i < m; i += maxRows {
			rows := min(maxRows, m-i)
			for r := range rows {
				if k0 == 0 {
					clear(tile[r*Lanes:][:Lanes])
				} else {
					copy(tile[r*Lanes:][:cols], dst[(i+r)*ldd:])
				}
			}
			t := tiles{
				b: &part[0], ldb: Lanes * 4, init: &tile[0], ldi: Lanes * 4, bias: &zeros[0], k: depth,
			}
			t.d, t.ldd, t.a, t.lda = &tile[0], Lanes*4, &a[i*lda+k0], uintptr(lda)*4
			t.rows(rows, Lanes)
			for r := range rows {
				copy(dst[(i+r)*ldd:][:cols], tile[r*Lanes:])
			}
		}
	}
}
