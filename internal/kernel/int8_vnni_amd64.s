#include "textflag.h"
#include "go_asm.h"

// ROW loads what a row at an offset of 4·row has of its own; see NUMBERS.
#define ROW(at) \
	VPBROADCASTD at(R8), Z12 \
	VPBROADCASTD at(R9), Z13 \
	VBROADCASTSS at(R14), Z11

// NUMBERS takes the sums of a row to numbers and stores them: minus the row's
// shift (Z12) and its zero point (Z13) times the columns' sums (Z16), times
// the row's scale (Z11) and the columns' (Z17), plus bias (Z18) and addend.
#define NUMBERS(all) \
	VPMULLD Z16, Z13, Z14 \
	VPSUBD Z12, all, all \
	VPSUBD Z14, all, all \
	VCVTDQ2PS all, all \
	VMULPS Z17, Z11, Z14 \
	VFMADD213PS Z18, Z14, all \
	VADDPS (R13), all, all \
	VMOVUPS all, (DI) \
	ADDQ R15, R13 \
	ADDQ CX, DI

// func int8VNNI(t *tiles8)
// Four rows and sixteen columns at once, in two sets of sums; a last block
// with fewer rows repeats its last one and stores what there is.
TEXT ·int8VNNI(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	MOVQ tiles8_rows(DX), BX
	MOVQ tiles8_a(DX), R13

rows:
	MOVQ tiles8_lda(DX), AX
	MOVQ R13, R8
	MOVQ R8, R9
	CMPQ BX, $2
	JLT  second
	ADDQ AX, R9

second:
	MOVQ R9, R10
	CMPQ BX, $3
	JLT  third
	ADDQ AX, R10

third:
	MOVQ R10, R11
	CMPQ BX, $4
	JLT  fourth
	ADDQ AX, R11

fourth:
	LEAQ (R13)(AX*4), R13
	MOVQ R13, tiles8_a(DX)
	MOVQ tiles8_b(DX), SI
	MOVQ tiles8_k(DX), CX
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	VPXORD Z2, Z2, Z2
	VPXORD Z3, Z3, Z3
	VPXORD Z4, Z4, Z4
	VPXORD Z5, Z5, Z5
	VPXORD Z6, Z6, Z6
	VPXORD Z7, Z7, Z7

step8:
	VMOVDQU32 (SI), Z8
	VMOVDQU32 64(SI), Z9
	VPDPBUSD.BCST (R8), Z8, Z0
	VPDPBUSD.BCST (R9), Z8, Z1
	VPDPBUSD.BCST (R10), Z8, Z2
	VPDPBUSD.BCST (R11), Z8, Z3
	VPDPBUSD.BCST 4(R8), Z9, Z4
	VPDPBUSD.BCST 4(R9), Z9, Z5
	VPDPBUSD.BCST 4(R10), Z9, Z6
	VPDPBUSD.BCST 4(R11), Z9, Z7
	ADDQ $128, SI
	ADDQ $8, R8
	ADDQ $8, R9
	ADDQ $8, R10
	ADDQ $8, R11
	SUBQ $8, CX
	JNZ  step8
	VPADDD Z4, Z0, Z0
	VPADDD Z5, Z1, Z1
	VPADDD Z6, Z2, Z2
	VPADDD Z7, Z3, Z3

	MOVQ tiles8_sums(DX), R10
	VMOVDQU32 (R10), Z16
	MOVQ tiles8_scales(DX), R10
	VMOVUPS (R10), Z17
	MOVQ tiles8_bias(DX), R10
	VMOVUPS (R10), Z18
	MOVQ tiles8_rowShift(DX), R8
	MOVQ tiles8_rowZero(DX), R9
	MOVQ tiles8_rowScale(DX), R14
	MOVQ tiles8_init(DX), R13
	MOVQ tiles8_ldi(DX), R15
	MOVQ tiles8_d(DX), DI
	MOVQ tiles8_ldd(DX), CX
	ROW(0)
	NUMBERS(Z0)
	CMPQ BX, $2
	JLT  done
	ROW(4)
	NUMBERS(Z1)
	CMPQ BX, $3
	JLT  done
	ROW(8)
	NUMBERS(Z2)
	CMPQ BX, $4
	JLT  done
	ROW(12)
	NUMBERS(Z3)
	SUBQ $4, BX
	JZ   done
	MOVQ R13, tiles8_init(DX)
	MOVQ DI, tiles8_d(DX)
	ADDQ $16, tiles8_rowShift(DX)
	ADDQ $16, tiles8_rowZero(DX)
	ADDQ $16, tiles8_rowScale(DX)
	MOVQ tiles8_a(DX), R13
	JMP  rows

done:
	VZEROUPPER
	RET
