package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Times of the watch: a file counts as written when nothing has moved in its
// folder for settle, or when something has been moving for settleMost.
const (
	settle     = 250 * time.Millisecond
	settleMost = 2 * time.Second
)

// Reload says what became of a changed configuration.
type Reload struct {
	// Err is why the new configuration was refused; the old one stays. An
	// *Error when the file has faults. Nil when the new one is in force.
	Err error
	// NeedsRestart names changed settings that take effect only when tandem
	// starts again; all others are in force.
	NeedsRestart []string
}

// Watcher keeps a running program in step with its configuration file.
type Watcher struct {
	Path   string
	Getenv func(string) string
	// Current is the configuration in force when Run begins.
	Current *Config
	// Hangups asks for a reload even when the file has not changed.
	Hangups <-chan os.Signal
	// Apply puts a valid configuration in force, wholly or not at all.
	Apply func(*Config) error
	// Report is told about every reload and about losing sight of the file.
	Report func(Reload)

	seen [sha256.Size]byte // of the content last tried
	dirs map[string]bool
}

// Run watches until ctx ends and returns ctx.Err(). It watches the file's
// folder rather than the file, so that editors that write a new file and
// rename it, and Kubernetes' swapped symbolic links, are noticed.
func (w *Watcher) Run(ctx context.Context) error {
	if data, err := os.ReadFile(w.Path); err == nil {
		w.seen = sha256.Sum256(data)
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		w.Report(Reload{Err: fmt.Errorf("watch %s: %w; send SIGHUP after changing it", w.Path, err)})
		return w.loop(ctx, nil, nil, func() {})
	}
	defer notify.Close()
	w.dirs = map[string]bool{}
	w.follow(notify)
	return w.loop(ctx, notify.Events, notify.Errors, func() { w.follow(notify) })
}

// follow watches the folder of the file and, when it is a symbolic link, of
// the file meant.
func (w *Watcher) follow(notify *fsnotify.Watcher) {
	dirs := []string{filepath.Dir(w.Path)}
	if target, err := filepath.EvalSymlinks(w.Path); err == nil {
		dirs = append(dirs, filepath.Dir(target))
	}
	for _, dir := range dirs {
		if w.dirs[dir] {
			continue
		}
		if err := notify.Add(dir); err != nil {
			w.Report(Reload{Err: fmt.Errorf("watch %s: %w; send SIGHUP after changing the configuration", dir, err)})
			continue
		}
		w.dirs[dir] = true
	}
}

// loop waits for the folder to settle after each change, then looks at the
// file. moved is called before looking, as links may lead elsewhere now.
func (w *Watcher) loop(ctx context.Context, events <-chan fsnotify.Event, errs <-chan error, moved func()) error {
	var quiet, latest <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.Hangups:
			w.look(true)
			continue
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if e.Op != fsnotify.Chmod {
				quiet = time.After(settle)
				if latest == nil {
					latest = time.After(settleMost)
				}
			}
			if e.Has(fsnotify.Remove) {
				delete(w.dirs, e.Name)
			}
			continue
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			// Events were lost; the file may have changed.
			w.Report(Reload{Err: fmt.Errorf("watch %s: %w", w.Path, err)})
		case <-quiet:
		case <-latest:
		}
		quiet, latest = nil, nil
		moved()
		w.look(false)
	}
}

// look reads the file and applies it when it has changed, or always.
func (w *Watcher) look(always bool) {
	data, err := os.ReadFile(w.Path)
	if err != nil {
		if w.seen != [sha256.Size]byte{} || always {
			w.Report(Reload{Err: fmt.Errorf("read configuration: %w", err)})
		}
		w.seen = [sha256.Size]byte{}
		return
	}
	sum := sha256.Sum256(data)
	if sum == w.seen && !always {
		return
	}
	w.seen = sum
	next, err := Parse(w.Path, data, w.Getenv)
	if err == nil {
		err = w.Apply(next)
	}
	if err != nil {
		w.Report(Reload{Err: err})
		return
	}
	frozen := w.Current.Frozen(next)
	w.Current = next
	w.Report(Reload{NeedsRestart: frozen})
}
