package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"tandem/internal/config"
	"tandem/internal/lifecycle"
	"tandem/internal/telemetry"
)

type serveCmd struct {
	fileFlag
}

// Help implements kong.HelpProvider.
func (serveCmd) Help() string {
	return "The configuration is read again on SIGHUP and when the file changes. SIGINT or SIGTERM lets requests in " +
		"flight finish (limits.drain); a second one stops at once.\n\n" +
		"Examples:\n  tandem serve\n  tandem serve --config /etc/tandem/tandem.yaml"
}

// Run serves until a signal or a failure.
func (c *serveCmd) Run(ctx context.Context, sys system) error {
	cfg, err := config.Load(c.Config, sys.getenv)
	if err != nil {
		return err
	}
	log := newLogger(cfg.Log, sys.stderr)
	families := familyTable(sys, cfg)
	logAbsent(log, families, cfg.TandemTasks())
	a, err := build(ctx, cfg, deps{log: log, families: families})
	if err != nil {
		return err
	}
	hangups, ignoreHangups := sys.notify(syscall.SIGHUP)
	defer ignoreHangups()
	watch := config.Watcher{
		Path: c.Config, Getenv: sys.getenv, Current: cfg, Hangups: hangups,
		Apply: func(next *config.Config) error { return a.Reload(ctx, next) },
		Report: func(r config.Reload) {
			logReload(log, c.Config, r)
			a.Reloaded(ctx, r)
		},
	}
	group := lifecycle.Group{Grace: cfg.Limits.Drain + stopping, Parts: []lifecycle.Part{
		{Name: "server", Run: a.Run, Ready: a.Ready()},
		{Name: "banner", Run: func(context.Context) error { return banner(sys, c.Config, cfg, a.Addr()) }},
		{Name: "configuration", Run: watch.Run},
	}}
	return untilSignal(ctx, sys, &group)
}

// stopping is what parts have to write down after requests have drained.
const stopping = 10 * time.Second

// untilSignal runs the group until the first interrupt and forces it to stop
// at the second.
func untilSignal(ctx context.Context, sys system, group *lifecycle.Group) error {
	signals, ignore := sys.notify(os.Interrupt, syscall.SIGTERM)
	defer ignore()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	force, done := make(chan struct{}), make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-done:
			return
		case <-signals:
		}
		fmt.Fprintln(sys.stderr, "tandem: finishing what is in progress; interrupt again to stop at once")
		stop()
		select {
		case <-done:
		case <-signals:
			close(force)
		}
	})
	err := group.Run(ctx, force)
	close(done)
	watcher.Wait()
	return err
}

// banner says where to point a client.
func banner(sys system, file string, cfg *config.Config, addr string) error {
	paint := painterFor(sys, sys.stdout)
	var tasks, first []string
	for _, t := range cfg.TandemTasks() {
		tasks = append(tasks, fmt.Sprintf("%s (teacher %s)", t.Name, t.Teacher))
		first = append(first, t.Name)
	}
	url := "http://" + dialable(addr)
	_, err := fmt.Fprintf(sys.stdout, "%s serves on %s\n", paint.title("tandem "+version), paint.title(url))
	if err == nil {
		err = table(sys.stdout, [][]string{
			{"  tasks", strings.Join(tasks, ", ")},
			{"  data", cfg.Data},
			{"  clients", fmt.Sprintf("base_url=%q  model=%q", url+"/v1", first[0])},
			{"  changes", file + " is read again when it changes"},
		})
	}
	return err
}

// dialable turns a listen address into one to connect to.
func dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func logReload(log *slog.Logger, file string, r config.Reload) {
	faults, isConfig := errors.AsType[*config.Error](r.Err)
	switch {
	case isConfig:
		for _, f := range faults.Faults {
			log.Error("configuration refused, the old one stays", "file", file, "line", f.Line, "column", f.Column, "fault", f.Message)
		}
	case r.Err != nil:
		log.Error("configuration not reloaded, the old one stays", "file", file, "error", r.Err)
	case r.NeedsRestart != nil:
		log.Warn("configuration reloaded, but some changes need a restart", "file", file, "restart_for", strings.Join(r.NeedsRestart, ", "))
	default:
		log.Info("configuration reloaded", "file", file)
	}
}

// newLogger writes as the configuration says.
func newLogger(c config.Log, w io.Writer) *slog.Logger {
	level := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}[c.Level]
	return telemetry.NewLog(w, level, c.Format == "json")
}
