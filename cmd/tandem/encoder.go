package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"tandem"
	"tandem/internal/config"
	"tandem/internal/feature/encoder"
	"tandem/internal/student"
	"tandem/internal/student/all"
	"tandem/internal/weights"
)

// noEncoder in the place of an encoder's name asks for none.
const noEncoder = "none"

// familyTable lists the families of students, those on a text encoder with
// the one that the configuration names. When its files are not here, or cannot
// be used, they keep their place and say why; the others work without.
func familyTable(sys system, cfg *config.Config) map[string]student.Family {
	e, err := openEncoder(sys, cfg)
	if err != nil {
		return all.With(nil, err)
	}
	return all.With(e, nil)
}

// openEncoder opens the encoder that the configuration names: a model that
// tandem models pull has fetched, or a folder.
func openEncoder(sys system, cfg *config.Config) (*encoder.Encoder, error) {
	name := cfg.Learning.Encoder
	if name == noEncoder {
		return nil, errors.New("the configuration asks for no encoder (learning.encoder)")
	}
	opt := encoder.Options{Threads: runtime.GOMAXPROCS(0), Int8: cfg.Learning.EncoderInt8}
	if strings.ContainsAny(name, `/\`) {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return nil, tandem.Errorf(tandem.NotFound, "there is no folder %s (learning.encoder)", name)
		}
		opt.Name = filepath.Base(name)
		return encoder.Open(name, opt)
	}
	dir, err := modelsFolder(sys, cfg.ModelsDir)
	if err != nil {
		return nil, err
	}
	model, err := weights.NewCache(dir).Get(name)
	if err != nil {
		return nil, err
	}
	opt.Name, opt.Prefix = model.Name, model.Prefix
	return encoder.Open(model.Path, opt)
}

// logAbsent tells once, at the start, which families are missing and why.
func logAbsent(log *slog.Logger, table map[string]student.Family, tasks []tandem.Task) {
	told := map[string]bool{}
	for _, t := range tasks {
		_, absent := student.Fitting(table, t)
		for _, why := range absent {
			if !told[why] {
				told[why] = true
				log.Info("some families of students are left out", "task", t.Name, "why", why)
			}
		}
	}
}
