package weights

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func content(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// hub is a server with the files of one model. What each test wants it to do
// wrong, it does in before, which says whether the request was dealt with.
type hub struct {
	*httptest.Server
	files    map[string][]byte
	model    Model
	before   func(w http.ResponseWriter, r *http.Request, body []byte) bool
	requests atomic.Int64
	mu       sync.Mutex
	ranges   []string
}

func newHub(t *testing.T) *hub {
	h := &hub{files: map[string][]byte{
		"config.json":           []byte(`{"model_type": "bert"}`),
		"model.safetensors":     content(700_000, 1),
		"1_Pooling/config.json": []byte(`{}`),
	}}
	h.model = Model{Name: "tiny", Repository: "some/tiny", Revision: "abc123", Licence: "MIT"}
	for _, name := range []string{"config.json", "model.safetensors", "1_Pooling/config.json"} {
		h.model.Files = append(h.model.Files, File{name, sum(h.files[name]), int64(len(h.files[name]))})
	}
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.Close)
	return h
}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	h.mu.Lock()
	h.ranges = append(h.ranges, r.Header.Get("Range"))
	h.mu.Unlock()
	name, ok := strings.CutPrefix(r.URL.Path, "/some/tiny/resolve/abc123/")
	body, there := h.files[name]
	switch {
	case !ok || !there:
		http.NotFound(w, r)
	case h.before != nil && h.before(w, r, body):
	default:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

func (h *hub) client() *http.Client {
	c := h.Client()
	c.CheckRedirect = redirect
	return c
}

func (h *hub) options() Options {
	return Options{Hub: h.URL, Client: h.client(), Pause: time.Millisecond, Tries: 3}
}

func (h *hub) installed(t *testing.T, c *Cache, in Installed) {
	t.Helper()
	for name, want := range h.files {
		got, err := os.ReadFile(filepath.Join(c.Dir(), "tiny", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s was not installed as it is: %v", name, err)
		}
	}
	if in.Path != filepath.Join(c.Dir(), "tiny") || in.Revision != h.model.Revision || len(in.Files) != len(h.model.Files) {
		t.Errorf("installed %+v", in)
	}
	if left, err := os.ReadDir(filepath.Join(c.Dir(), partial)); err == nil && len(left) > 0 {
		t.Errorf("%v is left of the download", left)
	}
}

// nothing holds that no part of a model was installed.
func nothing(t *testing.T, c *Cache) {
	t.Helper()
	if _, err := c.Get("tiny"); tandem.CodeOf(err) != tandem.NotFound {
		t.Errorf("after a failure the model is there: %v", err)
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	h, c := newHub(t), NewCache(filepath.Join(t.TempDir(), "not", "there", "yet"))
	opt := h.options()
	var last, total int64
	opt.Progress = func(_ string, done, all int64) {
		if done < last {
			t.Errorf("progress goes back from %d to %d", last, done)
		}
		last, total = done, all
	}
	in, err := c.Pull(t.Context(), h.model, opt)
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
	if last != h.model.Bytes() || total != last {
		t.Errorf("progress ends at %d of %d, want %d", last, total, h.model.Bytes())
	}
	if in.Known || in.From != h.URL+"/some/tiny/resolve/abc123" {
		t.Errorf("known %v, from %q", in.Known, in.From)
	}
	n := h.requests.Load()
	if in, err = c.Pull(t.Context(), h.model, opt); err != nil || h.requests.Load() != n {
		t.Errorf("the second pull makes %d requests: %v", h.requests.Load()-n, err)
	}
	h.installed(t, c, in)

	// A damaged file is fetched again, and only that one.
	if err := os.WriteFile(filepath.Join(in.Path, "config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	last = 0
	if in, err = c.Pull(t.Context(), h.model, opt); err != nil || h.requests.Load() != n+1 {
		t.Errorf("mending one file makes %d requests: %v", h.requests.Load()-n, err)
	}
	h.installed(t, c, in)

	list, err := c.List()
	if err != nil || len(list) != 1 || list[0].Name != "tiny" || list[0].Bytes() != h.model.Bytes() {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if err := c.Remove("tiny"); err != nil {
		t.Fatal(err)
	}
	nothing(t, c)
	if err := c.Remove("tiny"); tandem.CodeOf(err) != tandem.NotFound || !strings.Contains(err.Error(), "tandem models pull tiny") {
		t.Errorf("removing it again gives %v", err)
	}
}

func TestCutTransfersContinue(t *testing.T) {
	t.Parallel()
	h, c := newHub(t), NewCache(t.TempDir())
	h.before = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		var from int
		if g := r.Header.Get("Range"); g != "" {
			fmt.Sscanf(g, "bytes=%d-", &from)
		}
		if len(body)-from < 150_000 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(body[from : from+120_000])
		panic(http.ErrAbortHandler)
	}
	in, err := c.Pull(t.Context(), h.model, h.options())
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
	// More cuts than tries: each brought something.
	if n := h.requests.Load(); n < 7 {
		t.Errorf("only %d requests", n)
	}
	if !slices.ContainsFunc(h.ranges, func(r string) bool { return r != "" }) {
		t.Error("nothing was continued")
	}
}

func TestPullContinuesWhatAnotherLeft(t *testing.T) {
	t.Parallel()
	h, c := newHub(t), NewCache(t.TempDir())
	body := h.files["model.safetensors"]
	ctx, cancel := context.WithCancel(t.Context())
	opt := h.options()
	opt.Progress = func(_ string, done, _ int64) {
		if done > 100_000 {
			cancel()
		}
	}
	if _, err := c.Pull(ctx, h.model, opt); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled pull gives %v", err)
	}
	nothing(t, c)
	part := filepath.Join(c.Dir(), partial, "tiny", "model.safetensors.part")
	if err := os.Truncate(part, 90_000); err != nil { // whatever had arrived by then
		t.Fatal(err)
	}
	in, err := c.Pull(t.Context(), h.model, h.options())
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
	if !slices.Contains(h.ranges, "bytes=90000-") {
		t.Errorf("ranges asked for: %q", h.ranges)
	}
	// A server that cannot continue sends everything again.
	h.before = func(w http.ResponseWriter, _ *http.Request, body []byte) bool { w.Write(body); return true }
	if err := c.Remove("tiny"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, body[:5000], 0o644); err != nil {
		t.Fatal(err)
	}
	if in, err = c.Pull(t.Context(), h.model, h.options()); err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
}

func TestCompletePartIsNotFetched(t *testing.T) {
	t.Parallel()
	h, c := newHub(t), NewCache(t.TempDir())
	for i := range h.model.Files {
		h.model.Files[i].Bytes = 0 // only the server knows
	}
	part := filepath.Join(c.Dir(), partial, "tiny", "model.safetensors.part")
	if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, h.files["model.safetensors"], 0o644); err != nil {
		t.Fatal(err)
	}
	in, err := c.Pull(t.Context(), h.model, h.options())
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
}

func TestFailures(t *testing.T) {
	t.Parallel()
	big := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "model.safetensors") }
	for name, c := range map[string]struct {
		before   func(w http.ResponseWriter, r *http.Request, body []byte) bool
		code     tandem.Code
		want     string
		requests int64 // of all
	}{
		"wrong checksum": {func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if big(r) {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content(len(body), 9)))
			}
			return big(r)
		}, tandem.Conflict, "as pinned; nothing was installed", 2},
		"missing": {func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			http.NotFound(w, r)
			return true
		}, tandem.NotFound, "has no config.json of tiny", 1},
		"forbidden": {func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		}, tandem.Unauthorized, "--from FOLDER", 1},
		"refused": {func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(http.StatusTeapot)
			return true
		}, tandem.NotFound, "HTTP 418", 1},
		"too large": {func(w http.ResponseWriter, _ *http.Request, body []byte) bool {
			w.Write(append(bytes.Clone(body), 1))
			return true
		}, tandem.Conflict, "larger than it should be", 1},
		"always broken": {func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}, tandem.Overloaded, "after 3 tries", 3},
		"silent": {func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if !big(r) {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			<-r.Context().Done()
			return true
		}, tandem.Overloaded, "nothing arrives any more", 4},
		"circle": {func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}, tandem.Overloaded, "10 redirects", 30},
		"continues elsewhere": {func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				w.Write(body[:len(body)/2])
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 1-2/%d", len(body)))
			w.WriteHeader(http.StatusPartialContent)
			return true
		}, tandem.Overloaded, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, cache := newHub(t), NewCache(t.TempDir())
			h.before = c.before
			opt := h.options()
			if name == "silent" {
				opt.Stall = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if name == "continues elsewhere" { // gets on for ever: the first half again and again
				ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				if _, err := cache.Pull(ctx, h.model, opt); err == nil {
					t.Error("bytes from another place were accepted")
				}
				nothing(t, cache)
				return
			}
			_, err := cache.Pull(ctx, h.model, opt)
			if tandem.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v, want %s with %q", err, c.code, c.want)
			}
			if n := h.requests.Load(); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
			nothing(t, cache)
			if name == "wrong checksum" {
				if size(filepath.Join(cache.Dir(), partial, "tiny", "model.safetensors.part")) != 0 {
					t.Error("the wrong file is kept and would be continued")
				}
			}
		})
	}
}

