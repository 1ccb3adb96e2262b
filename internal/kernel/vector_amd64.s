#include "textflag.h"
#include "go_asm.h"

// func maxAVX2(x *float32, n int) float32
// The largest of n numbers, a positive multiple of 8; NaN may be passed over.
TEXT ·maxAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VMOVUPS (SI), Y0
	VMOVAPS Y0, Y1

max16:
	CMPQ CX, $16
	JLT  max8
	VMAXPS (SI), Y0, Y0
	VMAXPS 32(SI), Y1, Y1
	ADDQ $64, SI
	SUBQ $16, CX
	JMP  max16

max8:
	TESTQ CX, CX
	JZ    maxdone
	VMAXPS (SI), Y0, Y0

maxdone:
	VMAXPS Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMAXPS X1, X0, X0
	VPSHUFD $0x4e, X0, X1
	VMAXPS X1, X0, X0
	VPSHUFD $0xb1, X0, X1
	VMAXPS X1, X0, X0
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func mulAVX2(x *float32, n int, by float32)
// x *= by. n is a positive multiple of 8.
TEXT ·mulAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), DI
	MOVQ n+8(FP), CX
	VBROADCASTSS by+16(FP), Y0

mul8:
	VMULPS (DI), Y0, Y1
	VMOVUPS Y1, (DI)
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ  mul8
	VZEROUPPER
	RET

// func mulAddAVX2(y, x, w *float32, n int)
// y += x·w, number by number. n is a positive multiple of 8.
TEXT ·mulAddAVX2(SB), NOSPLIT, $0-32
	MOVQ y+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ w+16(FP), DX
	MOVQ n+24(FP), CX
	XORQ AX, AX

muladd8:
	VMOVUPS (SI)(AX*4), Y0
	VMOVUPS (DI)(AX*4), Y1
	VFMADD231PS (DX)(AX*4), Y0, Y1
	VMOVUPS Y1, (DI)(AX*4)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  muladd8
	VZEROUPPER
	RET

// func reluAVX2(x *float32, n, rows, stride int)
// Rows of n numbers, a positive multiple of 8; the stride counts bytes. NaN
// stays, as it is the second operand.
TEXT ·reluAVX2(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), SI
	MOVQ rows+16(FP), BX
	MOVQ stride+24(FP), R8
	VXORPS Y0, Y0, Y0

relurow:
	MOVQ SI, DI
	MOVQ n+8(FP), CX

relu8:
	VMAXPS (DI), Y0, Y1
	VMOVUPS Y1, (DI)
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ  relu8
	ADDQ R8, SI
	DECQ BX
	JNZ  relurow
	VZEROUPPER
	RET

// POLY steps both polynomials of a ratio down by one coefficient: the
// numerator in Y4, the denominator in Y5, their argument in Y3.
#define POLY(i) \
	VFMADD213PS wide_p+i(DX), Y3, Y4 \
	VFMADD213PS wide_q+i(DX), Y3, Y5

// RATIO puts the ratio at Y2 into Y4; see ratio.at. NaN goes through, as it is
// the second operand of the comparisons.
#define RATIO \
	VMINPS Y2, Y15, Y2 \
	VMAXPS Y2, Y14, Y2 \
	VMULPS Y2, Y2, Y3 \
	VMOVUPS wide_p+160(DX), Y4 \
	VMOVUPS wide_q+160(DX), Y5 \
	POLY(128) \
	POLY(96) \
	POLY(64) \
	POLY(32) \
	POLY(0) \
	VMULPS Y2, Y4, Y4 \
	VDIVPS Y5, Y4, Y4 \
	VMINPS Y4, Y11, Y4 \
	VMAXPS Y4, Y10, Y4

// LIMITS loads the limits of a ratio and of its values.
#define LIMITS \
	VMOVUPS wide_most(DX), Y15 \
	VMOVUPS wide_least(DX), Y14 \
	VMOVUPS wide_one(DX), Y11 \
	VMOVUPS wide_minus(DX), Y10

// func geluAVX2(x *float32, n, rows, stride int, r *wide)
// Rows of n numbers, a positive multiple of 8; the stride counts bytes.
TEXT ·geluAVX2(SB), NOSPLIT, $0-40
	MOVQ x+0(FP), SI
	MOVQ rows+16(FP), BX
	MOVQ stride+24(FP), R8
	MOVQ r+32(FP), DX
	VMOVUPS wide_root(DX), Y13
	VMOVUPS wide_half(DX), Y12
	LIMITS

