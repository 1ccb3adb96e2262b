package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// Talk is a conversation that every translator can carry.
func Talk() *provider.Conversation {
	text := func(s string) []provider.Block { return []provider.Block{{Kind: provider.TextBlock, Text: s}} }
	return &provider.Conversation{
		Messages: []provider.Message{
			{Role: provider.System, Blocks: text("Be brief.")},
			{Role: provider.User, Blocks: text("How is the weather?")},
		},
		Tools:     []provider.Tool{{Name: "weather", Schema: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}}}`)}, {Name: "now"}},
		MaxTokens: 100,
	}
}

// Translated is the reply recorded as chat.http and chat_stream.http: a
// thought, a text and two tool calls. Ids, names, signatures and usage are the
// provider's own.
func translated(t *testing.T, c *provider.Completion) {
	t.Helper()
	var kinds []string
	for _, b := range c.Blocks {
		switch b.Kind {
		case provider.ThinkingBlock:
			if b.Text != "Two cities." {
				t.Errorf("the thought is %q", b.Text)
			}
		case provider.TextBlock:
			if b.Text != "Let me look: Größe" {
				t.Errorf("the text is %q", b.Text)
			}
		case provider.ToolUse:
			if b.ID == "" || b.Name == "weather" && string(b.Input) != `{"city":"Oslo"}` || b.Name == "now" && string(b.Input) != "{}" {
				t.Errorf("a tool call is %+v (%s)", b, b.Input)
			}
		default:
			continue
		}
		kinds = append(kinds, string(b.Kind)+" "+b.Name)
	}
	if got := strings.Join(kinds, ","); got != "thinking ,text ,tool use weather,tool use now" {
		t.Errorf("the blocks are %s", got)
	}
	u := c.Usage
	if c.Model == "" || c.Stop != provider.StopTool || u.InputTokens != 20 || u.OutputTokens != 30 || u.CachedTokens != 0 && u.CachedTokens != 7 {
		t.Errorf("got %q, %s, %+v", c.Model, c.Stop, u)
	}
}

// Translate holds a translator to the contract with what is recorded in dir.
func Translate(t *testing.T, dir string, open func(t *testing.T, baseURL string) provider.Model) {
	t.Helper()
	serve := func(t *testing.T, h http.HandlerFunc) provider.Translator {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		m, ok := open(t, srv.URL).(provider.Translator)
		if !ok {
			t.Fatal("the model is no translator")
		}
		return m
	}
	load := func(name string) Response { return Load(t, filepath.Join(dir, name+".http")) }
	stream := load("chat_stream")
	var whole *provider.Completion
	t.Run("translate/whole", func(t *testing.T) {
		c, err := serve(t, load("chat").ServeHTTP).Complete(t.Context(), Talk())
		if err != nil {
			t.Fatal(err)
		}
		translated(t, c)
		whole = c
	})
	t.Run("translate/stream", func(t *testing.T) {
		c, err := collect(t.Context(), serve(t, stream.ServeHTTP))
		if err != nil {
			t.Fatal(err)
		}
		translated(t, c)
		if whole != nil {
			for i := range min(len(c.Blocks), len(whole.Blocks)) { // ids may be made up
				c.Blocks[i].ID = whole.Blocks[i].ID
			}
			c.ID = whole.ID
			if !reflect.DeepEqual(c, whole) {
				t.Errorf("streamed %+v\nwhole    %+v", c, whole)
			}
		}
	})
	for _, tc := range []struct {
		file   string
		status int
		after  time.Duration
	}{{"429_retry_after", 429, RetryAfter}, {"400", 400, 0}, {"500", 500, 0}, {"401", 401, 0}} {
		t.Run("translate/"+tc.file, func(t *testing.T) {
			m := serve(t, load(tc.file).ServeHTTP)
			_, whole := m.Complete(t.Context(), Talk())
			_, streamed := collect(t.Context(), m)
			for _, err := range []error{whole, streamed} {
				e, ok := errors.AsType[*provider.Error](err)
				if !ok || e.Status != tc.status || e.RetryAfter != tc.after || e.Detail != Secret || strings.Contains(err.Error(), Secret) {
					t.Errorf("got %+v", err)
				}
			}
		})
	}
	for name, h := range map[string]http.HandlerFunc{
		"error in the stream": load("chat_stream_error").ServeHTTP,
		"garbage":             stream.with("", []byte("data: \x00\x01\n\n")).ServeHTTP,
		"a web page":          stream.with("text/html", []byte("<html>log in</html>")).ServeHTTP,
		"nothing":             stream.with("", nil).ServeHTTP,
		"half":                stream.with("", stream.Body[:len(stream.Body)/2]).ServeHTTP,
		"cut": func(w http.ResponseWriter, r *http.Request) {
			stream.with("", stream.Body[:len(stream.Body)/2]).ServeHTTP(w, r)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run("translate/"+name, func(t *testing.T) {
			_, err := collect(t.Context(), serve(t, h))
			e, ok := errors.AsType[*provider.Error](err)
			if !ok || e.Code != tandem.TeacherUnavailable || !e.Retryable || strings.Contains(err.Error(), Secret) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("translate/gone", func(t *testing.T) {
		gone := make(chan struct{})
		m := serve(t, func(w http.ResponseWriter, r *http.Request) {
			stream.with("", stream.Body[:len(stream.Body)/2]).ServeHTTP(w, r)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(gone)
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := collect(ctx, m)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Error("the upstream was not told")
		}
	})
}

func collect(ctx context.Context, m provider.Translator) (*provider.Completion, error) {
	s, err := m.Stream(ctx, Talk())
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }() // it is read, or broken
	return provider.Collect(s)
}