func TestPullAfterTrouble(t *testing.T) {
	t.Parallel()
	h, c := newHub(t), NewCache(t.TempDir())
	var n atomic.Int64
	h.before = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		bad := n.Add(1)%3 != 0
		if bad {
			w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}[n.Load()%2])
		}
		return bad
	}
	in, err := c.Pull(t.Context(), h.model, h.options())
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	h, c := newHub(t), NewCache(t.TempDir())
	front := httptest.NewServer(http.RedirectHandler(h.URL, http.StatusFound))
	defer front.Close()
	front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, h.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	opt := h.options()
	opt.Hub = front.URL
	in, err := c.Pull(t.Context(), h.model, opt)
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)

	secure := httptest.NewTLSServer(front.Config.Handler)
	defer secure.Close()
	opt.Hub, opt.Client = secure.URL, secure.Client()
	opt.Client.CheckRedirect = redirect
	c = NewCache(t.TempDir())
	if _, err := c.Pull(t.Context(), h.model, opt); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("a redirect out of encryption gives %v", err)
	}
	nothing(t, c)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip("this system has no device that is always full:", err)
	}
	h, c := newHub(t), NewCache(t.TempDir())
	part := filepath.Join(c.Dir(), partial, "tiny", "model.safetensors.part")
	if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(full, part); err != nil {
		t.Fatal(err)
	}
	_, err := c.Pull(t.Context(), h.model, h.options())
	if tandem.CodeOf(err) != tandem.StorageFull || !strings.Contains(err.Error(), "make room") {
		t.Errorf("a full disk gives %v", err)
	}
	if n := h.requests.Load(); n != 2 {
		t.Errorf("%d requests; trying again does not make room", n)
	}
	nothing(t, c)
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := NewCache(filepath.Join(file, "models")).Pull(t.Context(), h.model, h.options()); err == nil {
		t.Error("a folder below a file can be written")
	}
	if h.requests.Load() != 0 {
		t.Error("something was fetched that cannot be kept")
	}
}

