#include "textflag.h"
#include "go_asm.h"
#include "vector_arm64.h"

// Lengths n are positive multiples of 8 throughout; see the AVX2 versions and
// the plain-Go twins for what the functions do.

// func dotNEON(a, b *float32, n int) float32
TEXT ·dotNEON(SB), NOSPLIT, $0-28
	MOVD a+0(FP), R0
	MOVD b+8(FP), R1
	MOVD n+16(FP), R2
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16

dot16:
	CMP $16, R2
	BLT dot8
	VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	FMLA4(16, 4, 0)
	FMLA4(17, 5, 1)
	FMLA4(18, 6, 2)
	FMLA4(19, 7, 3)
	SUB $16, R2
	B dot16

dot8:
	CBZ R2, dotsum
	VLD1.P 32(R0), [V4.S4, V5.S4]
	VLD1.P 32(R1), [V16.S4, V17.S4]
	FMLA4(16, 4, 0)
	FMLA4(17, 5, 1)

dotsum:
	FADD4(1, 0, 0)
	FADD4(3, 2, 2)
	FADD4(2, 0, 0)
	ADDACROSS(0, 0)
	FMOVS F0, ret+24(FP)
	RET

// func axpyNEON(alpha float32, x, y *float32, n int)
TEXT ·axpyNEON(SB), NOSPLIT, $0-32
	FMOVS alpha+0(FP), F0
	VDUP V0.S[0], V0.S4
	MOVD x+8(FP), R0
	MOVD y+16(FP), R1
	MOVD n+24(FP), R2

axpy8:
	VLD1.P 32(R0), [V1.S4, V2.S4]
	VLD1 (R1), [V3.S4, V4.S4]
	FMLA4(0, 1, 3)
	FMLA4(0, 2, 4)
	VST1.P [V3.S4, V4.S4], 32(R1)
	SUBS $8, R2
	BNE axpy8
	RET

// func gatherNEON(y, w *float32, idx *uint32, val *float32, n, width int)
// Columns are taken in blocks of 32 and 8, whose sums stay in registers while
// the rows stream by.
TEXT ·gatherNEON(SB), NOSPLIT, $0-48
	MOVD y+0(FP), R0
	MOVD w+8(FP), R1
	MOVD width+40(FP), R5
	LSL $2, R5, R6

