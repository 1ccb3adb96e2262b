package main

import "fmt"

// gemmNEON writes a kernel for each tile of up to 4 rows and 24 columns, in
// steps of 8 columns, and the function that goes to the right one.
func gemmNEON(f *file) {
	f.line("// FMLA by an element: d += n·m[i], four lanes.")
	f.line("#define FMLAE(m, i, n, d) WORD $(0x4F801000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d))")
	f.line("#define FMLA4(m, n, d) WORD $(0x4E20CC00 | (m)<<16 | (n)<<5 | (d))")
	f.line("#define FADD4(m, n, d) WORD $(0x4E20D400 | (m)<<16 | (n)<<5 | (d))")
	f.line("\n// func gemmNEON(t *tiles)")
	f.line("// Runs the kernel for tiles of t.height rows and t.width times eight columns.")
	f.line("TEXT ·gemmNEON(SB), NOSPLIT, $0-8")
	f.op("MOVD t+0(FP), R0")
	f.op("MOVD tiles_height(R0), R1")
	f.op("MOVD tiles_width(R0), R2")
	f.op("ADD  R2<<3, R1")
	for width := 3; width > 0; width-- {
		for rows := 4; rows > 0; rows-- {
			f.op("CMP  $%d, R1", width*8+rows)
			f.op("BEQ  tile%dx%d", rows, width)
		}
	}
	f.op("UNDEF")
	for width := 3; width > 0; width-- {
		for rows := 4; rows > 0; rows-- {
			f.label(fmt.Sprintf("tile%dx%d", rows, width))
			f.op("B gemmNEON_%dx%d<>(SB)", rows, width)
		}
	}
	for rows := 1; rows <= 4; rows++ {
		for width := 1; width <= 3; width++ {
			neonTile(f, rows, width*2)
		}
	}
}

// neonTile writes the kernel of one tile. Four steps of k are loaded at once
// and taken from the lanes. Registers: sums from V0 on, rows of a in V24 to
// V27, columns of b in V28 to V31.
func neonTile(f *file, rows, vectors int) {
	acc := func(row, v int) int { return row*vectors + v }
	list := func(first, n int) string {
		s := "["
		for i := range n {
			if i > 0 {
				s += ", "
			}
			s += fmt.Sprintf("V%d.S4", first+i)
		}
		return s + "]"
	}
	// loads says which columns are loaded together: up to four vectors.
	var loads [][2]int
	for v := 0; v < vectors; v += 4 {
		loads = append(loads, [2]int{v, min(4, vectors-v)})
	}
	f.line("\n// A tile of %d rows and %d vectors; R0 has the tiles.", rows, vectors)
	f.line("TEXT gemmNEON_%dx%d<>(SB), NOSPLIT, $0-8", rows, vectors/2)
	f.op("MOVD tiles_blocks(R0), R1")

	f.label("block")
	f.op("MOVD tiles_a(R0), R2")
	f.op("MOVD tiles_lda(R0), R6")
	for r := 1; r < rows; r++ {
		f.op("ADD  R6, R%d, R%d", r+1, r+2)
	}
	// The sums begin with what is added to the product and the bias.
	f.op("MOVD tiles_init(R0), R7")
	f.op("MOVD tiles_ldi(R0), R8")
	f.op("MOVD tiles_bias(R0), R9")
	for _, l := range loads {
		f.op("VLD1.P %d(R9), %s", l[1]*16, list(28, l[1]))
		f.op("MOVD R7, R10")
		for r := range rows {
			f.op("ADD  $%d, R10, R11", l[0]*16)
			f.op("VLD1 (R11), %s", list(24, l[1]))
			f.op("ADD  R8, R10")
			for v := range l[1] {
				f.op("FADD4(%d, %d, %d)", 28+v, 24+v, acc(r, l[0]+v))
			}
		}
	}
	f.op("MOVD tiles_b(R0), R12")
	f.op("MOVD tiles_ldb(R0), R13")
	f.op("MOVD tiles_k(R0), R14")
	f.op("SUBS $4, R14")
	f.op("BLT  rest")
	f.label("many")
	for r := range rows {
		f.op("VLD1.P 16(R%d), [V%d.S4]", r+2, 24+r)
	}
	columns := func(multiply func(r, v, col int)) {
		f.op("MOVD R12, R11")
		for _, l := range loads {
			f.op("VLD1.P %d(R11), %s", l[1]*16, list(28, l[1]))
			for r := range rows {
				for v := range l[1] {
					multiply(r, l[0]+v, 28+v)
				}
			}
		}
		f.op("ADD  R13, R12")
	}
	for u := range 4 {
		columns(func(r, v, col int) { f.op("FMLAE(%d, %d, %d, %d)", 24+r, u, col, acc(r, v)) })
	}
	f.op("SUBS $4, R14")
	f.op("BGE  many")
	f.label("rest")
	f.op("ADDS $4, R14")
	f.op("BEQ  store")
	f.label("single")
	for r := range rows {
		f.op("VLD1R.P 4(R%d), [V%d.S4]", r+2, 24+r)
	}
	columns(func(r, v, col int) { f.op("FMLA4(%d, %d, %d)", 24+r, col, acc(r, v)) })
	f.op("SUBS $1, R14")
	f.op("BNE  single")

	f.label("store")
	f.op("MOVD tiles_d(R0), R7")
	f.op("MOVD tiles_ldd(R0), R8")
	for r := range rows {
		f.op("MOVD R7, R11")
		for _, l := range loads {
			f.op("VST1.P %s, %d(R11)", list(acc(r, l[0]), l[1]), l[1]*16)
		}
		f.op("ADD  R8, R7")
	}
	// The next block of rows begins where this one ended.
	f.op("MOVD R7, tiles_d(R0)")
	f.op("MOVD $%d, R7", rows)
	for _, move := range [][2]string{{"a", "lda"}, {"init", "ldi"}} {
		f.op("MOVD tiles_%s(R0), R8", move[1])
		f.op("MOVD tiles_%s(R0), R9", move[0])
		f.op("MADD R7, R9, R8, R8")
		f.op("MOVD R8, tiles_%s(R0)", move[0])
	}
	f.op("SUBS $1, R1")
	f.op("BNE  block")
	f.op("RET")
}
