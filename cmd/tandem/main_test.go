package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts run this very test binary as tandem, as a program that writes a
// log to learn from, as one that compares reports, and as one that serves files.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tandem": main, "log": writeLog, "same": sameReport, "files": serveFiles})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("OPENAI_API_KEY", "")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": status, "freeport": freePort, "ready": ready, "until": until, "says": says, "metric": metric, "hangup": hangup,
		},
	})
}

// status runs a command that must end with the given exit code.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status code command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as Exec returns it
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// freePort sets a variable to a port that nobody listens on now.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// ready waits until the server on $PORT wants requests.
func ready(ts *testscript.TestScript, _ bool, _ []string) { poll(ts, "/readyz", "") }

// metric waits until the metrics of the server on $PORT match a pattern.
func metric(ts *testscript.TestScript, _ bool, args []string) { poll(ts, "/metrics", args[0]) }

func poll(ts *testscript.TestScript, path, pattern string) {
	want := regexp.MustCompile(pattern)
	for range 300 {
		req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+ts.Getenv("PORT")+path, nil)
		ts.Check(err)
		req.Header.Set("Authorization", "Bearer one-token")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK && want.Match(body) {
				return
			}
		}
		time.Sleep(100 * time.Millisecond) // another process: there is no clock to share
	}
	ts.Fatalf("%s never answers with %q", path, pattern)
}

// hangup sends SIGHUP to the process that holds the data folder.
func hangup(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0] + "/lock")))
	ts.Check(err)
	p, err := os.FindProcess(pid)
	ts.Check(err)
	ts.Check(p.Signal(syscall.SIGHUP))
}

// until repeats a command until it succeeds.
func until(ts *testscript.TestScript, _ bool, args []string) {
	var err error
	for range 100 {
		if err = ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond) // as in ready
	}
	ts.Fatalf("%v never succeeds: %v", args, err)
}

// says repeats a command until what it prints matches a pattern.
func says(ts *testscript.TestScript, _ bool, args []string) {
	want, got := regexp.MustCompile("(?m)"+args[0]), ""
	for range 100 {
		if err := ts.Exec(args[1], args[2:]...); err == nil {
			if got = ts.ReadFile("stdout"); want.MatchString(got) {
				return
			}
		}
		time.Sleep(100 * time.Millisecond) // as in ready
	}
	ts.Fatalf("%v never says %q, but %q", args[1:], args[0], got)
}

// writeLog writes n answered questions of three kinds that words tell apart.
func writeLog() {
	var n int
	if _, err := fmt.Sscan(os.Args[1], &n); err != nil {
		panic(err)
	}
	says := [][]string{
		{"money back", "refund", "charged twice", "return the shoes", "pay me back"},
		{"parcel", "courier", "delivery van", "tracking number", "shipping"},
		{"password", "sign in", "login code", "change my email", "account locked"},
	}
	labels := []string{"refund", "delivery", "account"}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for i := range n {
		kind := i % 3
		line := map[string]any{
			"say":   fmt.Sprintf("%s about my %s number %d", []string{"hello", "please help", "question"}[i/7%3], says[kind][i/3%5], i),
			"got":   map[string]string{"label": labels[kind]},
			"truth": labels[kind],
		}
		if err := enc.Encode(line); err != nil {
			panic(err)
		}
	}
	if err := os.WriteFile(os.Args[2], out.Bytes(), 0o600); err != nil {
		panic(err)
	}
}

// sameReport compares two reports of learn but for what clocks say.
func sameReport() {
	var reports [2]map[string]any
	for i := range reports {
		data, err := os.ReadFile(os.Args[1+i])
		if err != nil {
			panic(err)
		}
		if err := json.Unmarshal(data, &reports[i]); err != nil {
			panic(err)
		}
		delete(reports[i], "train_s")
		delete(reports[i]["certificate"].(map[string]any), "time")
	}
	a, b := fmt.Sprint(reports[0]), fmt.Sprint(reports[1])
	if a != b {
		fmt.Println(a)
		fmt.Println(b)
		os.Exit(1)
	}
}

// page runs a command line and returns what it prints.
func page(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	sys := system{args: args, getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: &out}
	if code := run(t.Context(), sys); code != exitOK {
		t.Fatalf("tandem %s ends with %d: %s", strings.Join(args, " "), code, out.String())
	}
	return out.String()
}

// serveFiles serves a folder on a port, as a hub does, until it is killed.
func serveFiles() {
	s := &http.Server{
		Addr: "127.0.0.1:" + os.Args[1], Handler: http.FileServer(http.Dir(os.Args[2])), ReadHeaderTimeout: time.Second,
	}
	panic(s.ListenAndServe())
}
