package weights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"tandem"
)

// download fetches a file, continues after cuts and gives up after some tries
// that brought nothing.
func (p *pull) download(ctx context.Context, f File, part string) error {
	pause := p.opt.Pause
	for try := 1; ; {
		before := size(part)
		err := p.attempt(ctx, f, part)
		if err == nil {
			return nil
		}
		if final, ok := errors.AsType[*finalError](err); ok {
			return final.err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("fetch %s: %w", f.Name, context.Cause(ctx))
		}
		if size(part) > before {
			try, pause = 1, p.opt.Pause // it gets on
		}
		if try >= p.opt.Tries {
			return &tandem.Error{
				Code: tandem.Overloaded, Cause: err,
				Message: fmt.Sprintf("%s of %s cannot be fetched from %s after %d tries; what has arrived is kept, pull again to continue", f.Name, p.model.Name, p.source, try),
			}
		}
		try++
		select {
		case <-ctx.Done():
			return fmt.Errorf("fetch %s: %w", f.Name, context.Cause(ctx))
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// finalError ends the tries.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// errStalled ends a transfer of which nothing arrives.
var errStalled = errors.New("nothing arrives any more")

// attempt makes one request for what is missing of a file.
func (p *pull) attempt(ctx context.Context, f File, part string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(p.opt.Stall, func() { cancel(errStalled) })
	defer watch.Stop()
	have := size(part)
	if f.Bytes > 0 && have == f.Bytes {
		return nil
	}
	if f.Bytes > 0 && have > f.Bytes {
		have = 0
	}
	u := p.source.url.JoinPath(strings.Split(f.Name, "/")...)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return &finalError{fmt.Errorf("fetch %s: %w", f.Name, err)}
	}
	req.Header.Set("Accept-Encoding", "identity") // the file itself, so that it can be continued
	req.Header.Set("User-Agent", "tandem")
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := p.opt.Client.Do(req)
	if err != nil {
		return cause(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && resp.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", have) {
		return nil // there is nothing more
	}
	if have, err = p.accept(f, resp, have, part); err != nil {
		return err
	}
	out, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = out.Seek(have, io.SeekStart)
	}
	if err == nil && have == 0 {
		err = truncate(out)
	}
	if err != nil {
		return &finalError{wrap(err, "write "+f.Name)}
	}
	got, err := p.stream(ctx, f, out, &watched{resp.Body, watch, p.opt.Stall}, have)
	if closed := out.Close(); err == nil && closed != nil {
		err = &writeError{closed}
	}
	if w, ok := errors.AsType[*writeError](err); ok {
		return &finalError{wrap(w.err, "write "+f.Name)}
	}
	if errors.Is(err, errTooLong) {
		return &finalError{errors.Join(tandem.Errorf(tandem.Conflict,
			"%s serves a %s of %s that is larger than it should be; nothing was installed. Fetch it elsewhere with --from", p.source, f.Name, p.model.Name), os.Remove(part))}
	}
	if err != nil {
		return cause(ctx, err)
	}
	if want := have + resp.ContentLength; resp.ContentLength >= 0 && got != want {
		return fmt.Errorf("%d bytes of %d arrived: %w", got, want, io.ErrUnexpectedEOF)
	}
	if f.Bytes > 0 && got < f.Bytes {
		return fmt.Errorf("%d bytes of %d arrived: %w", got, f.Bytes, io.ErrUnexpectedEOF)
	}
	return nil
}

// truncate empties a file that is one; a device cannot be emptied.
func truncate(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.Truncate(0)
}

// cause prefers the reason for which a transfer was ended.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// accept judges an answer and says from which byte on it brings the file.
func (p *pull) accept(f File, resp *http.Response, have int64, part string) (int64, error) {
	switch resp.StatusCode {
	case http.StatusOK:
		return 0, nil // all of it, whatever was asked for
	case http.StatusPartialContent:
		var from int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || from != have {
			return 0, errors.Join(errors.New("the server continues at another byte"), os.Remove(part))
		}
		return have, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, errors.Join(errors.New("what had arrived is longer than the file"), ignoreMissing(os.Remove(part)))
	case http.StatusNotFound, http.StatusGone:
		return 0, &finalError{tandem.Errorf(tandem.NotFound, "%s has no %s of %s (HTTP %d); check the address, the repository and the revision", p.source, f.Name, p.model.Name, resp.StatusCode)}
	case http.StatusUnauthorized, http.StatusForbidden:
		return 0, &finalError{tandem.Errorf(tandem.Unauthorized, "%s does not give out %s of %s (HTTP %d); download it yourself and pull with --from FOLDER", p.source, f.Name, p.model.Name, resp.StatusCode)}
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return 0, fmt.Errorf("the server answers HTTP %d", resp.StatusCode)
	}
	err := fmt.Errorf("the server answers HTTP %d", resp.StatusCode)
	if resp.StatusCode < 500 {
		return 0, &finalError{tandem.Errorf(tandem.NotFound, "%s answers HTTP %d for %s of %s", p.source, resp.StatusCode, f.Name, p.model.Name)}
	}
	return 0, err
}

// watched sets a watch back whenever something arrives.
type watched struct {
	r     io.Reader
	watch *time.Timer
	stall time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.watch.Reset(w.stall)
	}
	return n, err
}
