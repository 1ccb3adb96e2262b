package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"tandem"
	"tandem/internal/config"
	"tandem/internal/lifecycle"
	"tandem/internal/student/all"
	"tandem/scenes/support"
)

// sceneOptions say how the support desk is set up.
type sceneOptions struct {
	data    string        // folder to use and keep; "" makes one that is removed
	listen  string        // address
	latency time.Duration // of the recorded large model, as it is played
	audit   float64       // share of served answers that is checked
	growth  float64       // of the labelled requests before another training; 0: the default
}

// What the recorded large model is said to have cost and to have taken.
const (
	recordedLatency = 900 * time.Millisecond
	inputPrice      = 2.00 // US dollars for a million tokens
	outputPrice     = 8.00
)

// scene is a tandem in front of a recording of the support desk.
type scene struct {
	opt    sceneOptions
	desk   *support.Desk
	dir    string
	config *config.Config
	app    *app
	log    *os.File
}

// openScene writes the recording and the configuration into a folder and
// builds tandem from them, as tandem serve would.
func openScene(ctx context.Context, sys system, opt sceneOptions) (s *scene, err error) {
	s = &scene{opt: opt, dir: opt.data}
	if s.desk, err = support.Load(); err != nil {
		return nil, err
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "tandem-demo-"); err != nil {
			return nil, fmt.Errorf("make a folder for the demo: %w", err)
		}
	} else if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the demo: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return nil, fmt.Errorf("find the folder of the demo: %w", err)
	}
	if err := s.writeRecording(); err != nil {
		return nil, err
	}
	if s.config, err = s.configure(sys, support.Before); err != nil {
		return nil, err
	}
	if s.log, err = os.OpenFile(filepath.Join(s.dir, "tandem.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open the log of the demo: %w", err)
	}
	s.app, err = build(ctx, s.config, deps{log: slog.New(slog.NewTextHandler(s.log, nil)), families: all.Families()})
	return s, err
}

// close removes what the demo does not keep.
func (s *scene) close() error {
	var err error
	if s.log != nil {
		err = s.log.Close()
	}
	if s.opt.data == "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// part is the server as a part of a group.
func (s *scene) part() lifecycle.Part {
	return lifecycle.Part{Name: "server", Run: s.app.Run, Ready: s.app.Ready()}
}

func (s *scene) url() string { return "http://" + dialable(s.app.Addr()) }

// file is the configuration's place.
func (s *scene) file() string { return filepath.Join(s.dir, "tandem.yaml") }

// writeRecording writes the answers for the replay provider.
func (s *scene) writeRecording() error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for text, answer := range s.desk.Answers() {
		if err := e.Encode(map[string]string{"input": text, "answer": answer}); err != nil {
			return fmt.Errorf("encode the recording: %w", err)
		}
	}
	return write(filepath.Join(s.dir, "recording.jsonl"), b.Bytes())
}

// configure writes the configuration of a phase and loads it.
func (s *scene) configure(sys system, phase support.Phase) (*config.Config, error) {
	if err := write(s.file(), s.yaml(phase)); err != nil {
		return nil, err
	}
	return config.Load(s.file(), sys.getenv)
}

// yaml is the configuration of a phase.
func (s *scene) yaml(phase support.Phase) []byte {
	var b bytes.Buffer
	task := s.desk.Task()
	fmt.Fprintf(&b, "# Written by tandem demo. The large model is %s.\n", support.Recording)
	fmt.Fprintf(&b, "listen: %s\ndata: %s\n", quote(s.opt.listen), quote(filepath.Join(s.dir, "data")))
	// The demo plays weeks in a minute, so training may take what it can get.
	b.WriteString("learning:\n  threads: 100%\n")
	if s.opt.growth > 0 {
		fmt.Fprintf(&b, "  growth: %g\n", s.opt.growth)
	}
	fmt.Fprintf(&b, "providers:\n  recording:\n    replay:\n      file: %s\n      latency: %s\n", quote(filepath.Join(s.dir, "recording.jsonl")), s.opt.latency)
	fmt.Fprintf(&b, "    models:\n      %s:\n        price: { input: %g, output: %g }\n", task.Teacher, inputPrice, outputPrice)
	fmt.Fprintf(&b, "tasks:\n  %s:\n    description: %s\n    instructions: %s\n", task.Name, quote(task.Description), quote(task.Instructions))
	fmt.Fprintf(&b, "    teacher: %s\n    guarantee: { alpha: %g, delta: %g }\n    audit_rate: %g\n    repeat_rate: 0\n",
		task.Teacher, task.Guarantee.Alpha, task.Guarantee.Delta, s.opt.audit)
	b.WriteString("    labels:\n")
	for _, l := range s.desk.Labels(phase) {
		fmt.Fprintf(&b, "      - { name: %s, description: %s }\n", quote(l.Name), quote(l.Description))
	}
	return b.Bytes()
}

func write(name string, data []byte) error {
	if err := os.WriteFile(name, data, 0o600); err != nil {
		return fmt.Errorf("write for the demo: %w", err)
	}
	return nil
}

// quote writes a string as JSON does, which YAML reads. A string cannot fail.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// change puts the desk's new intents in force while requests are answered.
func (s *scene) change(ctx context.Context, sys system) error {
	next, err := s.configure(sys, support.After)
	if err != nil {
		return err
	}
	if err := s.app.Reload(ctx, next); err != nil {
		return fmt.Errorf("reload the configuration: %w", err)
	}
	s.app.Reloaded(ctx, config.Reload{})
	return nil
}

// guarantee is what the desk's task promises.
func (s *scene) guarantee() tandem.Guarantee { return s.desk.Task().Guarantee }
