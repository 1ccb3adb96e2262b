package main

import "tandem/internal/kernel"

//go:noescape
func peakAVX2(n int)

// peak runs multiply-adds that wait for nothing and says how many operations
// they were; 0 where there is no such loop for the processor.
func peak() float64 {
	if !kernel.Accelerated() {
		return 0
	}
	const rounds = 10_000
	peakAVX2(rounds)
	return rounds * 12 * 8 * 2
}
