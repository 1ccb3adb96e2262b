//go:build !race

package certify

const raced = false
