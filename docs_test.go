package tandem_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links between documents lead somewhere.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	documents := 0
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && skipped(d.Name()):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(p) != ".md":
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		documents++
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %s is no link: %v", p, m[1], err)
				continue
			}
			if u.Scheme != "" || u.Path == "" || strings.HasPrefix(m[1], "#") {
				continue
			}
			if to := filepath.Join(filepath.Dir(p), filepath.FromSlash(u.Path)); !exists(to) {
				t.Errorf("%s: %s leads nowhere; mend the link or add the file", p, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if documents < 5 {
		t.Errorf("only %d documents found", documents)
	}
}
