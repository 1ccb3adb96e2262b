// Command gen makes the corpus of the support desk from the hand-written
// material. The same material always gives the same corpus, byte for byte
// before compression. Run it from the module's root:
//
//	go run ./scenes/support/gen
//
// It reads scenes/support/material and writes scenes/support/corpus.tsv.gz;
// docs/scenes/support.md describes both.
package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	material := flags.String("material", "scenes/support/material", "folder of the hand-written material")
	out := flags.String("out", "scenes/support/corpus.tsv.gz", "corpus file to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	m, err := readMaterial(os.DirFS(*material))
	if err != nil {
		return fmt.Errorf("read material: %w", err)
	}
	c, err := build(m)
	if err != nil {
		return fmt.Errorf("build corpus: %w", err)
	}
	plain := c.encode()
	packed, err := pack(plain)
	if err != nil {
		return fmt.Errorf("compress corpus: %w", err)
	}
	if err := os.WriteFile(*out, packed, 0o644); err != nil {
		return fmt.Errorf("write corpus: %w", err)
	}
	fmt.Printf("%d intents, %d messages, %d bytes, %d compressed\n", len(m.intents), len(c.rows), len(plain), len(packed))
	return nil
}

// pack compresses without a time stamp or a file name, so that the same
// corpus gives the same file.
func pack(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
