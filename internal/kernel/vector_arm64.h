// Instructions that the Go assembler has no names for. The operands are
// register numbers in the order of the assembler: the destination comes last.
#define FADD4(m, n, d) WORD $(0x4E20D400 | (m)<<16 | (n)<<5 | (d))
#define FSUB4(m, n, d) WORD $(0x4EA0D400 | (m)<<16 | (n)<<5 | (d)) // n − m
#define FMUL4(m, n, d) WORD $(0x6E20DC00 | (m)<<16 | (n)<<5 | (d))
#define FDIV4(m, n, d) WORD $(0x6E20FC00 | (m)<<16 | (n)<<5 | (d)) // n / m
#define FMLA4(m, n, d) WORD $(0x4E20CC00 | (m)<<16 | (n)<<5 | (d)) // d += n·m
#define FMLS4(m, n, d) WORD $(0x4EA0CC00 | (m)<<16 | (n)<<5 | (d)) // d −= n·m
#define FMAX4(m, n, d) WORD $(0x4E20F400 | (m)<<16 | (n)<<5 | (d)) // NaN stays
#define FMIN4(m, n, d) WORD $(0x4EA0F400 | (m)<<16 | (n)<<5 | (d)) // NaN stays
#define FADDP4(m, n, d) WORD $(0x6E20D400 | (m)<<16 | (n)<<5 | (d))
#define FCMGE4(m, n, d) WORD $(0x6E20E400 | (m)<<16 | (n)<<5 | (d)) // n ≥ m
#define FMAXV4(n, d) WORD $(0x6E30F800 | (n)<<5 | (d))
#define FMINV4(n, d) WORD $(0x6EB0F800 | (n)<<5 | (d))
#define FRINTN4(n, d) WORD $(0x4E218800 | (n)<<5 | (d))
#define FCVTNS4(n, d) WORD $(0x4E21A800 | (n)<<5 | (d))
#define SCVTF4(n, d) WORD $(0x4E21D800 | (n)<<5 | (d))
#define SSHR23(n, d) WORD $(0x4F290400 | (n)<<5 | (d))
#define MUL4(m, n, d) WORD $(0x4EA09C00 | (m)<<16 | (n)<<5 | (d))
#define SMAX4(m, n, d) WORD $(0x4EA06400 | (m)<<16 | (n)<<5 | (d))
#define SMIN4(m, n, d) WORD $(0x4EA06C00 | (m)<<16 | (n)<<5 | (d))
#define XTN4(n, d) WORD $(0x0E612800 | (n)<<5 | (d)) // four words to halves
#define XTN8(n, d) WORD $(0x0E212800 | (n)<<5 | (d)) // eight halves to bytes
#define UMULL8(m, n, d) WORD $(0x2E20C000 | (m)<<16 | (n)<<5 | (d))
#define UMULL8H(m, n, d) WORD $(0x6E20C000 | (m)<<16 | (n)<<5 | (d)) // upper bytes
#define UADALP8(n, d) WORD $(0x6E606800 | (n)<<5 | (d))
// UDOT0 and UDOT1 multiply by the first and the second four bytes of m.
#define UDOT0(m, n, d) WORD $(0x6F80E000 | (m)<<16 | (n)<<5 | (d))
#define UDOT1(m, n, d) WORD $(0x6FA0E000 | (m)<<16 | (n)<<5 | (d))

// ADDACROSS leaves the sum of the four numbers of n in the first of d.
#define ADDACROSS(n, d) \
	FADDP4(n, n, d) \
	FADDP4(d, d, d)
