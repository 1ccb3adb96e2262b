package kernel

import (
	"math"
	"slices"
	"testing"
)

func TestActivationsKeepTheirBounds(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		var x []float32
		for v := -12.0; v < 12; v += 0.161 / float64(short(435)) {
			x = append(x, float32(v))
		}
		x = append(x, 0, 1e-40, -1e-40, 1e-30, -1e-30, 1e30, -1e30, 100, -100)
		for act, apply := range map[Activation]func([]float32){GELU: Gelu, Tanh: Tanhs} {
			got := slices.Clone(x)
			apply(got)
			for i, v := range x {
				want := activation(float64(v), act)
				if d := math.Abs(float64(got[i]) - want); !(d <= 6e-7*max(1, math.Abs(float64(v)))) {
					t.Fatalf("activation %d of %v is %v, off by %v", act, v, got[i], d)
				}
				if v <= -1e30 && act == GELU && got[i] != 0 || v >= 1e30 && act == GELU && got[i] != v || v >= 1e30 && act == Tanh && got[i] != 1 {
					t.Fatalf("activation %d of %v is %v", act, v, got[i])
				}
			}
		}
	})
}

func TestActivationsOfTailsAndOddNumbers(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(31)
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for n := range 70 {
			for _, act := range []Activation{Identity, GELU, Tanh, ReLU} {
				x := values(r, n+2, n%3)
				if n > 0 {
					x[r.IntN(n)] = []float32{nan, inf, -inf, 1e-42}[n%4]
				}
				want, got := slices.Clone(x), slices.Clone(x)
				activateGo(want[:n], act)
				activate(got[:n], act)
				for i := range x {
					if !near(got[i], want[i], 1+float32(math.Abs(float64(x[i])))) && got[i] != want[i] {
						t.Fatalf("activation %d, n %d: of %v is %v, want %v", act, n, x[i], got[i], want[i])
					}
				}
			}
		}
	})
}

func TestLayerNorm(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(32)
		for n := 1; n < 140; n += 141 / short(140) {
			const rows = 3
			x, gamma, beta := make([]float32, n*rows), values(r, n, 1), values(r, n, 2)
			for i := range x {
				x[i] = float32(r.NormFloat64()*2 + 100)
			}
			dst := make([]float32, len(x))
			LayerNorm(dst, x, gamma, beta, 1e-12)
			inPlace := slices.Clone(x)
			LayerNorm(inPlace, inPlace, gamma, beta, 1e-12)
			if !slices.Equal(bits(dst), bits(inPlace)) {
				t.Fatalf("n %d: in place differs", n)
			}
			for row := range rows {
				var mean, variance float64
				for _, v := range x[row*n : (row+1)*n] {
					mean += float64(v) / float64(n)
				}
				for _, v := range x[row*n : (row+1)*n] {
					variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
				}
				if n == 1 {
					mean, variance = float64(x[row]), 1
				}
				for i, v := range x[row*n : (row+1)*n] {
					want := (float64(v)-mean)/math.Sqrt(variance+1e-12)*float64(gamma[i]) + float64(beta[i])
					if d := math.Abs(float64(dst[row*n+i]) - want); d > 1e-4*(1+math.Abs(float64(gamma[i])))+1e-6*math.Abs(float64(beta[i])) {
						t.Fatalf("n %d row %d: [%d] is %v, want %v", n, row, i, dst[row*n+i], want)
					}
				}
			}
		}
		x := []float32{1, float32(math.NaN()), 2, 3, 4, 5, 6, 7, 8}
		LayerNorm(x, x, make([]float32, 9), make([]float32, 9), 1e-5)
		for _, v := range x {
			if v == v {
				t.Fatalf("a row with NaN became %v", x)
			}
		}
	})
}

func TestDepthwise(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := random(33)
		for i := range short(200) {
			h, w, ch := 1+r.IntN(7), 1+r.IntN(7), 1+r.IntN(50)
			src, weights, bias := values(r, h*w*ch, i%3), values(r, 9*ch, i%2), values(r, ch, 1)
			if i%3 == 0 {
				bias = nil
			}
			dst := values(r, h*w*ch+1, 0)
			end := dst[h*w*ch]
			Depthwise3x3(dst[:h*w*ch], src, weights, bias, h, w, ch)
			if dst[h*w*ch] != end {
				t.Fatal("wrote past the end")
			}
			for y := range h {
				for x := range w {
					for c := range ch {
						var want, size float64
						if bias != nil {
							want, size = float64(bias[c]), math.Abs(float64(bias[c]))
						}
						for ky := range 3 {
							for kx := range 3 {
								yy, xx := y+ky-1, x+kx-1
								if yy < 0 || yy >= h || xx < 0 || xx >= w {
									continue
								}
								v := float64(src[(yy*w+xx)*ch+c]) * float64(weights[(ky*3+kx)*ch+c])
								want += v
								size += math.Abs(v)
							}
						}
						if d := math.Abs(float64(dst[(y*w+x)*ch+c]) - want); d > 1e-6*size+1e-30 {
							t.Fatalf("%d×%d×%d at %d,%d,%d: off by %v", h, w, ch, y, x, c, d)
						}
					}
				}
			}
		}
	})
}
