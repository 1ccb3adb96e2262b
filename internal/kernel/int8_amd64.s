#include "textflag.h"
#include "go_asm.h"

// PAIR adds eight steps of k for one row and eight columns. The four products
// of a step of four fit into 16 bits, two pairs of them are added there, and
// the sums go into 32 bits in two halves: high collects the upper ones, all
// the whole words, from which the lower ones are what remains at the end.
#define PAIR(w0, w1, x0, x1, all, high) \
	VPMADDUBSW x0, w0, Y14 \
	VPMADDUBSW x1, w1, Y15 \
	VPADDW Y15, Y14, Y14 \
	VPSRLD $16, Y14, Y15 \
	VPADDD Y14, all, all \
	VPADDD Y15, high, high

// WHOLE makes the sums of lower and upper halves: all − high·2¹⁶ + high.
#define WHOLE(all, high) \
	VPSLLD $16, high, Y14 \
	VPSUBD Y14, all, all \
	VPADDD high, all, all

// NUMBERS takes sums to numbers, for eight columns at an offset: minus the
// row's shift (Y12) and its zero point (Y13) times the columns' sums, times the
// row's scale (Y11) and the columns', plus bias and addend.
#define NUMBERS(all, at, add) \
	VPMULLD at(R10), Y13, Y14 \
	VPSUBD Y12, all, all \
	VPSUBD Y14, all, all \
	VCVTDQ2PS all, all \
	VMULPS at(R11), Y11, Y14 \
	VMOVUPS at(R12), Y15 \
	VFMADD213PS Y15, Y14, all \
	VADDPS at(add), all, all

// func int8AVX2(t *tiles8)
TEXT ·int8AVX2(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	MOVQ tiles8_rows(DX), BX

rows:
	MOVQ tiles8_a(DX), R8
	MOVQ R8, R9
	CMPQ BX, $1
	JEQ  lone // a last row without a partner is done twice
	ADDQ tiles8_lda(DX), R9

lone:
	MOVQ tiles8_b(DX), SI
	MOVQ tiles8_k(DX), CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7

step8:
	VMOVDQU (SI), Y8
	VMOVDQU 32(SI), Y9
	VMOVDQU 64(SI), Y10
	VMOVDQU 96(SI), Y11
	VPBROADCASTD (R8), Y12
	VPBROADCASTD 4(R8), Y13
	PAIR(Y8, Y10, Y12, Y13, Y0, Y1)
	PAIR(Y9, Y11, Y12, Y13, Y2, Y3)
	VPBROADCASTD (R9), Y12
	VPBROADCASTD 4(R9), Y13
	PAIR(Y8, Y10, Y12, Y13, Y4, Y5)
	PAIR(Y9, Y11, Y12, Y13, Y6, Y7)
	ADDQ $128, SI
	ADDQ $8, R8
	ADDQ $8, R9
	SUBQ $8, CX
	JNZ  step8
	WHOLE(Y0, Y1)
	WHOLE(Y2, Y3)
	WHOLE(Y4, Y5)
	WHOLE(Y6, Y7)

	// The numbers of the first row, then of the second.
	MOVQ tiles8_sums(DX), R10
	MOVQ tiles8_scales(DX), R11
	MOVQ tiles8_bias(DX), R12
	MOVQ tiles8_init(DX), R13
	MOVQ tiles8_rowShift(DX), R8
	MOVQ tiles8_rowZero(DX), R9
	MOVQ tiles8_rowScale(DX), R14
	MOVQ tiles8_d(DX), DI
	VPBROADCASTD (R8), Y12
	VPBROADCASTD (R9), Y13
	VBROADCASTSS (R14), Y11
	NUMBERS(Y0, 0, R13)
	NUMBERS(Y2, 32, R13)
	CMPQ BX, $1
	JEQ  last
	ADDQ tiles8_ldi(DX), R13
	VPBROADCASTD 4(R8), Y12
	VPBROADCASTD 4(R9), Y13
	VBROADCASTSS 4(R14), Y11
	NUMBERS(Y4, 0, R13)
	NUMBERS(Y6, 32, R13)
	VMOVUPS Y0, (DI)
	VMOVUPS Y2, 32(DI)
	ADDQ tiles8_ldd(DX), DI
	VMOVUPS Y4, (DI)
	VMOVUPS Y6, 32(DI)
	SUBQ $2, BX
	JZ   done
	ADDQ tiles8_ldd(DX), DI
	ADDQ tiles8_ldi(DX), R13
	MOVQ DI, tiles8_d(DX)
	MOVQ R13, tiles8_init(DX)
	ADDQ $8, tiles8_rowShift(DX)
	ADDQ $8, tiles8_rowZero(DX)
	ADDQ $8, tiles8_rowScale(DX)
	MOVQ tiles8_lda(DX), AX
	ADDQ AX, tiles8_a(DX)
	ADDQ AX, tiles8_a(DX)
	JMP  rows

last:
	VMOVUPS Y0, (DI)
	VMOVUPS Y2, 32(DI)

done:
	VZEROUPPER
	RET
