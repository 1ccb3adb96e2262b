package main

import (
	"context"
	"math"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/config"
	"tandem/internal/student"
	"tandem/internal/student/all"
)

// letters embeds a text as how often it has each letter: enough to tell the
// names of a few labels apart.
type letters struct{}

func (letters) Name() string   { return "letters" }
func (letters) Digest() string { return "letters-1" }
func (letters) Dim() int       { return 26 }

func (l letters) Embed(_ context.Context, texts []string, dst []float32) error {
	for i, text := range texts {
		l.EmbedOne(text, dst[26*i:26*(i+1)])
	}
	return nil
}

func (letters) EmbedOne(text string, dst []float32) {
	clear(dst)
	for _, c := range []byte(strings.ToLower(text)) {
		if c >= 'a' && c <= 'z' {
			dst[c-'a']++
		}
	}
	sum := 1e-12
	for _, v := range dst {
		sum += float64(v * v)
	}
	for i := range dst {
		dst[i] /= float32(math.Sqrt(sum))
	}
}

// TestFirstStudent has an encoder: a task without any labels gets a student in
// shadow, once, which later ones replace and which never serves.
func TestFirstStudent(t *testing.T) {
	leakless(t)
	dir := t.TempDir()
	families := all.With(letters{}, nil)
	r := bootWith(t, dir, "", families)
	r.eventually("a first student", func() bool {
		_, list := r.get("/api/tasks/support/students")
		return strings.Contains(list, `"v1"`)
	})
	_, list := r.get("/api/tasks/support/students")
	if !strings.Contains(list, `"trigger":"start"`) || !strings.Contains(list, `"stage":"shadow"`) {
		t.Errorf("students: %s", list)
	}
	r.eventually("its answer beside the teacher's", func() bool {
		_, reply := r.post("/v1/tasks/support/answer", asked("delivery"))
		return strings.Contains(reply, `"step":"provider"`) && strings.Contains(reply, `"label":"delivery"`) && strings.Contains(reply, `"model":"v1"`)
	})
	r.stop()

	r = bootWith(t, dir, "", families)
	r.eventually("the same student after a restart", func() bool {
		_, reply := r.post("/v1/tasks/support/answer", asked("delivery"))
		return strings.Contains(reply, `"model":"v1"`)
	})
	if _, list := r.get("/api/tasks/support/students"); strings.Contains(list, `"v2"`) {
		t.Errorf("another first student: %s", list)
	}
	r.stop()
}

func TestOpenEncoder(t *testing.T) {
	sys := system{getenv: func(name string) string { return map[string]string{"TANDEM_MODELS": t.TempDir()}[name] }}
	for name, want := range map[string]string{
		noEncoder:            "asks for no encoder",
		"all-minilm-l6-v2":   "tandem models pull all-minilm-l6-v2",
		"./not/there":        "there is no folder ./not/there",
		t.TempDir() + "/":    "config.json",
		"../../escape/../up": "there is no folder",
	} {
		cfg := config.Default()
		cfg.Learning.Encoder = name
		if _, err := openEncoder(sys, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		table := familyTable(sys, cfg)
		_, why := student.Fitting(table, tandem.Task{Families: []string{"linear", "encoder"}})
		if len(why) != 1 || !strings.Contains(why["encoder"], want) {
			t.Errorf("%s: left out %v", name, why)
		}
	}
}