gather32:
	CMP $32, R5
	BLT gather8
	MOVD idx+16(FP), R2
	MOVD val+24(FP), R3
	MOVD n+32(FP), R4
	ADD $64, R0, R7
	VLD1 (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1 (R7), [V4.S4, V5.S4, V6.S4, V7.S4]

gather32rows:
	MOVWU.P 4(R2), R8
	MADD R6, R1, R8, R8
	VLD1R.P 4(R3), [V31.S4]
	VLD1.P 64(R8), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1 (R8), [V20.S4, V21.S4, V22.S4, V23.S4]
	FMLA4(16, 31, 0)
	FMLA4(17, 31, 1)
	FMLA4(18, 31, 2)
	FMLA4(19, 31, 3)
	FMLA4(20, 31, 4)
	FMLA4(21, 31, 5)
	FMLA4(22, 31, 6)
	FMLA4(23, 31, 7)
	SUBS $1, R4
	BNE gather32rows
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	ADD $128, R1
	SUB $32, R5
	B gather32

gather8:
	CBZ R5, gatherdone
	MOVD idx+16(FP), R2
	MOVD val+24(FP), R3
	MOVD n+32(FP), R4
	VLD1 (R0), [V0.S4, V1.S4]

gather8rows:
	MOVWU.P 4(R2), R8
	MADD R6, R1, R8, R8
	VLD1R.P 4(R3), [V31.S4]
	VLD1 (R8), [V16.S4, V17.S4]
	FMLA4(16, 31, 0)
	FMLA4(17, 31, 1)
	SUBS $1, R4
	BNE gather8rows
	VST1.P [V0.S4, V1.S4], 32(R0)
	ADD $32, R1
	SUB $8, R5
	B gather8

gatherdone:
	RET

// func scatterNEON(w, x *float32, idx *uint32, val *float32, n, width int)
TEXT ·scatterNEON(SB), NOSPLIT, $0-48
	MOVD w+0(FP), R1
	MOVD idx+16(FP), R2
	MOVD val+24(FP), R3
	MOVD n+32(FP), R4
	MOVD width+40(FP), R5
	LSL $2, R5, R6

scatterrows:
	MOVWU.P 4(R2), R8
	MADD R6, R1, R8, R8
	VLD1R.P 4(R3), [V31.S4]
	MOVD x+8(FP), R0
	MOVD R5, R7

scatter8:
	VLD1.P 32(R0), [V0.S4, V1.S4]
	VLD1 (R8), [V2.S4, V3.S4]
	FMLA4(31, 0, 2)
	FMLA4(31, 1, 3)
	VST1.P [V2.S4, V3.S4], 32(R8)
	SUBS $8, R7
	BNE scatter8
	SUBS $1, R4
	BNE scatterrows
	RET

// CONST puts a constant into all lanes.
#define CONST(bits, v) \
	MOVW $bits, R9 \
	VDUP R9, v

// func expNEON(x *float32, n int, top float32) float32
TEXT ·expNEON(SB), NOSPLIT, $0-28
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	FMOVS top+16(FP), F31
	VDUP V31.S[0], V31.S4
	CONST(0x3fb8aa3b, V30.S4) // log2e
	CONST(0x3f318000, V29.S4) // ln2hi
	CONST(0xb95e8083, V28.S4) // ln2lo
	CONST(0x3ab60b61, V27.S4) // c6
	CONST(0x3c088889, V26.S4)
	CONST(0x3d2aaaab, V25.S4)
	CONST(0x3e2aaaab, V24.S4)
	CONST(0x3f000000, V23.S4) // half
	CONST(0x3f800000, V22.S4) // one
	CONST(0xc2ae0000, V21.S4) // least
	CONST(127, V20.S4)
	VEOR V0.B16, V0.B16, V0.B16

exp4:
	VLD1 (R0), [V1.S4]
	FSUB4(31, 1, 1)
	FCMGE4(21, 1, 3) // all ones where not below the least
	FMAX4(21, 1, 1)  // keeps −∞ away from the polynomial
	FMUL4(30, 1, 2)
	FRINTN4(2, 2)
	FMLS4(29, 2, 1)
	FMLS4(28, 2, 1)
	FCVTNS4(2, 2)
	VADD V20.S4, V2.S4, V2.S4
	VSHL $23, V2.S4, V2.S4
	VAND V3.B16, V2.B16, V2.B16
	VORR V26.B16, V26.B16, V4.B16
	FMLA4(27, 1, 4)
	VORR V25.B16, V25.B16, V5.B16
	FMLA4(4, 1, 5)
	VORR V24.B16, V24.B16, V4.B16
	FMLA4(5, 1, 4)
	VORR V23.B16, V23.B16, V5.B16
	FMLA4(4, 1, 5)
	VORR V22.B16, V22.B16, V4.B16
	FMLA4(5, 1, 4)
	VORR V22.B16, V22.B16, V5.B16
	FMLA4(4, 1, 5)
	FMUL4(2, 5, 1)
	FADD4(1, 0, 0)
	VST1.P [V1.S4], 16(R0)
	SUBS $4, R2
	BNE exp4
	ADDACROSS(0, 0)
	FMOVS F0, ret+24(FP)
	RET

// STEP is p = p·m + c for the logarithm's polynomial; p in V3, m in V0.
#define STEP(bits) \
	MOVW $bits, R9 \
	VDUP R9, V4.S4 \
	FMLA4(3, 0, 4) \
	VORR V4.B16, V4.B16, V3.B16

// func logNEON(z, p *float32, n int, w, slope, offset float32)
TEXT ·logNEON(SB), NOSPLIT, $0-36
	MOVD z+0(FP), R0
	MOVD p+8(FP), R1
	MOVD n+16(FP), R2
	FMOVS w+24(FP), F31
	VDUP V31.S[0], V31.S4
	FMOVS slope+28(FP), F30
	VDUP V30.S[0], V30.S4
	FMOVS offset+32(FP), F29
	VDUP V29.S[0], V29.S4
	CONST(0x00800000, V28.S4) // least normal
	CONST(0x3f3504f3, V27.S4) // sqrt half
	CONST(0x007fffff, V26.S4) // mantissa
	CONST(0x3f800000, V25.S4) // one
	CONST(0xb95e8083, V24.S4) // ln2 low
	CONST(0xbf000000, V23.S4) // minus half
	CONST(0x3f318000, V22.S4) // ln2 high

log4:
	VLD1.P 16(R1), [V1.S4]
	VORR V29.B16, V29.B16, V0.B16
	FMLA4(30, 1, 0)
	FCMGE4(28, 0, 1) // NaN and what is too small count as the least
	VORR V28.B16, V28.B16, V2.B16
	VBIT V1.B16, V0.B16, V2.B16
	VSUB V27.S4, V2.S4, V0.S4
	SSHR23(0, 1)
	SCVTF4(1, 1) // exponent
	VAND V26.B16, V0.B16, V0.B16
	VADD V27.S4, V0.S4, V0.S4
	FSUB4(25, 0, 0) // m
	FMUL4(0, 0, 2)  // m²
	CONST(0x3d9021bb, V3.S4)
	STEP(0xbdebd1b8)
	STEP(0x3def251a)
	STEP(0xbdfe5d4f)
	STEP(0x3e11e9bf)
	STEP(0xbe2aae50)
	STEP(0x3e4cceac)
	STEP(0xbe7ffffc)
	STEP(0x3eaaaaaa)
	FMUL4(2, 0, 4)
	FMUL4(4, 3, 3)
	FMLA4(24, 1, 3)
	FMLA4(23, 2, 3)
	FADD4(0, 3, 3)
	FMLA4(22, 1, 3)
	VLD1 (R0), [V5.S4]
	FMLA4(31, 3, 5)
	VST1.P [V5.S4], 16(R0)
	SUBS $4, R2
	BNE log4
	RET

// func maxNEON(x *float32, n int) float32
TEXT ·maxNEON(SB), NOSPLIT, $0-20
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	VLD1.P 32(R0), [V0.S4, V1.S4]

max8:
	SUBS $8, R2
	BEQ maxdone
	VLD1.P 32(R0), [V2.S4, V3.S4]
	FMAX4(2, 0, 0)
	FMAX4(3, 1, 1)
	B max8

maxdone:
	FMAX4(1, 0, 0)
	FMAXV4(0, 0)
	FMOVS F0, ret+16(FP)
	RET

// func mulNEON(x *float32, n int, by float32)
TEXT ·mulNEON(SB), NOSPLIT, $0-20
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	FMOVS by+16(FP), F0
	VDUP V0.S[0], V0.S4

mul8:
	VLD1 (R0), [V1.S4, V2.S4]
	FMUL4(0, 1, 1)
	FMUL4(0, 2, 2)
	VST1.P [V1.S4, V2.S4], 32(R0)
	SUBS $8, R2
	BNE mul8
	RET

// func mulAddNEON(y, x, w *float32, n int)
TEXT ·mulAddNEON(SB), NOSPLIT, $0-32
	MOVD y+0(FP), R0
	MOVD x+8(FP), R1
	MOVD w+16(FP), R3
	MOVD n+24(FP), R2

muladd8:
	VLD1.P 32(R1), [V0.S4, V1.S4]
	VLD1.P 32(R3), [V2.S4, V3.S4]
	VLD1 (R0), [V4.S4, V5.S4]
	FMLA4(2, 0, 4)
	FMLA4(3, 1, 5)
	VST1.P [V4.S4, V5.S4], 32(R0)
	SUBS $8, R2
	BNE muladd8
	RET

// func reluNEON(x *float32, n int)
TEXT ·reluNEON(SB), NOSPLIT, $0-16
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	VEOR V0.B16, V0.B16, V0.B16

relu8:
	VLD1 (R0), [V1.S4, V2.S4]
	FMAX4(0, 1, 1)
	FMAX4(0, 2, 2)
	VST1.P [V1.S4, V2.S4], 32(R0)
	SUBS $8, R2
	BNE relu8
	RET

// COEFFICIENTS loads the coefficients of a ratio: numerator from V16 on,
// denominator from V22 on, limits in V28 to V31.
#define COEFFICIENTS \
	ADD $ratio_p, R3, R4 \
	VLD1R.P 4(R4), [V16.S4] \
	VLD1R.P 4(R4), [V17.S4] \
	VLD1R.P 4(R4), [V18.S4] \
	VLD1R.P 4(R4), [V19.S4] \
	VLD1R.P 4(R4), [V20.S4] \
	VLD1R.P 4(R4), [V21.S4] \
	ADD $ratio_q, R3, R4 \
	VLD1R.P 4(R4), [V22.S4] \
	VLD1R.P 4(R4), [V23.S4] \
	VLD1R.P 4(R4), [V24.S4] \
	VLD1R.P 4(R4), [V25.S4] \
	VLD1R.P 4(R4), [V26.S4] \
	VLD1R.P 4(R4), [V27.S4] \
	ADD $ratio_limit, R3, R4 \
	VLD1R (R4), [V28.S4] \
	VEOR V29.B16, V29.B16, V29.B16 \
	FSUB4(28, 29, 29) \
	CONST(0x3f800000, V30.S4) \
	CONST(0xbf800000, V31.S4)

// RATIO takes the argument in V2 to the ratio in V4; V3, V5, V6 and V7 are
// overwritten.
#define RATIO \
	FMIN4(28, 2, 2) \
	FMAX4(29, 2, 2) \
	FMUL4(2, 2, 3) \
	VORR V20.B16, V20.B16, V4.B16 \
	VORR V26.B16, V26.B16, V5.B16 \
	FMLA4(21, 3, 4) \
	FMLA4(27, 3, 5) \
	VORR V19.B16, V19.B16, V6.B16 \
	VORR V25.B16, V25.B16, V7.B16 \
	FMLA4(4, 3, 6) \
	FMLA4(5, 3, 7) \
	VORR V18.B16, V18.B16, V4.B16 \
	VORR V24.B16, V24.B16, V5.B16 \
	FMLA4(6, 3, 4) \
	FMLA4(7, 3, 5) \
	VORR V17.B16, V17.B16, V6.B16 \
	VORR V23.B16, V23.B16, V7.B16 \
	FMLA4(4, 3, 6) \
	FMLA4(5, 3, 7) \
	VORR V16.B16, V16.B16, V4.B16 \
	VORR V22.B16, V22.B16, V5.B16 \
	FMLA4(6, 3, 4) \
	FMLA4(7, 3, 5) \
	FMUL4(2, 4, 4) \
	FDIV4(5, 4, 4) \
	FMIN4(30, 4, 4) \
	FMAX4(31, 4, 4)

// func geluNEON(x *float32, n int, r *ratio)
TEXT ·geluNEON(SB), NOSPLIT, $0-24
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	MOVD r+16(FP), R3
	COEFFICIENTS
	CONST(0x3f3504f3, V8.S4) // sqrt half
	CONST(0x3f000000, V9.S4) // half

gelu4:
	VLD1 (R0), [V1.S4]
	FMUL4(8, 1, 2)
	FMUL4(9, 1, 1)
	RATIO
	FMLA4(4, 1, 1)
	VST1.P [V1.S4], 16(R0)
	SUBS $4, R2
	BNE gelu4
	RET

// func ratioNEON(x *float32, n int, r *ratio)
TEXT ·ratioNEON(SB), NOSPLIT, $0-24
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	MOVD r+16(FP), R3
	COEFFICIENTS

ratio4:
	VLD1 (R0), [V2.S4]
	RATIO
	VST1.P [V4.S4], 16(R0)
	SUBS $4, R2
	BNE ratio4
	RET

// func sumNEON(x *float32, n int) float32
TEXT ·sumNEON(SB), NOSPLIT, $0-20
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16

sum8:
	VLD1.P 32(R0), [V2.S4, V3.S4]
	FADD4(2, 0, 0)
	FADD4(3, 1, 1)
	SUBS $8, R2
	BNE sum8
	FADD4(1, 0, 0)
	ADDACROSS(0, 0)
	FMOVS F0, ret+16(FP)
	RET

// func deviationNEON(x *float32, n int, mean float32) float32
TEXT ·deviationNEON(SB), NOSPLIT, $0-28
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	FMOVS mean+16(FP), F31
	VDUP V31.S[0], V31.S4
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16

dev8:
	VLD1.P 32(R0), [V2.S4, V3.S4]
	FSUB4(31, 2, 2)
	FSUB4(31, 3, 3)
	FMLA4(2, 2, 0)
	FMLA4(3, 3, 1)
	SUBS $8, R2
	BNE dev8
	FADD4(1, 0, 0)
	ADDACROSS(0, 0)
	FMOVS F0, ret+24(FP)
	RET

// func scaleNEON(dst, x, gamma, beta *float32, n int, mean, scale float32)
TEXT ·scaleNEON(SB), NOSPLIT, $0-48
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD gamma+16(FP), R3
	MOVD beta+24(FP), R4
	MOVD n+32(FP), R2
	FMOVS mean+40(FP), F31
	VDUP V31.S[0], V31.S4
	FMOVS scale+44(FP), F30
	VDUP V30.S[0], V30.S4

scale8:
	VLD1.P 32(R1), [V0.S4, V1.S4]
	VLD1.P 32(R3), [V2.S4, V3.S4]
	VLD1.P 32(R4), [V4.S4, V5.S4]
	FSUB4(31, 0, 0)
	FSUB4(31, 1, 1)
	FMUL4(30, 0, 0)
	FMUL4(30, 1, 1)
	FMLA4(2, 0, 4)
	FMLA4(3, 1, 5)
	VST1.P [V4.S4, V5.S4], 32(R0)
	SUBS $8, R2
	BNE scale8
	RET

// func rangeNEON(x *float32, n int) (lo, hi float32)
// FMIN and FMAX keep NaN, so nothing else is needed for it.
TEXT ·rangeNEON(SB), NOSPLIT, $0-24
	MOVD x+0(FP), R0
	MOVD n+8(FP), R2
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16

range4:
	VLD1.P 16(R0), [V2.S4]
	FMIN4(2, 0, 0)
	FMAX4(2, 1, 1)
	SUBS $4, R2
	BNE range4
	FMINV4(0, 0)
	FMAXV4(1, 1)
	FMOVS F0, lo+16(FP)
	FMOVS F1, hi+20(FP)
	RET

// func quantiseNEON(q *uint8, x *float32, n int, inv float32, zero int32)
TEXT ·quantiseNEON(SB), NOSPLIT, $0-32
	MOVD q+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R2
	FMOVS inv+24(FP), F31
	VDUP V31.S[0], V31.S4
	MOVW zero+28(FP), R3
	VDUP R3, V30.S4
	VEOR V29.B16, V29.B16, V29.B16
	MOVW $127, R3
	VDUP R3, V28.S4

quant8:
	VLD1.P 32(R1), [V0.S4, V1.S4]
	FMUL4(31, 0, 0)
	FMUL4(31, 1, 1)
	FCVTNS4(0, 0)
	FCVTNS4(1, 1)
	VADD V30.S4, V0.S4, V0.S4
	VADD V30.S4, V1.S4, V1.S4
	SMAX4(29, 0, 0)
	SMAX4(29, 1, 1)
	SMIN4(28, 0, 0)
	SMIN4(28, 1, 1)
	XTN4(0, 0)
	XTN4(1, 1)
	VMOV V1.D[0], V0.D[1]
	XTN8(0, 0)
	VST1.P [V0.B8], 8(R0)
	SUBS $8, R2
	BNE quant8
	RET

// func transposeNEON(dst, src *float32, rows, cols, ldd, lds int)
// In squares of four; rows and cols are multiples of 8, strides count bytes.
TEXT ·transposeNEON(SB), NOSPLIT, $0-48
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD rows+16(FP), R2
	MOVD ldd+32(FP), R5
	MOVD lds+40(FP), R6

transrows:
	MOVD cols+24(FP), R4
	MOVD R0, R7
	MOVD R1, R8

trans4:
	MOVD R8, R9
	VLD1 (R9), [V0.S4]
	ADD R6, R9
	VLD1 (R9), [V1.S4]
	ADD R6, R9
	VLD1 (R9), [V2.S4]
	ADD R6, R9
	VLD1 (R9), [V3.S4]
	VTRN1 V1.S4, V0.S4, V4.S4
	VTRN2 V1.S4, V0.S4, V5.S4
	VTRN1 V3.S4, V2.S4, V6.S4
	VTRN2 V3.S4, V2.S4, V7.S4
	VTRN1 V6.D2, V4.D2, V0.D2
	VTRN1 V7.D2, V5.D2, V1.D2
	VTRN2 V6.D2, V4.D2, V2.D2
	VTRN2 V7.D2, V5.D2, V3.D2
	VST1 [V0.S4], (R7)
	ADD R5, R7
	VST1 [V1.S4], (R7)
	ADD R5, R7
	VST1 [V2.S4], (R7)
	ADD R5, R7
	VST1 [V3.S4], (R7)
	ADD R5, R7
	ADD $16, R8
	SUBS $4, R4
	BNE trans4
	ADD $16, R0
	ADD R6<<2, R1
	SUBS $4, R2
	BNE transrows
	RET

// func depthwiseNEON(t *depthwise)
TEXT ·depthwiseNEON(SB), NOSPLIT, $0-8
	MOVD t+0(FP), R0
	MOVD depthwise_dst(R0), R1
	MOVD depthwise_src(R0), R2
	MOVD depthwise_pixels(R0), R4
	MOVD depthwise_channels(R0), R6
	MOVD depthwise_pixel(R0), R7
	MOVD depthwise_line(R0), R8
	MOVD depthwise_bias(R0), R5

depthpixel:
	MOVD ZR, R9

depth4:
	VEOR V0.B16, V0.B16, V0.B16
	CBZ R5, depthtaps
	ADD R9, R5, R10
	VLD1 (R10), [V0.S4]

depthtaps:
	MOVD depthwise_weights(R0), R3
	ADD R9, R3
	ADD R9, R2, R10
	MOVD $3, R12

depthline:
	MOVD R10, R11
	VLD1 (R11), [V1.S4]
	ADD R7, R11
	VLD1 (R11), [V2.S4]
	ADD R7, R11
	VLD1 (R11), [V3.S4]
	VLD1 (R3), [V4.S4]
	ADD R7, R3
	VLD1 (R3), [V5.S4]
	ADD R7, R3
	VLD1 (R3), [V6.S4]
	ADD R7, R3
	FMLA4(4, 1, 0)
	FMLA4(5, 2, 0)
	FMLA4(6, 3, 0)
	ADD R8, R10
	SUBS $1, R12
	BNE depthline
	ADD R9, R1, R10
	VST1 [V0.S4], (R10)
	ADD $16, R9
	CMP R6, R9
	BLT depth4
	ADD R7, R1
	ADD R7, R2
	SUBS $1, R4
	BNE depthpixel
	RET
