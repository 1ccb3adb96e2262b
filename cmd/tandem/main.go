// Command tandem puts small models in front of a large one: it serves, learns
// and certifies. Run tandem --help.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
)

func main() {
	os.Exit(run(context.Background(), system{
		args: os.Args[1:], getenv: os.Getenv,
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		notify: func(signals ...os.Signal) (<-chan os.Signal, func()) {
			c := make(chan os.Signal, 2)
			signal.Notify(c, signals...)
			return c, func() { signal.Stop(c) }
		},
	}))
}

// system is everything a command sees of the world. Nothing below main reads
// flags, the environment or signals.
type system struct {
	args           []string
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	// notify asks for signals; the function returned ends that.
	notify func(...os.Signal) (<-chan os.Signal, func())
}
