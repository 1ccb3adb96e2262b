//go:build race

package studenttest

// Race says that the race detector is on; it makes pools drop objects.
const Race = true