func TestFromFolder(t *testing.T) {
	t.Parallel()
	h, c, dir := newHub(t), NewCache(t.TempDir()), t.TempDir()
	opt := h.options()
	opt.From = dir
	if _, err := c.Pull(t.Context(), h.model, opt); tandem.CodeOf(err) != tandem.NotFound || !strings.Contains(err.Error(), "config.json of tiny is not in") {
		t.Errorf("an empty folder gives %v", err)
	}
	for name, data := range h.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	large := filepath.Join(dir, "model.safetensors")
	if err := os.WriteFile(large, content(700_000, 3), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(t.Context(), h.model, opt); tandem.CodeOf(err) != tandem.Conflict {
		t.Errorf("other weights give %v", err)
	}
	nothing(t, c)
	if err := os.WriteFile(large, h.files["model.safetensors"], 0o644); err != nil {
		t.Fatal(err)
	}
	in, err := c.Pull(t.Context(), h.model, opt)
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
	if in.From != dir || h.requests.Load() != 0 {
		t.Errorf("from %q with %d requests", in.From, h.requests.Load())
	}
}

func TestFromMirror(t *testing.T) {
	t.Parallel()
	h, c := newHub(t), NewCache(t.TempDir())
	opt := h.options()
	opt.Hub, opt.From = "http://127.0.0.1:1", h.URL+"/some/tiny/resolve/abc123/"
	in, err := c.Pull(t.Context(), h.model, opt)
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
	for _, from := range []string{"ftp://x/y", "http://", "http://[::1"} {
		opt.From = from
		if _, err := NewCache(t.TempDir()).Pull(t.Context(), h.model, opt); tandem.CodeOf(err) != tandem.InvalidRequest {
			t.Errorf("%s gives %v", from, err)
		}
	}
}

func TestUnpinned(t *testing.T) {
	t.Parallel()
	h, c := newHub(t), NewCache(t.TempDir())
	model := h.model
	model.Files = slices.Clone(model.Files)
	for i := range model.Files {
		model.Files[i] = File{Name: model.Files[i].Name}
	}
	_, err := c.Pull(t.Context(), model, h.options())
	if tandem.CodeOf(err) != tandem.InvalidRequest || !strings.Contains(err.Error(), "model.safetensors") || !strings.Contains(err.Error(), "--trust") {
		t.Errorf("without checksums: %v", err)
	}
	opt := h.options()
	opt.Trust = true
	in, err := c.Pull(t.Context(), model, opt)
	if err != nil {
		t.Fatal(err)
	}
	h.installed(t, c, in)
	if !slices.Equal(in.Files, h.model.Files) {
		t.Errorf("recorded %+v, want %+v", in.Files, h.model.Files)
	}
	if model.Files[0].SHA256 != "" {
		t.Error("the caller's description was changed")
	}
	n := h.requests.Load()
	if _, err := c.Pull(t.Context(), model, opt); err != nil || h.requests.Load() != n {
		t.Errorf("the second pull makes requests, or fails: %v", err)
	}
}

func TestByHand(t *testing.T) {
	t.Parallel()
	c, elsewhere := NewCache(t.TempDir()), t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(c.Dir(), "mine")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir(), "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	in, err := c.Get("mine")
	if err != nil || len(in.Files) != 1 || in.Files[0] != (File{Name: "config.json", Bytes: 2}) {
		t.Errorf("a folder put there by hand gives %+v, %v", in, err)
	}
	if list, err := c.List(); err != nil || len(list) != 1 {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if err := c.Remove("mine"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "config.json")); err != nil {
		t.Errorf("removing a link removed what it leads to: %v", err)
	}
	for _, name := range []string{"", "..", "../x", ".partial", "A", "a/b", "a\x00"} {
		if _, err := c.Get(name); tandem.CodeOf(err) != tandem.InvalidRequest {
			t.Errorf("name %q gives %v", name, err)
		}
	}
	if list, err := NewCache(filepath.Join(c.Dir(), "none")).List(); err != nil || len(list) != 0 {
		t.Errorf("a cache that is not there lists %v, %v", list, err)
	}
}

func TestManifests(t *testing.T) {
	t.Parallel()
	hex64 := strings.Repeat("0a", 32)
	sound := `{"name": "m", "repository": "a/b", "revision": "main", "files": [{"name": "x/config.json", "sha256": "` + hex64 + `", "bytes": 3}]}`
	m, err := ReadManifest(strings.NewReader(sound))
	if err != nil || m.Files[0].Bytes != 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"not JSON":      {"{", "[", "read manifest"},
		"unknown field": {`"revision"`, `"version"`, "unknown field"},
		"name":          {`"m"`, `"M/"`, "not a model's name"},
		"repository":    {`a/b`, `a/b/../c`, "owner/name"},
		"revision":      {`"main"`, `"ma/in"`, "commit"},
		"no files":      {`"files": [{`, `"files": [], "about": "`, "read manifest"},
		"leaves":        {`x/config.json`, `../config.json`, "inside the model's folder"},
		"absolute":      {`x/config.json`, `/etc/x`, "inside the model's folder"},
		"backslash":     {`x/config.json`, `x\\y`, "inside the model's folder"},
		"the manifest":  {`x/config.json`, `tandem-model.json`, "inside the model's folder"},
		"checksum":      {hex64, hex64[1:], "64 lower-case"},
		"negative size": {`"bytes": 3`, `"bytes": -3`, "size"},
		"huge":          {`"bytes": 3`, `"bytes": 99999999999999`, "size"},
		"twice":         {`"files": [`, `"files": [{"name": "X/config.json"}, `, "twice"},
	} {
		broken := strings.Replace(sound, c.from, c.to, 1)
		if broken == sound {
			t.Fatalf("%s: nothing was broken", name)
		}
		if _, err := ReadManifest(strings.NewReader(broken)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if _, err := ReadManifest(strings.NewReader(strings.Repeat(" ", maxManifest+1))); err == nil {
		t.Error("an endless manifest is read")
	}
	if _, err := NewCache(t.TempDir()).Pull(t.Context(), Model{Name: "m"}, Options{}); tandem.CodeOf(err) != tandem.InvalidRequest {
		t.Errorf("a model without files gives %v", err)
	}
}

func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(`{"name": "m", "files": [{"name": "config.json"}]}`))
	f.Add([]byte(`{"name": "m", "repository": "a/b", "files": [{"name": "a/../../x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ReadManifest(bytes.NewReader(data))
		if err != nil {
			return
		}
		root := filepath.Join("root", m.Name)
		for _, file := range m.Files {
			if p := filepath.Join(root, filepath.FromSlash(file.Name)); !strings.HasPrefix(p, root+string(filepath.Separator)) {
				t.Fatalf("%q leads to %s", file.Name, p)
			}
		}
	})
}

func TestKnownModelsAreSound(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range Known() {
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if seen[m.Name] || m.Licence == "" || m.About == "" || m.Repository == "" {
			t.Errorf("%s is there twice or lacks something: %+v", m.Name, m)
		}
		seen[m.Name] = true
		if len(m.Unpinned()) == 0 && len(m.Revision) != 40 {
			t.Errorf("%s has checksums of revision %q, which may move", m.Name, m.Revision)
		}
	}
	if _, ok := Find("all-minilm-l6-v2"); !ok {
		t.Error("all-minilm-l6-v2 is not known")
	}
	if _, ok := Find("other"); ok {
		t.Error("a model nobody knows is known")
	}
}

// TestRealFiles holds that the pinned checksums are those of the real files.
func TestRealFiles(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("TANDEM_MODELS")
	if dir == "" {
		t.Skip("set TANDEM_MODELS to a folder filled by tools/get-minilm")
	}
	model, _ := Find("all-minilm-l6-v2")
	from := filepath.Join(dir, model.Name)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		t.Skip("no weights; tools/get-minilm fetches them:", err)
	}
	in, err := NewCache(t.TempDir()).Pull(t.Context(), model, Options{From: from})
	if err != nil {
		t.Fatal(err)
	}
	if !in.Known || in.Bytes() != model.Bytes() {
		t.Errorf("installed %+v", in)
	}
}
