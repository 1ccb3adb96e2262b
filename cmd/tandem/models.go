package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/internal/config"
	"tandem/internal/weights"
)

type modelsCmd struct {
	Pull   modelsPullCmd   `cmd:"" help:"Fetch a pre-trained model and check it."`
	List   modelsListCmd   `cmd:"" help:"List the models that are known and those that are here."`
	Path   modelsPathCmd   `cmd:"" help:"Print the folder of a model."`
	Remove modelsRemoveCmd `cmd:"" help:"Delete a model's files."`
}

// cacheFlags say where models are kept.
type cacheFlags struct {
	fileFlag
	Dir string `placeholder:"DIR" help:"Folder of the models (default: TANDEM_MODELS, models_dir of the configuration, or a folder in the user's cache)."`
}

// open finds the folder of the models.
func (f *cacheFlags) open(sys system) (*weights.Cache, error) {
	dir, err := modelsDir(sys, f.Dir, f.Config)
	if err != nil {
		return nil, err
	}
	return weights.NewCache(dir), nil
}

// modelsDir is the folder of the models: what is named first of the flag, the
// environment and the configuration, which need not be there, and else a
// folder in the user's cache.
func modelsDir(sys system, flag, file string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	configured := ""
	if sys.getenv("TANDEM_MODELS") == "" {
		cfg, err := config.Load(file, sys.getenv)
		switch {
		case err == nil:
			configured = cfg.ModelsDir
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	return modelsFolder(sys, configured)
}

// modelsFolder is modelsDir without a flag.
func modelsFolder(sys system, configured string) (string, error) {
	if dir := sys.getenv("TANDEM_MODELS"); dir != "" {
		return dir, nil
	}
	if configured != "" {
		return configured, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache: %w; name a folder with --dir or TANDEM_MODELS", err)
	}
	return filepath.Join(cache, "tandem", "models"), nil
}

type modelsPullCmd struct {
	cacheFlags
	jsonFlag
	From     string            `placeholder:"DIR|URL" help:"Folder, or URL of a folder, that has the model's files."`
	Hub      string            `placeholder:"URL" help:"Mirror with the layout of the hub (default ${hub}; or set TANDEM_HUB)."`
	Manifest string            `placeholder:"FILE" help:"Description of a model that tandem does not know, with its files and checksums; - is standard input."`
	SHA256   map[string]string `name:"sha256" placeholder:"FILE=HEX" help:"Checksum of a file for which tandem has none; may be given for each."`
	Trust    bool              `help:"Accept files without a known checksum, and record the one they have."`
	Name     string            `arg:"" optional:"" help:"Name of the model; tandem models list shows those that are known."`
}

// Help implements kong.HelpProvider.
func (modelsPullCmd) Help() string {
	return "Every file is checked against a pinned SHA-256, and nothing is installed unless all are right. A transfer that was cut " +
		"is continued; pulling again fetches only what is missing or damaged.\n\n" +
		"Examples:\n  tandem models pull all-minilm-l6-v2\n  tandem models pull all-minilm-l6-v2 --from /media/usb/minilm\n" +
		"  tandem models pull e5-small-v2 --trust\n  tandem models pull --manifest my-model.json --from https://models.example.com/my-model"
}

// model is what is to be pulled.
func (c *modelsPullCmd) model(sys system) (weights.Model, error) {
	var m weights.Model
	switch {
	case c.Manifest != "":
		in, _, closeInput, err := input(sys, c.Manifest)
		if err != nil {
			return m, err
		}
		m, err = weights.ReadManifest(in)
		err = errors.Join(err, closeInput())
		if err != nil {
			return m, err
		}
		if c.Name != "" {
			m.Name = c.Name
		}
	case c.Name == "":
		return m, usage("name a model or give its description with --manifest")
	default:
		var ok bool
		if m, ok = weights.Find(c.Name); !ok {
			return m, usage("%q is not a model that tandem knows (%s); describe it with --manifest", c.Name, strings.Join(knownModels(), ", "))
		}
	}
	for name, sum := range c.SHA256 {
		i := slices.IndexFunc(m.Files, func(f weights.File) bool { return f.Name == name })
		switch {
		case i < 0:
			return m, usage("--sha256: %s has no file %q", m.Name, name)
		case m.Files[i].SHA256 != "" && !strings.EqualFold(m.Files[i].SHA256, sum):
			return m, usage("--sha256: the checksum of %s is pinned as %s", name, m.Files[i].SHA256)
		}
		m.Files[i].SHA256 = strings.ToLower(sum)
	}
	return m, nil
}

func knownModels() (names []string) {
	for _, m := range weights.Known() {
		names = append(names, m.Name)
	}
	return names
}

// Run fetches the model.
func (c *modelsPullCmd) Run(ctx context.Context, sys system) (err error) {
	m, err := c.model(sys)
	if err != nil {
		return err
	}
	cache, err := c.open(sys)
	if err != nil {
		return err
	}
	b := newBar(sys, m.Name, m.Bytes())
	opt := weights.Options{From: c.From, Hub: c.Hub, Trust: c.Trust}
	if opt.Hub == "" {
		opt.Hub = sys.getenv("TANDEM_HUB")
	}
	opt.Progress = func(_ string, done, total int64) {
		if total > 0 {
			b.set(float64(done)/float64(total), total)
		}
	}
	in, err := cache.Pull(ctx, m, opt)
	b.finish(err == nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, in)
	}
	_, err = fmt.Fprintf(sys.stdout, "%s: %s, %s bytes, %s; it lies in %s\n",
		in.Name, count(len(in.Files), "file"), thousands(int(in.Bytes())), checked(in), in.Path)
	return err
}

// checked says how far the files of a model are known.
func checked(in weights.Installed) string {
	switch {
	case in.Known:
		return "checked against pinned checksums"
	case len(in.Unpinned()) > 0:
		return "put there by hand"
	}
	return "checksums recorded"
}

type modelsListCmd struct {
	cacheFlags
	jsonFlag
}

// Help implements kong.HelpProvider.
func (modelsListCmd) Help() string {
	return "Examples:\n  tandem models list\n  tandem models list --json"
}

// modelLine is a model of the list. Installed is nil when it is not here.
type modelLine struct {
	weights.Model
	Pinned    bool               `json:"pinned"` // tandem knows all its checksums
	Installed *weights.Installed `json:"installed,omitempty"`
}

// Run lists known and installed models.
func (c *modelsListCmd) Run(_ context.Context, sys system) error {
	cache, err := c.open(sys)
	if err != nil {
		return err
	}
	here, err := cache.List()
	if err != nil {
		return err
	}
	var lines []modelLine
	for _, m := range weights.Known() {
		lines = append(lines, modelLine{Model: m, Pinned: len(m.Unpinned()) == 0})
	}
	for i := range here {
		at := slices.IndexFunc(lines, func(l modelLine) bool { return l.Name == here[i].Name })
		if at < 0 {
			at = len(lines)
			lines = append(lines, modelLine{Model: here[i].Model})
		}
		lines[at].Installed = &here[i]
	}
	if c.JSON {
		return printJSON(sys.stdout, struct {
			Dir    string      `json:"dir"`
			Models []modelLine `json:"models"`
		}{cache.Dir(), lines})
	}
	rows := [][]string{{"MODEL", "BYTES", "LICENCE", "HERE", "WHAT"}}
	for _, l := range lines {
		bytes, state := l.Bytes(), "no"
		if l.Installed != nil {
			bytes, state = l.Installed.Bytes(), checked(*l.Installed)
		}
		size := "–"
		if bytes > 0 {
			size = thousands(int(bytes))
		}
		rows = append(rows, []string{l.Name, size, orDash(l.Licence), state, orDash(l.About)})
	}
	if err := table(sys.stdout, rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(sys.stdout, "\nThey lie in %s.\n", cache.Dir())
	return err
}

type modelsPathCmd struct {
	cacheFlags
	jsonFlag
	Name string `arg:"" help:"Name of the model."`
}

// Help implements kong.HelpProvider.
func (modelsPathCmd) Help() string {
	return "Examples:\n  tandem models path all-minilm-l6-v2\n  ls $(tandem models path all-minilm-l6-v2)"
}

// Run prints where a model lies.
func (c *modelsPathCmd) Run(_ context.Context, sys system) error {
	cache, err := c.open(sys)
	if err != nil {
		return err
	}
	in, err := cache.Get(c.Name)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, in)
	}
	_, err = fmt.Fprintln(sys.stdout, in.Path)
	return err
}

type modelsRemoveCmd struct {
	cacheFlags
	jsonFlag
	Name string `arg:"" help:"Name of the model."`
}

// Help implements kong.HelpProvider.
func (modelsRemoveCmd) Help() string {
	return "Students that were trained on the model cannot be loaded until it is pulled again.\n\nExamples:\n  tandem models remove all-minilm-l6-v2"
}

// Run deletes a model.
func (c *modelsRemoveCmd) Run(_ context.Context, sys system) error {
	cache, err := c.open(sys)
	if err != nil {
		return err
	}
	if err := cache.Remove(c.Name); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, map[string]string{"removed": c.Name})
	}
	_, err = fmt.Fprintf(sys.stdout, "%s is removed from %s\n", c.Name, cache.Dir())
	return err
}
