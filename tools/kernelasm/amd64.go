package main

import "fmt"

// x86 is one of the two vector instruction sets; they differ in the names and
// the number of their registers.
type x86 struct {
	name      string
	reg       string // of vector registers
	bytes     int    // in one
	registers int
	rows      int // of the largest tile
	vectors   int // of columns in it
}

func gemmAVX2(f *file) {
	x86{name: "AVX2", reg: "Y", bytes: 32, registers: 16, rows: 4, vectors: 3}.gemm(f)
}

func gemmAVX512(f *file) {
	x86{name: "AVX512", reg: "Z", bytes: 64, registers: 32, rows: 8, vectors: 3}.gemm(f)
}

// gemm writes a kernel for each tile of up to s.rows × s.vectors, and the
// function that goes to the right one.
func (s x86) gemm(f *file) {
	f.line("\n// func gemm%s(t *tiles)", s.name)
	f.line("// Runs the kernel for tiles of t.height rows and t.width vectors.")
	f.line("TEXT ·gemm%s(SB), NOSPLIT, $0-8", s.name)
	f.op("MOVQ t+0(FP), DX")
	f.op("MOVQ tiles_height(DX), AX")
	f.op("MOVQ tiles_width(DX), CX")
	for vectors := s.vectors; vectors > 0; vectors-- {
		f.op("CMPQ CX, $%d", vectors)
		f.op("JEQ  width%d", vectors)
	}
	f.op("UNDEF")
	for vectors := s.vectors; vectors > 0; vectors-- {
		f.label(fmt.Sprintf("width%d", vectors))
		for rows := s.rows; rows > 0; rows-- {
			f.op("CMPQ AX, $%d", rows)
			f.op("JEQ  tile%dx%d", rows, vectors)
		}
		f.op("UNDEF")
	}
	for vectors := s.vectors; vectors > 0; vectors-- {
		for rows := s.rows; rows > 0; rows-- {
			f.label(fmt.Sprintf("tile%dx%d", rows, vectors))
			f.op("JMP gemm%s_%dx%d<>(SB)", s.name, rows, vectors)
		}
	}
	for rows := 1; rows <= s.rows; rows++ {
		for vectors := 1; vectors <= s.vectors; vectors++ {
			s.tile(f, rows, vectors)
		}
	}
}

// pointers are the registers that hold the rows of a.
var pointers = []string{"R8", "R9", "R10", "R11", "SI", "DI", "R14", "R15"}

// unroll is how many steps of k a loop takes at once.
const unroll = 4

// tile writes the kernel of one tile. The terms of every sum are added one
// after the other, so that results do not depend on the tile that a row is in.
func (s x86) tile(f *file, rows, vectors int) {
	acc := func(row, v int) string { return fmt.Sprintf("%s%d", s.reg, row*vectors+v) }
	col := func(v int) string { return fmt.Sprintf("%s%d", s.reg, s.registers-1-vectors+v) }
	one := fmt.Sprintf("%s%d", s.reg, s.registers-1)

	name := fmt.Sprintf("gemm%s_%dx%d", s.name, rows, vectors)
	f.line("\n// A tile of %d rows and %d vectors; DX has the tiles.", rows, vectors)
	f.line("TEXT %s<>(SB), NOSPLIT, $0-8", name)
	f.op("MOVQ tiles_blocks(DX), BX")

	f.label("block")
	f.op("MOVQ tiles_a(DX), %s", pointers[0])
	f.op("MOVQ tiles_lda(DX), AX")
	for r := 1; r < rows; r++ {
		f.op("LEAQ (%s)(AX*1), %s", pointers[r-1], pointers[r])
	}
	// The sums begin with what is added to the product and the bias.
	f.op("MOVQ tiles_bias(DX), CX")
	for v := range vectors {
		f.op("VMOVUPS %d(CX), %s", v*s.bytes, col(v))
	}
	f.op("MOVQ tiles_init(DX), CX")
	f.op("MOVQ tiles_ldi(DX), AX")
	for r := range rows {
		for v := range vectors {
			f.op("VADDPS %d(CX), %s, %s", v*s.bytes, col(v), acc(r, v))
		}
		if r < rows-1 {
			f.op("ADDQ AX, CX")
		}
	}
	f.op("MOVQ tiles_b(DX), R12")
	f.op("MOVQ tiles_ldb(DX), R13")
	f.op("MOVQ tiles_k(DX), CX")
	step := func(u int) {
		for v := range vectors {
			f.op("VMOVUPS %d(R12), %s", v*s.bytes, col(v))
		}
		f.op("ADDQ R13, R12")
		for r := range rows {
			f.op("VBROADCASTSS %d(%s), %s", u*4, pointers[r], one)
			for v := range vectors {
				f.op("VFMADD231PS %s, %s, %s", col(v), one, acc(r, v))
			}
		}
	}
	f.op("SUBQ $%d, CX", unroll)
	f.op("JLT  rest")
	f.label("many")
	for u := range unroll {
		step(u)
	}
	for r := range rows {
		f.op("ADDQ $%d, %s", unroll*4, pointers[r])
	}
	f.op("SUBQ $%d, CX", unroll)
	f.op("JGE  many")
	f.label("rest")
	f.op("ADDQ $%d, CX", unroll)
	f.op("JZ   store")
	f.label("single")
	step(0)
	for r := range rows {
		f.op("ADDQ $4, %s", pointers[r])
	}
	f.op("DECQ CX")
	f.op("JNZ  single")

	f.label("store")
	f.op("MOVQ tiles_d(DX), CX")
	f.op("MOVQ tiles_ldd(DX), AX")
	for r := range rows {
		for v := range vectors {
			f.op("VMOVUPS %s, %d(CX)", acc(r, v), v*s.bytes)
		}
		f.op("ADDQ AX, CX")
	}
	// The next block of rows begins where this one ended.
	f.op("MOVQ CX, tiles_d(DX)")
	for _, move := range [][2]string{{"a", "lda"}, {"init", "ldi"}} {
		f.op("MOVQ  tiles_%s(DX), AX", move[1])
		f.op("IMULQ $%d, AX", rows)
		f.op("ADDQ  AX, tiles_%s(DX)", move[0])
	}
	f.op("DECQ BX")
	f.op("JNZ  block")
	f.op("VZEROUPPER")
	f.op("RET")
}
