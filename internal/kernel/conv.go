package kernel

// Depthwise3x3 convolves every channel with its own 3×3 filter, stride 1,
// padded with zeros so that the size stays. Images are NHWC without gaps: src
// and dst hold one image, the number at (y, x, c) being src[(y*w+x)*ch+c];
// weights are w[(ky*3+kx)*ch+c] and bias has ch numbers or is nil. dst must
// not overlap src.
func Depthwise3x3(dst, src, weights, bias []float32, height, width, ch int) {
	checkMatrix("src", len(src), height*width, ch, ch)
	checkMatrix("dst", len(dst), height*width, ch, ch)
	checkMatrix("weights", len(weights), 9, ch, ch)
	if bias != nil && len(bias) != ch {
		panic("kernel: bias does not have a number for each channel")
	}
	n := 0
	if accelerated() {
		n = ch &^ (Lanes - 1)
	}
	for y := range height {
		for x := range width {
			at := (y*width + x) * ch
			inside := y > 0 && y < height-1 && x > 0 && x < width-1
			switch {
			case n > 0 && inside && x == 1:
				// All nine taps are inside: the row goes by in one call.
				depthwiseFast(dst[at:], src[at-(width+1)*ch:], weights, bias, width-2, width, ch)
			case n > 0 && !inside:
				depthwiseEdge(dst, src, weights, bias, y, x, height, width, ch, n)
			}
			depthwiseGo(dst, src, weights, bias, y, x, height, width, ch, n)
		}
	}
}

// depthwiseEdge is depthwiseGo with assembly for the channels up to n, a
// multiple of Lanes.
func depthwiseEdge(dst, src, weights, bias []float32, y, x, height, width, ch, n int) {
	out := dst[(y*width+x)*ch:][:n]
	clear(out)
	if bias != nil {
		copy(out, bias)
	}
	for ky := max(0, 1-y); ky < min(3, height+1-y); ky++ {
		for kx := max(0, 1-x); kx < min(3, width+1-x); kx++ {
			mulAddFast(out, src[((y+ky-1)*width+x+kx-1)*ch:], weights[(ky*3+kx)*ch:])
		}
	}
}

// depthwiseGo computes the channels from c0 on of one pixel.
func depthwiseGo(dst, src, weights, bias []float32, y, x, height, width, ch, c0 int) {
	out := dst[(y*width+x)*ch+c0 : (y*width+x+1)*ch]
	if len(out) == 0 {
		return
	}
	clear(out)
	if bias != nil {
		copy(out, bias[c0:])
	}
	for ky := max(0, 1-y); ky < min(3, height+1-y); ky++ {
		for kx := max(0, 1-x); kx < min(3, width+1-x); kx++ {
			in := src[((y+ky-1)*width+x+kx-1)*ch+c0:]
			w := weights[(ky*3+kx)*ch+c0:]
			for c := range out {
				out[c] += in[c] * w[c]
			}
		}
	}
}
