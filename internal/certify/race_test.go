//go:build race

package certify

// raced says that the race detector, which slows simulations twentyfold, is on.
const raced = true