gelurow:
	MOVQ SI, DI
	MOVQ n+8(FP), CX

gelu8:
	VMOVUPS (DI), Y0
	VMULPS Y13, Y0, Y2
	VMULPS Y12, Y0, Y1
	RATIO
	VFMADD231PS Y4, Y1, Y1
	VMOVUPS Y1, (DI)
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ  gelu8
	ADDQ R8, SI
	DECQ BX
	JNZ  gelurow
	VZEROUPPER
	RET

// func ratioAVX2(x *float32, n, rows, stride int, r *wide)
TEXT ·ratioAVX2(SB), NOSPLIT, $0-40
	MOVQ x+0(FP), SI
	MOVQ rows+16(FP), BX
	MOVQ stride+24(FP), R8
	MOVQ r+32(FP), DX
	LIMITS

ratiorow:
	MOVQ SI, DI
	MOVQ n+8(FP), CX

ratio8:
	VMOVUPS (DI), Y2
	RATIO
	VMOVUPS Y4, (DI)
	ADDQ $32, DI
	SUBQ $8, CX
	JNZ  ratio8
	ADDQ R8, SI
	DECQ BX
	JNZ  ratiorow
	VZEROUPPER
	RET

// func deviationAVX2(x *float32, n int, mean float32) float32
// The sum of (x − mean)². n is a positive multiple of 8.
TEXT ·deviationAVX2(SB), NOSPLIT, $0-28
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VBROADCASTSS mean+16(FP), Y15
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3

dev32:
	CMPQ CX, $32
	JLT  dev8
	VMOVUPS (SI), Y4
	VMOVUPS 32(SI), Y5
	VMOVUPS 64(SI), Y6
	VMOVUPS 96(SI), Y7
	VSUBPS Y15, Y4, Y4
	VSUBPS Y15, Y5, Y5
	VSUBPS Y15, Y6, Y6
	VSUBPS Y15, Y7, Y7
	VFMADD231PS Y4, Y4, Y0
	VFMADD231PS Y5, Y5, Y1
	VFMADD231PS Y6, Y6, Y2
	VFMADD231PS Y7, Y7, Y3
	ADDQ $128, SI
	SUBQ $32, CX
	JMP  dev32

dev8:
	TESTQ CX, CX
	JZ    devsum
	VMOVUPS (SI), Y4
	VSUBPS Y15, Y4, Y4
	VFMADD231PS Y4, Y4, Y0
	ADDQ $32, SI
	SUBQ $8, CX
	JMP  dev8

devsum:
	VADDPS Y1, Y0, Y0
	VADDPS Y3, Y2, Y2
	VADDPS Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS X1, X0, X0
	VHADDPS X0, X0, X0
	VHADDPS X0, X0, X0
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func sumAVX2(x *float32, n int) float32
// n is a positive multiple of 8.
TEXT ·sumAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3

sum32:
	CMPQ CX, $32
	JLT  sum8
	VADDPS (SI), Y0, Y0
	VADDPS 32(SI), Y1, Y1
	VADDPS 64(SI), Y2, Y2
	VADDPS 96(SI), Y3, Y3
	ADDQ $128, SI
	SUBQ $32, CX
	JMP  sum32

sum8:
	TESTQ CX, CX
	JZ    sumsum
	VADDPS (SI), Y0, Y0
	ADDQ $32, SI
	SUBQ $8, CX
	JMP  sum8

sumsum:
	VADDPS Y1, Y0, Y0
	VADDPS Y3, Y2, Y2
	VADDPS Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS X1, X0, X0
	VHADDPS X0, X0, X0
	VHADDPS X0, X0, X0
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func scaleAVX2(dst, x, gamma, beta *float32, n int, mean, scale float32)
// dst = (x − mean)·scale·gamma + beta. n is a positive multiple of 8.
TEXT ·scaleAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ gamma+16(FP), R8
	MOVQ beta+24(FP), R9
	MOVQ n+32(FP), CX
	VBROADCASTSS mean+40(FP), Y15
	VBROADCASTSS scale+44(FP), Y14
	XORQ AX, AX

