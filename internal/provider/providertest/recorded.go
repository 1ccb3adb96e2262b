package providertest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/provider"
)

// files are the recorded responses by scenario: a status line, headers, an
// empty line and the body, as the provider's documentation shows them. A
// provider without a file cannot have the scenario.
func files() map[Scenario]string {
	return map[Scenario]string{
		Success: "success", NoUsage: "no_usage", Refusal: "refusal", Filtered: "filtered", RateLimited: "429", RateLimitedS: "429_retry_after",
		NoCredit: "429_no_credit", ServerError: "500", BadKey: "401", BadRequest: "400", Empty: "empty", Reasoned: "reasoning", CacheWritten: "cache_write",
	}
}

// Recorded makes models whose upstream plays the responses recorded in a
// folder; the scenarios of broken transport are made of the recorded success.
// open makes a model for a base URL and closes its endpoint after the test.
func Recorded(dir string, open func(t *testing.T, baseURL string) provider.Model) Make {
	return func(t *testing.T, s Scenario) (provider.Model, bool) {
		if s == Refused {
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			_ = l.Close()
			return open(t, "http://"+l.Addr().String()), true
		}
		h, ok := upstream(t, dir, s)
		if !ok {
			return nil, false
		}
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return open(t, srv.URL), true
	}
}

func upstream(t *testing.T, dir string, s Scenario) (http.HandlerFunc, bool) {
	t.Helper()
	good := Load(t, filepath.Join(dir, "success.http"))
	switch s {
	case Hang:
		return func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, true
	case Garbage:
		return good.with("", []byte("\x00\x01 not json")).ServeHTTP, true
	case WrongType:
		return good.with("text/html", []byte("<html>log in</html>")).ServeHTTP, true
	case Truncated:
		return good.with("", good.Body[:len(good.Body)/2]).ServeHTTP, true
	case Huge:
		return good.with("", []byte(`{"text":"`+strings.Repeat("x", 10<<20)+`"}`)).ServeHTTP, true
	case Cut:
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(good.Body[:30])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, true
	}
	name := files()[s]
	if name == "" {
		return nil, false
	}
	path := filepath.Join(dir, name+".http")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	return Load(t, path).ServeHTTP, true
}

// Response is a recorded response.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Load reads a recorded response.
func Load(t testing.TB, path string) Response {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	res, err := http.ReadResponse(bufio.NewReader(f), nil)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return Response{Status: res.StatusCode, Header: res.Header, Body: bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))}
}

// with is the response with another body and content type.
func (r Response) with(kind string, body []byte) Response {
	r.Header, r.Body = r.Header.Clone(), body
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return r
}

// ServeHTTP plays the response.
func (r Response) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	maps.Copy(w.Header(), r.Header)
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.Body)
}
