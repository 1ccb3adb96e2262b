package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func document(change string) string {
	return `providers:
  up:
    openai: { base_url: "https://api.example.com/v1" }
    models: { large: {} }
tasks:
  support: { teacher: large, labels: [a, b] }
` + change
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// watched starts a watcher's inner loop on a file; the test plays the file
// system's events.
func watched(t *testing.T, path string, apply func(*Config) error) (events chan fsnotify.Event, hangups chan os.Signal, reloads chan Reload) {
	t.Helper()
	c, err := Load(path, env)
	if err != nil {
		t.Fatal(err)
	}
	events, hangups, reloads = make(chan fsnotify.Event, 8), make(chan os.Signal, 1), make(chan Reload, 8)
	w := Watcher{Path: path, Getenv: env, Current: c, Hangups: hangups, Apply: apply, Report: func(r Reload) { reloads <- r }}
	go w.loop(t.Context(), events, nil, func() {})
	return events, hangups, reloads
}

func TestWatchSettles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tandem.yaml")
	write(t, path, document(""))
	synctest.Test(t, func(t *testing.T) {
		var got []*Config
		events, hangups, reloads := watched(t, path, func(c *Config) error { got = append(got, c); return nil })
		event := fsnotify.Event{Name: path, Op: fsnotify.Write}

		// Half a file is never looked at while writing goes on.
		write(t, path, "tasks: [")
		events <- event
		time.Sleep(settle / 2)
		write(t, path, document("listen: 127.0.0.1:9\nlog: { level: debug }\n"))
		events <- event
		time.Sleep(settle - time.Millisecond)
		synctest.Wait()
		if len(reloads) != 0 {
			t.Fatalf("looked too early: %+v", <-reloads)
		}
		r := <-reloads
		if r.Err != nil || !slices.Equal(r.NeedsRestart, []string{"listen", "log"}) || len(got) != 1 || got[0].Log.Level != "debug" {
			t.Fatalf("reload %+v, applied %d", r, len(got))
		}

		// The same content again is not a change, but a hangup asks anyway.
		events <- event
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(reloads) != 0 {
			t.Fatalf("reloaded without a change: %+v", <-reloads)
		}
		hangups <- os.Interrupt
		if r := <-reloads; r.Err != nil || len(got) != 2 {
			t.Fatalf("hangup: %+v", r)
		}

		// A folder that never settles is looked at all the same.
		write(t, path, document(""))
		begun := time.Now()
		for range 30 {
			events <- fsnotify.Event{Name: path + ".log", Op: fsnotify.Write}
			time.Sleep(settle / 2)
		}
		synctest.Wait()
		if len(reloads) != 1 || time.Since(begun) < settleMost {
			t.Fatalf("%d reloads", len(reloads))
		}
	})
}

func TestWatchKeepsTheOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tandem.yaml")
	write(t, path, document(""))
	synctest.Test(t, func(t *testing.T) {
		refuse := errors.New("the database says no")
		var apply error
		events, _, reloads := watched(t, path, func(*Config) error { return apply })
		event := fsnotify.Event{Name: path, Op: fsnotify.Create}

		write(t, path, document("lissten: x\n"))
		events <- event
		r := <-reloads
		if e, ok := errors.AsType[*Error](r.Err); !ok || len(e.Faults) != 1 || !strings.Contains(e.Error(), `tandem.yaml:7:1: unknown key "lissten"`) {
			t.Fatalf("reload %+v", r)
		}

		apply = refuse
		write(t, path, document("listen: 127.0.0.1:9\n"))
		events <- event
		if r := <-reloads; !errors.Is(r.Err, refuse) {
			t.Fatalf("reload %+v", r)
		}

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		events <- event
		if r := <-reloads; !errors.Is(r.Err, os.ErrNotExist) {
			t.Fatalf("reload %+v", r)
		}

		apply = nil
		write(t, path, document("listen: 127.0.0.1:9\n"))
		events <- event
		if r := <-reloads; r.Err != nil || !slices.Equal(r.NeedsRestart, []string{"listen"}) {
			t.Fatalf("reload %+v", r)
		}
	})
}

// TestWatchFiles uses the real notifications of the file system.
func TestWatchFiles(t *testing.T) {
	level := func(l string) string { return document("log: { level: " + l + " }\n") }
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, dir string)
	}{
		{"written in place", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "tandem.yaml"), level("warn")) }},
		{"renamed over", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, ".tandem.yaml.swp"), level("warn"))
			rename(t, filepath.Join(dir, ".tandem.yaml.swp"), filepath.Join(dir, "tandem.yaml"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "tandem.yaml"), level("info"))
			expectLevel(t, filepath.Join(dir, "tandem.yaml"), func() { tc.change(t, dir) })
		})
	}
	t.Run("kubernetes swap", func(t *testing.T) {
		dir := t.TempDir()
		for name, l := range map[string]string{"..1": "info", "..2": "warn"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name, "tandem.yaml"), level(l))
		}
		link(t, "..1", filepath.Join(dir, "..data"))
		link(t, filepath.Join("..data", "tandem.yaml"), filepath.Join(dir, "tandem.yaml"))
		expectLevel(t, filepath.Join(dir, "tandem.yaml"), func() {
			link(t, "..2", filepath.Join(dir, "..data_tmp"))
			rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
			if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("a link into another folder", func(t *testing.T) {
		dir, other := t.TempDir(), t.TempDir()
		write(t, filepath.Join(other, "real.yaml"), level("info"))
		link(t, filepath.Join(other, "real.yaml"), filepath.Join(dir, "tandem.yaml"))
		expectLevel(t, filepath.Join(dir, "tandem.yaml"), func() { write(t, filepath.Join(other, "real.yaml"), level("warn")) })
	})
}

// expectLevel watches the file, changes it and expects the level warn.
func expectLevel(t *testing.T, path string, change func()) {
	t.Helper()
	c, err := Load(path, env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	applied, done := make(chan string, 8), make(chan error, 1)
	w := Watcher{
		Path: path, Getenv: env, Current: c,
		Apply:  func(c *Config) error { applied <- c.Log.Level; return nil },
		Report: func(r Reload) {},
	}
	// A hangup that is answered proves that the watch stands.
	hangups := make(chan os.Signal, 1)
	w.Hangups = hangups
	go func() { done <- w.Run(ctx) }()
	hangups <- os.Interrupt
	if got := <-applied; got != "info" {
		t.Errorf("level %q first", got)
	}
	change()
	select {
	case got := <-applied:
		if got != "warn" {
			t.Errorf("level %q", got)
		}
	case <-ctx.Done():
		t.Error("the change was not noticed")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
