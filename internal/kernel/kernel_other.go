//go:build !amd64

package kernel

const useAVX2 = false

func dotAVX2(a, b *float32, n int) float32                               { panic("unreachable") }
func axpyAVX2(alpha float32, x, y *float32, n int)                       { panic("unreachable") }
func gatherAVX2(y, w *float32, idx *uint32, val *float32, n, width int)  { panic("unreachable") }
func scatterAVX2(w, x *float32, idx *uint32, val *float32, n, width int) { panic("unreachable") }

func expAVX2(x *float32, n int, top float32) float32 { panic("unreachable") }

func logAVX2(z, p *float32, n int, w, slope, offset float32) { panic("unreachable") }
