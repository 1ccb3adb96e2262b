#include "textflag.h"
#include "go_asm.h"
#include "vector_arm64.h"

// ZERO clears the sums of sixteen columns.
#define ZERO \
	VEOR V0.B16, V0.B16, V0.B16 \
	VEOR V1.B16, V1.B16, V1.B16 \
	VEOR V2.B16, V2.B16, V2.B16 \
	VEOR V3.B16, V3.B16, V3.B16

// NUMBERS takes four sums to numbers: minus the row's shift (V28) and its zero
// point (V29) times the columns' sums, times the row's scale (V30) and the
// columns', plus bias and addend. R9 to R13 point at sums, scales, bias, addend
// and destination.
#define NUMBERS(sum, word) \
	VLD1.P 16(R9), [V20.S4] \
	VLD1.P 16(R10), [V21.S4] \
	VLD1.P 16(R11), [V22.S4] \
	VLD1.P 16(R12), [V23.S4] \
	MUL4(29, 20, 20) \
	VSUB V28.S4, word, word \
	VSUB V20.S4, word, word \
	SCVTF4(sum, sum) \
	FMUL4(30, 21, 21) \
	FMLA4(21, sum, 22) \
	FADD4(23, 22, 22) \
	VST1.P [V22.S4], 16(R13)

// FINISH ends a row: its numbers, and everything moved to the next one.
#define FINISH \
	MOVD tiles8_rowShift(R0), R4 \
	VLD1R.P 4(R4), [V28.S4] \
	MOVD R4, tiles8_rowShift(R0) \
	MOVD tiles8_rowZero(R0), R4 \
	VLD1R.P 4(R4), [V29.S4] \
	MOVD R4, tiles8_rowZero(R0) \
	MOVD tiles8_rowScale(R0), R4 \
	VLD1R.P 4(R4), [V30.S4] \
	MOVD R4, tiles8_rowScale(R0) \
	MOVD tiles8_sums(R0), R9 \
	MOVD tiles8_scales(R0), R10 \
	MOVD tiles8_bias(R0), R11 \
	MOVD R6, R12 \
	MOVD R7, R13 \
	NUMBERS(0, V0.S4) \
	NUMBERS(1, V1.S4) \
	NUMBERS(2, V2.S4) \
	NUMBERS(3, V3.S4) \
	MOVD tiles8_lda(R0), R4 \
	ADD R4, R1 \
	MOVD tiles8_ldi(R0), R4 \
	ADD R4, R6 \
	MOVD tiles8_ldd(R0), R4 \
	ADD R4, R7 \
	SUBS $1, R5

// START loads what does not change from row to row.
#define START \
	MOVD t+0(FP), R0 \
	MOVD tiles8_a(R0), R1 \
	MOVD tiles8_init(R0), R6 \
	MOVD tiles8_d(R0), R7 \
	MOVD tiles8_rows(R0), R5

// func int8UDOT(t *tiles8)
// One row after the other, sixteen columns, eight steps of k at once.
TEXT ·int8UDOT(SB), NOSPLIT, $0-8
	START

udotrow:
	MOVD R1, R2
	MOVD tiles8_b(R0), R3
	MOVD tiles8_k(R0), R8
	ZERO
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16

udot8:
	VLD1.P 8(R2), [V31.B8]
	VLD1.P 64(R3), [V16.B16, V17.B16, V18.B16, V19.B16]
	VLD1.P 64(R3), [V20.B16, V21.B16, V22.B16, V23.B16]
	UDOT0(31, 16, 0)
	UDOT0(31, 17, 1)
	UDOT0(31, 18, 2)
	UDOT0(31, 19, 3)
	UDOT1(31, 20, 4)
	UDOT1(31, 21, 5)
	UDOT1(31, 22, 6)
	UDOT1(31, 23, 7)
	SUBS $8, R8
	BNE udot8
	VADD V4.S4, V0.S4, V0.S4
	VADD V5.S4, V1.S4, V1.S4
	VADD V6.S4, V2.S4, V2.S4
	VADD V7.S4, V3.S4, V3.S4
	FINISH
	BNE udotrow
	RET

// FOUR adds four steps of k for four columns: their products in pairs of 16
// bits into two halves of a sum each.
#define FOUR(w, lo, hi) \
	UMULL8(31, w, 24) \
	UMULL8H(31, w, 25) \
	UADALP8(24, lo) \
	UADALP8(25, hi)

// func int8NEON(t *tiles8)
// One row after the other, sixteen columns, four steps of k at once. Each
// column's sum is in two words until the end.
TEXT ·int8NEON(SB), NOSPLIT, $0-8
	START

row:
	MOVD R1, R2
	MOVD tiles8_b(R0), R3
	MOVD tiles8_k(R0), R8
	ZERO
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16

step4:
	VLD1R.P 4(R2), [V31.S4]
	VLD1.P 64(R3), [V16.B16, V17.B16, V18.B16, V19.B16]
	FOUR(16, 0, 4)
	FOUR(17, 1, 5)
	FOUR(18, 2, 6)
	FOUR(19, 3, 7)
	SUBS $4, R8
	BNE step4
	VADDP V4.S4, V0.S4, V0.S4
	VADDP V5.S4, V1.S4, V1.S4
	VADDP V6.S4, V2.S4, V2.S4
	VADDP V7.S4, V3.S4, V3.S4
	FINISH
	BNE row
	RET
