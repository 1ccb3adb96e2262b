package kernel

// mulGo is the specification of MulPart: sums in the order of k, then bias,
// then what is added, then the activation. The assembly begins its sums with
// the bias and uses fused multiply-adds.
func (p *Packed) mulGo(dst []float32, ldd int, a []float32, lda, m, from, to int, e Epilogue) {
	for ; from < to; from += p.panel {
		width := min(p.panel, p.pad(p.n-from))
		cols := min(width, to-from)
		w := p.data[p.k*from:]
		for i := range m {
			var acc [ColumnStep]float32
			sums := acc[:cols]
			for q, x := range a[i*lda : i*lda+p.k] {
				for j, v := range w[q*width : q*width+cols] {
					sums[j] += x * v
				}
			}
			if e.Bias != nil {
				addTo(sums, e.Bias[from:])
			}
			if e.Add != nil {
				addTo(sums, e.Add[i*e.AddStride+from:])
			}
			activateGo(sums, e.Act)
			copy(dst[i*ldd+from:], sums)
		}
	}
}

func addTo(y, x []float32) {
	for i := range y {
		y[i] += x[i]
	}
}

func mulABGo(dst, a, b []float32, m, k, n, ldd, lda, ldb int) {
	for i := range m {
		row := dst[i*ldd : i*ldd+n]
		clear(row)
		for q, x := range a[i*lda : i*lda+k] {
			for j, v := range b[q*ldb : q*ldb+n] {
				row[j] += x * v
			}
		}
	}
}

func transposeGo(dst, src []float32, rows, cols, ldd, lds int) {
	for i := range rows {
		for j := range cols {
			dst[j*ldd+i] = src[i*lds+j]
		}
	}
}
