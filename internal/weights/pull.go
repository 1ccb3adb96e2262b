package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem"
)

// Options of a pull.
type Options struct {
	// From is a folder, or a URL below which the model's files lie; "" is the
	// hub.
	From string
	// Hub replaces DefaultHub by a mirror of the same layout.
	Hub string
	// Trust installs files whose checksum is not known, and records the one
	// they have.
	Trust bool
	// Client asks over HTTP; nil is one of the package's own.
	Client *http.Client
	// Progress, when set, is told what has arrived of all files; total is 0
	// while it is not known. It is called from the goroutine of Pull.
	Progress func(file string, done, total int64)
	// Tries is how often a transfer is begun before Pull gives up; 0 is 5.
	Tries int
	// Pause is how long the first try waits for the second, 0 is half a
	// second; it doubles each time.
	Pause time.Duration
	// Stall ends a transfer of which nothing arrives for so long; 0 is 30 s.
	Stall time.Duration
}

func (o Options) filled() Options {
	if o.Hub == "" {
		o.Hub = DefaultHub
	}
	if o.Tries == 0 {
		o.Tries = 5
	}
	if o.Pause == 0 {
		o.Pause = 500 * time.Millisecond
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	if o.Client == nil {
		o.Client = &http.Client{Transport: http.DefaultTransport, CheckRedirect: redirect}
	}
	return o
}

// redirect follows a hub to where it keeps large files, but not from an
// encrypted connection to an open one.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return fmt.Errorf("redirected from https to %s", req.URL.Scheme)
	}
	return nil
}

// Pull fetches a model into the cache and returns where it lies. Files that
// are there already with their checksum are not fetched again; unfinished ones
// are continued. Nothing is installed unless everything is right.
func (c *Cache) Pull(ctx context.Context, m Model, opt Options) (Installed, error) {
	if err := m.Check(); err != nil {
		return Installed{}, &tandem.Error{Code: tandem.InvalidRequest, Message: "the model's description is not sound", Cause: err}
	}
	opt = opt.filled()
	if names := m.Unpinned(); len(names) > 0 && !opt.Trust {
		return Installed{}, tandem.Errorf(tandem.InvalidRequest,
			"no checksum is known for %s of %s; give them with --sha256 FILE=HEX or --manifest FILE, or accept what arrives with --trust",
			strings.Join(names, ", "), m.Name)
	}
	if done, err := c.Get(m.Name); err == nil && c.complete(done, m) {
		return done, nil
	}
	work := filepath.Join(c.dir, partial, m.Name)
	source := opt.source(m)
	p := &pull{opt: opt, model: m, source: source, work: work, total: m.Bytes()}
	if err := p.tidy(); err != nil {
		return Installed{}, wrap(err, "clear "+work)
	}
	m.Files = slices.Clone(m.Files) // the caller's stay as they are
	for i := range m.Files {
		f, err := p.file(ctx, m.Files[i], filepath.Join(c.dir, m.Name))
		if err != nil {
			return Installed{}, err
		}
		m.Files[i] = f
	}
	return c.install(m, source.String(), work)
}

// complete says whether an installed model is the one that is wanted, byte
// for byte.
func (c *Cache) complete(have Installed, want Model) bool {
	for _, w := range want.Files {
		i := slices.IndexFunc(have.Files, func(f File) bool { return f.Name == w.Name })
		if i < 0 || have.Files[i].SHA256 == "" || w.SHA256 != "" && w.SHA256 != have.Files[i].SHA256 {
			return false
		}
		sum, n, err := hashFile(filepath.Join(have.Path, filepath.FromSlash(w.Name)))
		if err != nil || sum != have.Files[i].SHA256 || n != have.Files[i].Bytes {
			return false
		}
	}
	return want.Revision == have.Revision
}

// source is where files come from: a folder, or a URL.
type source struct {
	dir string
	url *url.URL
	err error
}

func (s source) String() string {
	if s.url != nil {
		clean := *s.url
		clean.User = nil
		return clean.String()
	}
	return s.dir
}

func (o Options) source(m Model) source {
	at := o.From
	if at == "" {
		if m.Repository == "" {
			return source{err: tandem.Errorf(tandem.InvalidRequest, "the description of %s names no repository; say where its files are with --from", m.Name)}
		}
		revision := m.Revision
		if revision == "" {
			revision = "main"
		}
		at = strings.TrimSuffix(o.Hub, "/") + "/" + m.Repository + "/resolve/" + revision
	}
	if !strings.Contains(at, "://") {
		return source{dir: at}
	}
	u, err := url.Parse(at)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		err = errors.New("it is not an http or https URL")
	}
	if err != nil {
		return source{err: &tandem.Error{Code: tandem.InvalidRequest, Message: "cannot fetch from the address given", Cause: err}}
	}
	return source{url: u}
}

