package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tandem"
	"tandem/internal/console"
	"tandem/scenes/support"
)

// victim is a tandem process that is killed without warning.
type victim struct {
	t    *testing.T
	url  string
	cmd  *exec.Cmd
	http *http.Client
}

// start runs the real program and waits until it answers.
func start(t *testing.T, program, addr string, args ...string) *victim {
	t.Helper()
	v := &victim{t: t, url: "http://" + addr, http: &http.Client{Timeout: 10 * time.Second}}
	v.cmd = exec.Command(program, args...)
	v.cmd.Stdout, v.cmd.Stderr = io.Discard, io.Discard
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.kill)
	v.wait("the server to be ready", func() bool { return v.get("/readyz", nil) == http.StatusOK })
	return v
}

// kill is kill -9.
func (v *victim) kill() {
	if v.cmd.ProcessState != nil {
		return
	}
	if err := v.cmd.Process.Kill(); err != nil {
		v.t.Error(err)
	}
	_ = v.cmd.Wait() // it was killed, of course it failed
}

func (v *victim) wait(what string, done func() bool) {
	v.t.Helper()
	for range 1200 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond) // another process: there is no clock to share
	}
	v.t.Fatalf("waited in vain for %s", what)
}

// get returns the status, 0 when there was no answer, and decodes into out.
func (v *victim) get(path string, out any) int {
	resp, err := v.http.Get(v.url + path)
	return v.read(resp, err, out)
}

func (v *victim) post(path string, in, out any) int {
	body, err := json.Marshal(in)
	if err != nil {
		v.t.Fatal(err)
	}
	resp, err := v.http.Post(v.url+path, "application/json", bytes.NewReader(body))
	return v.read(resp, err, out)
}

func (v *victim) read(resp *http.Response, err error, out any) int {
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if out != nil && resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			return 0 // cut off by the kill
		}
	}
	return resp.StatusCode
}

// answered is the reply of the task endpoint.
type answered struct {
	Answer string          `json:"answer"`
	Tandem tandem.Decision `json:"tandem"`
}

// listed is the reply of the list of students.
type listed struct {
	Students []console.Student `json:"students"`
}

// What the demo acknowledged before a kill -9 is there after a restart: every
// trace said to be stored, every feedback, every version and certificate; and
// the same version goes on serving.
func TestKillTheDemo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("plays the demo for half a minute")
	}
	program, addr, dir := filepath.Join(t.TempDir(), "tandem"), freeAddr(t), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	desk, err := support.Load()
	if err != nil {
		t.Fatal(err)
	}
	texts := desk.Stream(7, 20_000, support.Before)

	v := start(t, program, addr, "demo", "--data", dir, "--listen", addr, "--requests", "200000", "--rate", "250", "--json")
	acknowledged, judged := map[string]string{}, map[string]string{}
	ask := func(i int) (a answered) {
		m := texts[i%len(texts)]
		if v.post("/v1/tasks/"+support.TaskName+"/answer", map[string]string{"input": m.Text}, &a) != http.StatusOK {
			return a
		}
		if a.Tandem.Recorded == tandem.Stored {
			acknowledged[a.Tandem.TraceID] = a.Answer
			if i%7 == 0 && v.post("/v1/traces/"+a.Tandem.TraceID+"/feedback", tandem.Feedback{Label: m.Gold}, nil)/100 == 2 {
				judged[a.Tandem.TraceID] = m.Gold
			}
		}
		return a
	}
	var before, after listed
	serving, asked := "", 0
	v.wait("a student to serve", func() bool {
		for range 20 {
			if a := ask(asked); a.Tandem.Step == tandem.StudentStep {
				serving = a.Tandem.Model
			}
			asked++
		}
		return serving != ""
	})
	if v.get("/api/tasks/"+support.TaskName+"/students", &before) != http.StatusOK {
		t.Fatal("the students cannot be listed")
	}
	for range 50 { // in the middle of things
		ask(asked)
		asked++
	}
	v.kill()

	v = start(t, program, addr, "serve", "--config", filepath.Join(dir, "tandem.yaml"))
	lost := 0
	for id, answer := range acknowledged {
		var tr tandem.Trace
		if v.get("/v1/traces/"+id, &tr) != http.StatusOK || tr.Answer != answer {
			lost++
		}
		if want, ok := judged[id]; ok && tr.Gold != want {
			t.Errorf("feedback %q of trace %s is lost", want, id)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged traces are lost", lost, len(acknowledged))
	}
	if v.get("/api/tasks/"+support.TaskName+"/students", &after) != http.StatusOK {
		t.Fatal("the students cannot be listed after the restart")
	}
	for i, b := range before.Students {
		if i >= len(after.Students) {
			t.Errorf("version %s is lost", b.Name)
			continue
		}
		a := after.Students[i]
		if a.Name != b.Name || a.Artefact != b.Artefact || b.Certificate != nil && (a.Certificate == nil || a.Certificate.ID != b.Certificate.ID) {
			t.Errorf("version %s or its certificate is lost", b.Name)
		}
	}
	// A newer version may have been promoted between the last look and the kill.
	now := ""
	for i, s := range after.Students {
		if s.Stage == tandem.Serving {
			now = s.Name
			if now != serving && i < len(before.Students) {
				t.Errorf("%s serves after the restart, %s did before", now, serving)
			}
		}
	}
	if now == "" {
		t.Fatalf("nothing serves after the restart, %s did before", serving)
	}
	v.wait("the same version to serve", func() bool {
		a := ask(asked)
		asked++
		return a.Tandem.Step == tandem.StudentStep && a.Tandem.Model == now
	})
	fmt.Fprintf(t.Output(), "killed after %d requests of this test: %d acknowledged traces, %d feedbacks, %d versions kept; %s serves on\n",
		asked, len(acknowledged), len(judged), len(before.Students), now)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
