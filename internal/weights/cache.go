package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem"
)

// manifestFile lies in every installed model's folder and says what was
// installed. It is written last.
const manifestFile = "tandem-model.json"

// partial is the folder of unfinished downloads.
const partial = ".partial"

// Cache is a folder with a folder for each model.
type Cache struct{ dir string }

// NewCache names the folder, which is made when it is needed.
func NewCache(dir string) *Cache { return &Cache{dir: dir} }

// Dir is the folder.
func (c *Cache) Dir() string { return c.dir }

// Installed is a model in the cache. Its files have all checksums and sizes.
type Installed struct {
	Model
	Path string `json:"path"`
	// From is where the files were fetched.
	From string `json:"from,omitempty"`
	// Known says that they are those of the table of known models.
	Known bool `json:"known"`
}

// manifest is what lies in an installed model's folder.
type manifest struct {
	Model
	From string `json:"from,omitempty"`
}

// Get finds an installed model. A folder that somebody put there by hand
// counts, without checksums.
func (c *Cache) Get(name string) (Installed, error) {
	if err := checkName(name); err != nil {
		return Installed{}, err
	}
	dir := filepath.Join(c.dir, name)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Installed{}, tandem.Errorf(tandem.NotFound, "model %s is not in %s; fetch it with: tandem models pull %s", name, c.dir, name)
	}
	if err != nil {
		return Installed{}, fmt.Errorf("find model %s: %w", name, err)
	}
	in := Installed{Model: Model{Name: name}, Path: dir}
	data, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		err := in.scan()
		return in, err
	}
	if err != nil {
		return Installed{}, fmt.Errorf("read manifest of model %s: %w", name, err)
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return Installed{}, fmt.Errorf("read manifest of model %s: %w", name, err)
	}
	in.Model, in.From = m.Model, m.From
	in.Name = name
	in.Known = isKnown(m.Model)
	return in, nil
}

// isKnown says whether all files are pinned by the table.
func isKnown(m Model) bool {
	known, ok := Find(m.Name)
	if !ok || len(known.Unpinned()) > 0 {
		return false
	}
	for _, f := range known.Files {
		if !slices.Contains(m.Files, f) {
			return false
		}
	}
	return true
}

// scan lists the files of a folder without a manifest.
func (in *Installed) scan() error {
	err := filepath.WalkDir(in.Path+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(in.Path, path)
		if err != nil {
			return err
		}
		in.Files = append(in.Files, File{Name: filepath.ToSlash(rel), Bytes: info.Size()})
		return nil
	})
	if err != nil {
		return fmt.Errorf("list files of model %s: %w", in.Name, err)
	}
	return nil
}

// List is every installed model, by name.
func (c *Cache) List() ([]Installed, error) {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list models: %w", err)
	}
	var list []Installed
	for _, e := range entries {
		if checkName(e.Name()) != nil {
			continue // not ours
		}
		in, err := c.Get(e.Name())
		if tandem.CodeOf(err) == tandem.NotFound {
			continue // a file
		}
		if err != nil {
			return nil, err
		}
		list = append(list, in)
	}
	return list, nil
}

// Remove deletes a model and what is left of unfinished downloads of it. A
// symbolic link is removed without what it leads to.
func (c *Cache) Remove(name string) error {
	in, err := c.Get(name)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(in.Path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = os.Remove(in.Path)
		return wrap(err, "remove model "+name)
	}
	return wrap(errors.Join(os.RemoveAll(in.Path), os.RemoveAll(filepath.Join(c.dir, partial, name))), "remove model "+name)
}

// install moves a folder with checked files to its place and writes what it
// holds.
func (c *Cache) install(m Model, from, work string) (Installed, error) {
	data, err := json.MarshalIndent(manifest{m, from}, "", "  ")
	if err != nil {
		return Installed{}, fmt.Errorf("write manifest: %w", err)
	}
	if err := writeSync(filepath.Join(work, manifestFile), append(data, '\n')); err != nil {
		return Installed{}, wrap(err, "write manifest")
	}
	place, old := filepath.Join(c.dir, m.Name), work+".old"
	if err := os.RemoveAll(old); err != nil {
		return Installed{}, wrap(err, "clear "+old)
	}
	if err := os.Rename(place, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Installed{}, wrap(err, "move the former "+m.Name+" aside")
	}
	if err := os.Rename(work, place); err != nil {
		// The former one goes back; if even that fails, it lies in old.
		return Installed{}, wrap(errors.Join(err, ignoreMissing(os.Rename(old, place))), "install "+m.Name)
	}
	if err := os.RemoveAll(old); err != nil {
		return Installed{}, wrap(err, "remove the former "+m.Name)
	}
	return c.Get(m.Name)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func writeSync(path string, data []byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// wrap names what failed; a full disk is said so.
func wrap(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case isFull(err):
		return &tandem.Error{
			Code: tandem.StorageFull, Cause: err,
			Message: doing + ": the disk is full; make room or name another folder, then pull again: what has arrived is kept",
		}
	case errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "read-only file system"):
		return &tandem.Error{
			Code: tandem.StorageFull, Cause: err,
			Message: doing + ": the folder cannot be written; name another one with --dir or TANDEM_MODELS",
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