// pull is one run of Pull.
type pull struct {
	opt    Options
	model  Model
	source source
	work   string
	before int64 // bytes of the files that are done
	total  int64
}

// tidy removes what an earlier run left in the work folder and this one cannot
// use: files the model does not have, and beginnings of files that no checksum
// would tell from another's.
func (p *pull) tidy() error {
	use := map[string]bool{}
	for _, f := range p.model.Files {
		if f.SHA256 != "" {
			use[f.Name], use[f.Name+".part"] = true, true
		}
	}
	err := filepath.WalkDir(p.work, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(p.work, path)
		if err != nil || use[filepath.ToSlash(rel)] {
			return err
		}
		return os.Remove(path)
	})
	return ignoreMissing(err)
}

// file brings one file to the work folder and returns its checksum and size.
// A copy in the folder of the installed model is used when it is right.
func (p *pull) file(ctx context.Context, f File, installed string) (File, error) {
	if p.source.err != nil {
		return f, p.source.err
	}
	place := filepath.Join(p.work, filepath.FromSlash(f.Name))
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return f, wrap(err, "make "+filepath.Dir(place))
	}
	if f.SHA256 != "" {
		// Left from an earlier run, or still right in the installed model.
		if sum, n, err := hashFile(place); err == nil && sum == f.SHA256 {
			return p.done(f, n), nil
		}
		if old := filepath.Join(installed, filepath.FromSlash(f.Name)); sameSum(old, f.SHA256) {
			if n, err := copyFile(place, old); err == nil {
				return p.done(f, n), nil
			}
		}
	}
	part := place + ".part"
	var err error
	if p.source.url != nil {
		err = p.download(ctx, f, part)
	} else {
		err = p.copy(ctx, f, part)
	}
	if err != nil {
		return f, err
	}
	sum, n, err := hashFile(part)
	if err != nil {
		return f, wrap(err, "check "+f.Name)
	}
	if f.SHA256 != "" && sum != f.SHA256 {
		return f, errors.Join(&tandem.Error{
			Code: tandem.Conflict,
			Message: fmt.Sprintf("%s of %s has sha256 %s, not %s as pinned; nothing was installed. "+
				"Pull again; if it stays so, what %s serves is not this model: fetch it elsewhere with --from", f.Name, p.model.Name, sum, f.SHA256, p.source),
		}, os.Remove(part))
	}
	if err := os.Rename(part, place); err != nil {
		return f, wrap(err, "keep "+f.Name)
	}
	f.SHA256 = sum
	return p.done(f, n), nil
}

func (p *pull) done(f File, n int64) File {
	f.Bytes = n
	p.before += n
	p.report(f.Name, 0)
	return f
}

func (p *pull) report(file string, now int64) {
	if p.opt.Progress != nil {
		p.opt.Progress(file, p.before+now, p.total)
	}
}

// copy takes a file from a folder.
func (p *pull) copy(ctx context.Context, f File, part string) error {
	from := filepath.Join(p.source.dir, filepath.FromSlash(f.Name))
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return tandem.Errorf(tandem.NotFound, "%s of %s is not in %s", f.Name, p.model.Name, p.source.dir)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", from, err)
	}
	defer in.Close()
	out, err := os.Create(part)
	if err != nil {
		return wrap(err, "write "+f.Name)
	}
	_, err = p.stream(ctx, f, out, in, 0)
	return wrap(errors.Join(err, out.Close()), "copy "+f.Name)
}

// stream copies what arrives to a file behind the bytes it has, within the
// file's bounds, and makes it durable.
func (p *pull) stream(ctx context.Context, f File, out *os.File, in io.Reader, have int64) (int64, error) {
	limit := f.Bytes
	if limit == 0 {
		limit = maxFileBytes
	}
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return have, err
		}
		n, err := in.Read(buf)
		if have+int64(n) > limit {
			return have, errTooLong
		}
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				return have, &writeError{err}
			}
			have += int64(n)
			p.report(f.Name, have)
		}
		if errors.Is(err, io.EOF) {
			if err := out.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				return have, &writeError{err}
			}
			return have, nil
		}
		if err != nil {
			return have, err
		}
	}
}

// errTooLong ends a transfer that brings more than the file has.
var errTooLong = errors.New("more arrives than the file has")

// writeError is a failure on this side, which trying again does not mend.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

func hashFile(path string) (sum string, n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

func sameSum(path, sum string) bool {
	s, _, err := hashFile(path)
	return err == nil && s == sum
}

func copyFile(to, from string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}
