// Package weights fetches the files of models, checks them against pinned
// checksums and keeps them in a folder.
package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"tandem"
)

// Model is a model's files and where they come from. As JSON it is a manifest
// that people write for models tandem does not know.
type Model struct {
	Name       string `json:"name"` // of its folder: lower-case letters, digits, dots and dashes
	Repository string `json:"repository,omitempty"`
	Revision   string `json:"revision,omitempty"` // a commit, so that files never change
	Licence    string `json:"licence,omitempty"`
	About      string `json:"about,omitempty"`
	Prefix     string `json:"prefix,omitempty"` // what its authors put before short texts
	Files      []File `json:"files"`
}

// File is one file of a model.
type File struct {
	Name   string `json:"name"`             // with forward slashes, inside the model's folder
	SHA256 string `json:"sha256,omitempty"` // in hexadecimal; "" when it is not known
	Bytes  int64  `json:"bytes,omitempty"`  // 0 when it is not known
}

// maxFileBytes bounds files whose size is not known.
const maxFileBytes = 4 << 30

// Bytes is the size of all files, 0 when one is not known.
func (m *Model) Bytes() (sum int64) {
	for _, f := range m.Files {
		if f.Bytes == 0 {
			return 0
		}
		sum += f.Bytes
	}
	return sum
}

// Unpinned lists the files without a checksum.
func (m *Model) Unpinned() (names []string) {
	for _, f := range m.Files {
		if f.SHA256 == "" {
			names = append(names, f.Name)
		}
	}
	return names
}

// Check reports everything that is wrong with the model's description.
func (m *Model) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := checkName(m.Name); err != nil {
		faults = append(faults, err)
	}
	if m.Repository != "" && !regexp.MustCompile(`^[\w.-]+(/[\w.-]+)?$`).MatchString(m.Repository) {
		fault("repository %q is not of the form owner/name", m.Repository)
	}
	if m.Revision != "" && !regexp.MustCompile(`^[\w.-]+$`).MatchString(m.Revision) {
		fault("revision %q is not a commit, branch or tag", m.Revision)
	}
	if len(m.Files) == 0 || len(m.Files) > 64 {
		fault("files: there are %d; a model has 1 to 64", len(m.Files))
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		switch {
		case !filepath.IsLocal(filepath.FromSlash(f.Name)) || strings.ContainsAny(f.Name, `\:?#%`) || f.Name == manifestFile:
			fault("files: %q is not a name inside the model's folder", f.Name)
		case seen[strings.ToLower(f.Name)]:
			fault("files: %q is there twice", f.Name)
		case f.SHA256 != "" && !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(f.SHA256):
			fault("files: the sha256 of %s is not 64 lower-case hexadecimal digits", f.Name)
		case f.Bytes < 0 || f.Bytes > maxFileBytes:
			fault("files: the size of %s is outside 0 to %d", f.Name, int64(maxFileBytes))
		}
		seen[strings.ToLower(f.Name)] = true
	}
	return errors.Join(faults...)
}

func checkName(name string) error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`).MatchString(name) {
		return tandem.Errorf(tandem.InvalidRequest, "%q is not a model's name: it has lower-case letters, digits, dots and dashes", name)
	}
	return nil
}

// maxManifest bounds a manifest.
const maxManifest = 1 << 20

// ReadManifest reads and checks a manifest. Unknown fields are refused.
func ReadManifest(r io.Reader) (Model, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return Model{}, fmt.Errorf("read manifest: %w", err)
	}
	if len(data) > maxManifest {
		return Model{}, fmt.Errorf("read manifest: it has more than %d bytes", maxManifest)
	}
	var m Model
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Model{}, fmt.Errorf("read manifest: %w", err)
	}
	if err := m.Check(); err != nil {
		return Model{}, fmt.Errorf("read manifest: %w", err)
	}
	return m, nil
}
