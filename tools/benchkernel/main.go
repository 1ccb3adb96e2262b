// Command benchkernel measures the kernels beside gonum on one thread:
//
//	make bench-kernel
//
// Speeds are per second of processor time, not of the clock on the wall, so
// that they hold on a machine that does other work too; each is the median of
// several runs, in which ours and gonum's take turns. A column gives the share
// of what the processor can do at most, measured with independent
// multiply-adds in the same turns.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	"tandem/internal/kernel"
)

func main() {
	runs := flag.Int("runs", 9, "measure each figure this often and take the median")
	slot := flag.Duration("slot", 20*time.Millisecond, "processor time of one run")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	runtime.LockOSThread()
	b := bench{runs: *runs, slot: *slot}
	fmt.Printf("kernels: %s, go %s, GOARCH %s\n\n", kernel.Name(), runtime.Version(), runtime.GOARCH)
	b.products()
	b.attention()
	b.elementwise()
}

// bench measures.
type bench struct {
	runs int
	slot time.Duration
}

// cpu is the processor time this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		fmt.Fprintln(os.Stderr, "benchkernel:", err)
		os.Exit(1)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// times is the median processor time in seconds of one call of each function;
// they take turns so that a change of the clock meets all of them.
func (b bench) times(fs ...func()) []float64 {
	counts := make([]int, len(fs))
	for i, f := range fs {
		f()
		counts[i] = 1
		for {
			start := cpu()
			for range counts[i] {
				f()
			}
			if cpu()-start >= b.slot {
				break
			}
			counts[i] *= 2
		}
	}
	all := make([][]float64, len(fs))
	for range b.runs {
		for i, f := range fs {
			start := cpu()
			for range counts[i] {
				f()
			}
			all[i] = append(all[i], (cpu()-start).Seconds()/float64(counts[i]))
		}
	}
	medians := make([]float64, len(fs))
	for i := range all {
		slices.Sort(all[i])
		medians[i] = all[i][len(all[i])/2]
	}
	return medians
}

