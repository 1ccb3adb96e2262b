package kernel

import "golang.org/x/sys/cpu"

// useAVX2 is decided once, when the program starts; it never changes after.
var useAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

//go:noescape
func dotAVX2(a, b *float32, n int) float32

//go:noescape
func axpyAVX2(alpha float32, x, y *float32, n int)

//go:noescape
func gatherAVX2(y, w *float32, idx *uint32, val *float32, n, width int)

//go:noescape
func scatterAVX2(w, x *float32, idx *uint32, val *float32, n, width int)

//go:noescape
func expAVX2(x *float32, n int, top float32) float32

//go:noescape
func logAVX2(z, p *float32, n int, w, slope, offset float32)
