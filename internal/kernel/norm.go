package kernel

import "math"

// LayerNorm normalises rows: dst = (x − mean)/√(variance + eps)·gamma + beta,
// with the mean and the population variance of each row. The rows of dst and
// x are as long as gamma and beta and lie without gaps; dst may be x itself.
func LayerNorm(dst, x, gamma, beta []float32, eps float32) {
	n := len(gamma)
	if n == 0 || len(beta) != n || len(x)%n != 0 || len(dst) != len(x) {
		panic("kernel: layer norm of differing lengths")
	}
	for ; len(x) > 0; x, dst = x[n:], dst[n:] {
		normRow(dst[:n], x[:n], gamma, beta, eps)
	}
}

func normRow(dst, x, gamma, beta []float32, eps float32) {
	n := 0
	if accelerated() {
		n = len(x) &^ (Lanes - 1)
	}
	var sum float32
	if n > 0 {
		sum = sumFast(x[:n])
	}
	mean := (sum + sumGo(x[n:])) / float32(len(x))
	sum = 0
	if n > 0 {
		sum = deviationFast(x[:n], mean)
	}
	variance := (sum + deviationGo(x[n:], mean)) / float32(len(x))
	scale := float32(1 / math.Sqrt(float64(variance+eps)))
	if n > 0 {
		scaleFast(dst[:n], x[:n], gamma[:n], beta[:n], mean, scale)
	}
	scaleGo(dst[n:], x[n:], gamma[n:], beta[n:], mean, scale)
}

func sumGo(x []float32) (sum float32) {
	for _, v := range x {
		sum += v
	}
	return sum
}

func deviationGo(x []float32, mean float32) (sum float32) {
	for _, v := range x {
		d := v - mean
		sum += d * d
	}
	return sum
}

func scaleGo(dst, x, gamma, beta []float32, mean, scale float32) {
	for i, v := range x {
		dst[i] = (v-mean)*scale*gamma[i] + beta[i]
	}
}