func numbers(n int) []float32 {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// products measures the linear layers of MiniLM-L6 for texts of many lengths.
func (b bench) products() {
	fmt.Println("| m×k×n | fp32 GFLOP/s | of AVX2's limit | with bias and GELU | int8 GOP/s | gonum GFLOP/s |")
	fmt.Println("|---|--:|--:|--:|--:|--:|")
	for _, m := range []int{1, 8, 13, 16, 32, 128} {
		for _, s := range [][2]int{{384, 384}, {384, 1536}, {1536, 384}} {
			k, n := s[0], s[1]
			a, w, dst, bias := numbers(m*k), numbers(k*n), make([]float32, m*n), numbers(n)
			p, p8 := kernel.Pack(w, k, n), kernel.PackInt8(w, k, n)
			var q kernel.Rows8
			t := b.times(
				func() { p.Mul(dst, a, m, kernel.Epilogue{}) },
				func() { peak() },
				func() { p.Mul(dst, a, m, kernel.Epilogue{Bias: bias, Act: kernel.GELU}) },
				func() {
					q.Reset(m, k)
					q.Quantise(a, k, 0, m)
					p8.Mul(dst, &q, kernel.Epilogue{})
				},
				func() {
					gonum.Implementation{}.Sgemm(blas.NoTrans, blas.NoTrans, m, n, k, 1, a, k, w, n, 0, dst, n)
				},
			)
			g := 2 * float64(m*k*n) / 1e9
			fmt.Printf("| %d×%d×%d | %.1f | %.0f %% | %.1f | %.1f | %.1f |\n",
				m, k, n, g/t[0], 100*g/t[0]/(peak()/1e9/t[1]), g/t[2], g/t[3], g/t[4])
		}
	}
}

// attention measures the products of twelve heads, 32 wide, and the softmax.
func (b bench) attention() {
	fmt.Println("\n| tokens | QKᵀ GFLOP/s | PV GFLOP/s | softmax Gnumbers/s | gonum QKᵀ | gonum PV |")
	fmt.Println("|---|--:|--:|--:|--:|--:|")
	const heads, head, width = 12, 32, 384
	for _, n := range []int{8, 16, 31, 32, 128} {
		q, k, v := numbers(n*width), numbers(n*width), numbers(n*width)
		scores, scratch, out := make([]float32, n*n), make([]float32, kernel.ScratchABT(head, n)), make([]float32, n*width)
		each := func(f func(h int)) func() {
			return func() {
				for h := range heads {
					f(h * head)
				}
			}
		}
		t := b.times(
			each(func(h int) { kernel.MulABT(scores, q[h:], k[h:], scratch, n, head, n, n, width, width) }),
			each(func(h int) { kernel.MulAB(out[h:], scores, v[h:], n, n, head, width, n, width) }),
			each(func(int) {
				for i := range n {
					kernel.Softmax(scores[i*n : (i+1)*n])
				}
			}),
			each(func(h int) {
				gonum.Implementation{}.Sgemm(blas.NoTrans, blas.Trans, n, n, head, 1, q[h:], width, k[h:], width, 0, scores, n)
			}),
			each(func(h int) {
				gonum.Implementation{}.Sgemm(blas.NoTrans, blas.NoTrans, n, head, n, 1, scores, n, v[h:], width, 0, out[h:], width)
			}),
		)
		g := 2 * float64(n*n*width) / 1e9
		fmt.Printf("| %d | %.1f | %.1f | %.2f | %.1f | %.1f |\n", n, g/t[0], g/t[1], float64(n*n*heads)/1e9/t[2], g/t[3], g/t[4])
	}
}

// elementwise measures what goes through memory once.
func (b bench) elementwise() {
	const n = 32 * 1536
	x, y, gamma := numbers(n), make([]float32, n), numbers(384)
	image, filter, conv := numbers(28*28*64), numbers(9*64), make([]float32, 28*28*64)
	table, idx, val := numbers(4096*80), make([]uint32, 200), numbers(200)
	for i := range idx {
		idx[i] = uint32(i*7919) % 4096
	}
	logits := make([]float32, 80)
	t := b.times(
		func() { copy(y, x); kernel.Gelu(y) },
		func() { copy(y, x); kernel.Tanhs(y) },
		func() { kernel.LayerNorm(y, x, gamma, gamma, 1e-12) },
		func() { kernel.Depthwise3x3(conv, image, filter, nil, 28, 28, 64) },
		func() { kernel.Dot(x[:384], x[384:768]) },
		func() { gonum.Implementation{}.Sdot(384, x, 1, x[384:], 1) },
		func() { kernel.Axpy(1e-9, x[:384], y) },
		func() { gonum.Implementation{}.Saxpy(384, 1e-9, x, 1, y, 1) },
		func() { kernel.Gather(logits, table, idx, val) },
		func() {
			for i, row := range idx {
				gonum.Implementation{}.Saxpy(80, val[i], table[row*80:], 1, logits, 1)
			}
		},
	)
	fmt.Println("\n| kernel | speed | gonum |")
	fmt.Println("|---|--:|--:|")
	fmt.Printf("| GELU, 32×1536 | %.2f Gnumbers/s | |\n", n/1e9/t[0])
	fmt.Printf("| tanh, 32×1536 | %.2f Gnumbers/s | |\n", n/1e9/t[1])
	fmt.Printf("| layer norm, 128×384 | %.2f Gnumbers/s | |\n", n/1e9/t[2])
	fmt.Printf("| depthwise 3×3, 28×28×64 | %.1f GFLOP/s | |\n", 2*9*28*28*64/1e9/t[3])
	fmt.Printf("| dot, 384 | %.1f GFLOP/s | %.1f GFLOP/s |\n", 2*384/1e9/t[4], 2*384/1e9/t[5])
	fmt.Printf("| axpy, 384 | %.1f GFLOP/s | %.1f GFLOP/s |\n", 2*384/1e9/t[6], 2*384/1e9/t[7])
	fmt.Printf("| sparse axpy, 200 rows of 80 | %.1f GFLOP/s | %.1f GFLOP/s |\n", 2*200*80/1e9/t[8], 2*200*80/1e9/t[9])
}
