package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/config"
	"tandem/internal/console"
	"tandem/internal/registry"
	"tandem/internal/store"
	"tandem/internal/store/sqlite"
	"tandem/internal/student"
	"tandem/internal/trace"
)

// folder is an open data folder. One process has it at a time.
type folder struct {
	store    *sqlite.Store
	key      certify.Key
	registry *registry.Registry
}

// openFolder opens a data folder, new when it is not there: tandem.Conflict
// when another process has it. initial is the key of a new folder; a random
// one when nil.
func openFolder(ctx context.Context, dir string, initial *certify.Key) (*folder, error) {
	s, err := sqlite.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	if initial == nil {
		initial = new(certify.Key)
		_, _ = rand.Read(initial[:]) // never fails
	}
	key, err := s.Setting(ctx, "key", initial[:])
	if err == nil && len(key) != len(initial) {
		err = fmt.Errorf("the key in %s has %d bytes, not %d", dir, len(key), len(initial))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open data folder: %w", err), s.Close())
	}
	return &folder{store: s, key: certify.Key(key), registry: registry.New(s, 0)}, nil
}

// openDesk opens a data folder that no server has, and returns the console's
// handler over it.
func openDesk(ctx context.Context, sys system, cfg *config.Config, log *slog.Logger) (http.Handler, func() error, error) {
	f, err := openFolder(ctx, cfg.Data, nil)
	if err != nil {
		return nil, nil, err
	}
	c := console.Console{
		Tasks:    cfg.TandemTasks,
		Families: func() map[string]student.Family { return familyTable(sys, cfg) },
		Reader:   f.store, Registry: f.registry, Log: log,
		Patience: time.Hour, // the caller is this process, and what it reads from may be slow
		Export:   trace.Export,
		Importer: importer{traces: f.store, key: f.key, labelled: func(string, string) {}},
	}
	return c.Handler(), f.store.Close, nil
}

// importer stores traces that were recorded elsewhere.
type importer struct {
	traces   store.Traces
	key      certify.Key
	labelled func(task, label string) // told of every label stored
}

const (
	importBatch = 500
	lastBatch   = 5 * time.Second // to store what came before an import broke off
)

// Import implements console.Importer.
func (i importer) Import(ctx context.Context, task tandem.Task, f console.Fields, rows io.Reader) (console.ImportReport, error) {
	return i.each(ctx, &task, f, rows, func(tandem.Trace) {})
}

// each imports and shows every new trace to see.
func (i importer) each(ctx context.Context, task *tandem.Task, f console.Fields, rows io.Reader, see func(tandem.Trace)) (report console.ImportReport, err error) {
	r, err := trace.NewReader(rows, task, trace.ReadOptions{
		Fields: trace.Fields(f), HashSession: i.key.Unit,
		// An hour ago, so that a microsecond a line does not reach the future.
		Start: time.Now().Add(-time.Hour),
	})
	if err != nil {
		return report, err
	}
	defer func() {
		read := r.Report()
		report.Lines, report.Faulty = read.Lines, read.Faults
		for _, fault := range read.First {
			report.Faults = append(report.Faults, console.LineFault(fault))
		}
	}()
	var batch store.Batch
	flush := func(ctx context.Context) error {
		if len(batch.Traces) == 0 {
			return nil
		}
		if err := i.traces.Write(ctx, batch); err != nil {
			return err
		}
		report.Imported += len(batch.Traces)
		for _, t := range batch.Traces {
			see(t)
			if t.Labelled && !t.OutsideSpace {
				i.labelled(task.Name, t.Teacher)
			}
		}
		batch.Traces = nil
		return nil
	}
	rescue := func() error { // ctx may have ended with the connection that broke
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastBatch)
		defer cancel()
		return flush(ctx)
	}
	seen := map[string]bool{}
	for t, err := range r.All(ctx) {
		if err != nil { // of the stream: what came before it is sound
			err = errors.Join(fmt.Errorf("import: %w", err), rescue())
			return report, err
		}
		_, err := i.traces.Trace(ctx, t.ID)
		switch {
		case err == nil || seen[t.ID]:
			report.Known++
			continue
		case tandem.CodeOf(err) != tandem.NotFound:
			return report, fmt.Errorf("import: %w", err)
		}
		seen[t.ID] = true
		batch.Traces = append(batch.Traces, t)
		if len(batch.Traces) == importBatch {
			if err := flush(ctx); err != nil {
				return report, err
			}
			clear(seen)
		}
	}
	return report, flush(ctx)
}