scale8:
	VMOVUPS (SI)(AX*4), Y0
	VSUBPS Y15, Y0, Y0
	VMULPS Y14, Y0, Y0
	VMOVUPS (R8)(AX*4), Y1
	VFMADD213PS (R9)(AX*4), Y1, Y0
	VMOVUPS Y0, (DI)(AX*4)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  scale8
	VZEROUPPER
	RET

// func rangeAVX2(x *float32, n int) (lo, hi float32)
// The least and the largest of n numbers and 0; lo is NaN where one of them
// is NaN or infinite. n is a positive multiple of 8.
TEXT ·rangeAVX2(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y15, Y15, Y15

range8:
	VMOVUPS (SI), Y3
	VMINPS Y3, Y0, Y0
	VMAXPS Y3, Y1, Y1
	VFMADD231PS Y15, Y3, Y2 // 0, or NaN
	ADDQ $32, SI
	SUBQ $8, CX
	JNZ  range8
	VEXTRACTF128 $1, Y0, X3
	VEXTRACTF128 $1, Y1, X4
	VEXTRACTF128 $1, Y2, X5
	VMINPS X3, X0, X0
	VMAXPS X4, X1, X1
	VADDPS X5, X2, X2
	VPSHUFD $0x4e, X0, X3
	VPSHUFD $0x4e, X1, X4
	VMINPS X3, X0, X0
	VMAXPS X4, X1, X1
	VHADDPS X2, X2, X2
	VPSHUFD $0xb1, X0, X3
	VPSHUFD $0xb1, X1, X4
	VMINPS X3, X0, X0
	VMAXPS X4, X1, X1
	VHADDPS X2, X2, X2
	VADDPS X2, X0, X0
	VMOVSS X0, lo+16(FP)
	VMOVSS X1, hi+20(FP)
	VZEROUPPER
	RET

// func quantiseAVX2(q *uint8, x *float32, n int, inv float32, zero int32)
// q = x·inv rounded to the nearest (even) plus zero, kept in [0, 127]. n is a
// positive multiple of 8.
TEXT ·quantiseAVX2(SB), NOSPLIT, $0-32
	MOVQ q+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS inv+24(FP), Y15
	MOVL zero+28(FP), AX
	VMOVD AX, X14
	VPBROADCASTD X14, Y14
	VPXOR Y13, Y13, Y13
	MOVL $127, AX
	VMOVD AX, X12
	VPBROADCASTD X12, Y12

quant8:
	VMULPS (SI), Y15, Y0
	VCVTPS2DQ Y0, Y0
	VPADDD Y14, Y0, Y0
	VPMAXSD Y13, Y0, Y0
	VPMINSD Y12, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPACKSSDW X1, X0, X0
	VPACKUSWB X0, X0, X0
	VMOVQ X0, (DI)
	ADDQ $32, SI
	ADDQ $8, DI
	SUBQ $8, CX
	JNZ  quant8
	VZEROUPPER
	RET

// func transposeAVX2(dst, src *float32, rows, cols, ldd, lds int)
// rows and cols are positive multiples of 8; strides count bytes.
TEXT ·transposeAVX2(SB), NOSPLIT, $0-48
	MOVQ rows+16(FP), R12
	MOVQ ldd+32(FP), R8
	MOVQ lds+40(FP), R9
	LEAQ (R8)(R8*2), R10 // three strides
	LEAQ (R9)(R9*2), R11

transrows:
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ cols+24(FP), CX

trans8:
	LEAQ (SI)(R9*4), BX
	VMOVUPS (SI), Y0
	VMOVUPS (SI)(R9*1), Y1
	VMOVUPS (SI)(R9*2), Y2
	VMOVUPS (SI)(R11*1), Y3
	VMOVUPS (BX), Y4
	VMOVUPS (BX)(R9*1), Y5
	VMOVUPS (BX)(R9*2), Y6
	VMOVUPS (BX)(R11*1), Y7
	VUNPCKLPS Y1, Y0, Y8
	VUNPCKHPS Y1, Y0, Y9
	VUNPCKLPS Y3, Y2, Y10
	VUNPCKHPS Y3, Y2, Y11
	VUNPCKLPS Y5, Y4, Y12
	VUNPCKHPS Y5, Y4, Y13
	VUNPCKLPS Y7, Y6, Y14
	VUNPCKHPS Y7, Y6, Y15
	VUNPCKLPD Y10, Y8, Y0
	VUNPCKHPD Y10, Y8, Y1
	VUNPCKLPD Y11, Y9, Y2
	VUNPCKHPD Y11, Y9, Y3
	VUNPCKLPD Y14, Y12, Y4
	VUNPCKHPD Y14, Y12, Y5
	VUNPCKLPD Y15, Y13, Y6
	VUNPCKHPD Y15, Y13, Y7
	VPERM2F128 $0x20, Y4, Y0, Y8
	VPERM2F128 $0x20, Y5, Y1, Y9
	VPERM2F128 $0x20, Y6, Y2, Y10
	VPERM2F128 $0x20, Y7, Y3, Y11
	VPERM2F128 $0x31, Y4, Y0, Y12
	VPERM2F128 $0x31, Y5, Y1, Y13
	VPERM2F128 $0x31, Y6, Y2, Y14
	VPERM2F128 $0x31, Y7, Y3, Y15
	LEAQ (DI)(R8*4), BX
	VMOVUPS Y8, (DI)
	VMOVUPS Y9, (DI)(R8*1)
	VMOVUPS Y10, (DI)(R8*2)
	VMOVUPS Y11, (DI)(R10*1)
	VMOVUPS Y12, (BX)
	VMOVUPS Y13, (BX)(R8*1)
	VMOVUPS Y14, (BX)(R8*2)
	VMOVUPS Y15, (BX)(R10*1)
	LEAQ (BX)(R8*4), DI
	ADDQ $32, SI
	SUBQ $8, CX
	JNZ  trans8
	ADDQ $32, dst+0(FP)
	MOVQ R9, AX
	SHLQ $3, AX
	ADDQ AX, src+8(FP)
	SUBQ $8, R12
	JNZ  transrows
	VZEROUPPER
	RET

// func depthwiseAVX2(t *depthwise)
// See depthwise. One pixel after the other; its channels in vectors of 8.
TEXT ·depthwiseAVX2(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	MOVQ depthwise_src(DX), SI
	MOVQ depthwise_dst(DX), DI
	MOVQ depthwise_pixels(DX), R12
	MOVQ depthwise_channels(DX), R13 // of vectors, in bytes
	MOVQ depthwise_pixel(DX), R8
	MOVQ depthwise_line(DX), R9

depthpixel:
	XORQ AX, AX
	MOVQ SI, R10
	LEAQ (SI)(R9*1), R11
	LEAQ (SI)(R9*2), R14
	MOVQ depthwise_weights(DX), BX
	MOVQ depthwise_bias(DX), R15

depth8:
	VXORPS Y0, Y0, Y0
	TESTQ R15, R15
	JZ    depthtaps
	VMOVUPS (R15)(AX*1), Y0

depthtaps:
	LEAQ (BX)(AX*1), CX
	VMOVUPS (R10), Y1
	VFMADD231PS (CX), Y1, Y0
	VMOVUPS (R10)(R8*1), Y2
	VMULPS (CX)(R8*1), Y2, Y3
	VMOVUPS (R10)(R8*2), Y1
	VFMADD231PS (CX)(R8*2), Y1, Y0
	LEAQ (CX)(R8*2), CX
	ADDQ R8, CX
	VMOVUPS (R11), Y1
	VFMADD231PS (CX), Y1, Y3
	VMOVUPS (R11)(R8*1), Y2
	VFMADD231PS (CX)(R8*1), Y2, Y0
	VMOVUPS (R11)(R8*2), Y1
	VFMADD231PS (CX)(R8*2), Y1, Y3
	LEAQ (CX)(R8*2), CX
	ADDQ R8, CX
	VMOVUPS (R14), Y1
	VFMADD231PS (CX), Y1, Y0
	VMOVUPS (R14)(R8*1), Y2
	VFMADD231PS (CX)(R8*1), Y2, Y3
	VMOVUPS (R14)(R8*2), Y1
	VFMADD231PS (CX)(R8*2), Y1, Y0
	VADDPS Y3, Y0, Y0
	VMOVUPS Y0, (DI)(AX*1)
	ADDQ $32, R10
	ADDQ $32, R11
	ADDQ $32, R14
	ADDQ $32, AX
	CMPQ AX, R13
	JLT  depth8
	ADDQ R8, SI
	ADDQ R8, DI
	DECQ R12
	JNZ  depthpixel
	VZEROUPPER
	RET
