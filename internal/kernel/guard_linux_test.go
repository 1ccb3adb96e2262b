package kernel

import (
	"math"
	"syscall"
	"testing"
	"unsafe"
)

// guarded gives n numbers that end where memory ends: the page after them
// cannot be read or written, so assembly that strays crashes the test.
func guarded[T float32 | uint8 | int8 | uint32](t testing.TB, n int) []T {
	t.Helper()
	page := syscall.Getpagesize()
	size := (n*int(unsafe.Sizeof(*new(T))) + page - 1) &^ (page - 1)
	m, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(m) })
	for _, p := range [][]byte{m[:page], m[page+size:]} {
		if err := syscall.Mprotect(p, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		return nil
	}
	mem := m[page : page+size]
	first := len(mem) - n*int(unsafe.Sizeof(*new(T)))
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[first])), n)
}

// guardedCopy is guarded with contents.
func guardedCopy[T float32 | uint8 | int8 | uint32](t testing.TB, v []T) []T {
	t.Helper()
	g := guarded[T](t, len(v))
	copy(g, v)
	return g
}

// TestNothingIsTouchedPastTheEnd runs everything on slices that end at a
// protected page, for all tail lengths.
func TestNothingIsTouchedPastTheEnd(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(21)
		for n := 1; n <= 70; n += 71 / short(70) {
			a, b, c := guardedCopy(t, values(r, n, 0)), guardedCopy(t, values(r, n, 0)), guardedCopy(t, values(r, n, 0))
			Dot(a, b)
			Axpy(2, a, b)
			AddLog(b, a, 1, 1, 0)
			Softmax(b)
			Gelu(a)
			Tanhs(a)
			LayerNorm(b, a, c, c, 1e-5)
			if n%Lanes == 0 {
				w := guardedCopy(t, values(r, 3*n, 0))
				idx, val := guardedCopy(t, []uint32{2, 0, 2}), guardedCopy(t, values(r, 3, 0))
				Gather(a, w, idx, val)
				Scatter(w, a, idx, val)
			}
			conv := guardedCopy(t, values(r, 12*n, 0))
			Depthwise3x3(guarded[float32](t, 12*n), conv, guardedCopy(t, values(r, 9*n, 0)), c, 3, 4, n)
		}
		for i, s := range shapes(r, 120) {
			a, w := values(r, s.m*s.k, 0), values(r, s.k*s.n, 0)
			e := Epilogue{Bias: guardedCopy(t, values(r, s.n, 0)), Add: guardedCopy(t, values(r, s.m*s.n, 0)), Act: Activation(i % 4)}
			Pack(w, s.k, s.n).Mul(guarded[float32](t, s.m*s.n), guardedCopy(t, a), s.m, e)
			MulAB(guarded[float32](t, s.m*s.n), guardedCopy(t, a), guardedCopy(t, w), s.m, s.k, s.n, s.n, s.k, s.n)
			MulABT(guarded[float32](t, s.m*s.n), guardedCopy(t, a), guardedCopy(t, w), guarded[float32](t, ScratchABT(s.k, s.n)),
				s.m, s.k, s.n, s.n, s.k, s.k)
			var q Rows8
			q.Reset(s.m, s.k)
			q.data = guarded[uint8](t, len(q.data))
			q.Quantise(guardedCopy(t, a), s.k, 0, s.m)
			p := PackInt8(w, s.k, s.n)
			p.data = guardedCopy(t, p.data)
			p.Mul(guarded[float32](t, s.m*s.n), &q, e)
		}
	})
}

func TestGuardedSlicesAreGuarded(t *testing.T) {
	v := guarded[float32](t, 5)
	v[4] = math.Pi
	if v[4] != math.Pi || uintptr(unsafe.Pointer(&v[4]))%uintptr(syscall.Getpagesize()) != uintptr(syscall.Getpagesize()-4) {
		t.Fatal("not at the end of a page")
	}
}
