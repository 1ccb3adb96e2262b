package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/store"
)

// childDir, when set, makes the test binary a process that writes to the
// store in that folder until it is killed.
const (
	childDir   = "TANDEM_TEST_KILL_DIR"
	childStart = "TANDEM_TEST_KILL_START"
)

// child writes batches, labels, versions, stages and settings, and prints a
// line for each thing the store has acknowledged.
func child(dir string) int {
	ctx := context.Background()
	first, err := strconv.Atoi(os.Getenv(childStart))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := Open(ctx, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say := func(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }
	for n := first; ; n++ {
		var b store.Batch
		for k := range 1 + n%50 {
			b.Traces = append(b.Traces, row(n*100+k))
		}
		b.Labels = []store.Label{{TraceID: row(n * 100).ID, Teacher: fmt.Sprintf("l%d", n)}}
		if err := s.Write(ctx, b); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		say("batch %d %d", n, len(b.Traces))
		if n%7 != 0 {
			continue
		}
		artefact := childArtefact(n)
		v, c, err := s.PutVersion(ctx, tandem.Version{Task: "support", Rows: n}, artefact, tandem.Certificate{Status: tandem.Valid, Rows: n})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		say("version %s %d %d", v.Name, c.ID, n)
		err = s.SetStages(ctx, store.Change{
			Task: "support", Stages: map[string]tandem.Stage{v.Name: tandem.Retired},
			Certificates: map[int64]tandem.Status{c.ID: tandem.Replaced}, Event: tandem.Event{Kind: tandem.EventRetired, Version: v.Name},
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		say("retired %s %d", v.Name, c.ID)
	}
}

func childArtefact(n int) []byte {
	return bytes.Repeat([]byte(strconv.Itoa(n)+","), 150_000+n%3*200_000)
}

// TestKill kills a writing process at random moments, again and again on the
// same database, and looks for everything that had been acknowledged.
func TestKill(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	acked := &ledger{batches: map[int]int{}, retired: map[string]bool{}}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		start := acked.next
		acked.read(t, killedRun(t, dir, start, time.Duration(50+random.IntN(400))*time.Millisecond))
		s := open(t, dir)
		if err := s.Check(t.Context()); err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
		acked.check(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, round)
		}
	}
	if len(acked.batches) < rounds || len(acked.versions) == 0 {
		t.Errorf("only %d batches and %d versions were acknowledged", len(acked.batches), len(acked.versions))
	}
	t.Logf("%d kills: %d batches, %d versions acknowledged and found", rounds, len(acked.batches), len(acked.versions))
}

// killedRun starts the child, lets it write for a while after its first
// acknowledgement and kills it. It returns what the child said.
func killedRun(t *testing.T, dir string, start int, after time.Duration) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childStart+"="+strconv.Itoa(start))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	in := bufio.NewScanner(out)
	for in.Scan() {
		if lines = append(lines, in.Text()); len(lines) == 1 {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || complaints.Len() > 0 {
		t.Fatalf("the child ended by itself: %v %s", err, &complaints)
	}
	return lines
}

// ledger is what children were told is stored.
type ledger struct {
	next     int         // the first batch not begun for certain
	batches  map[int]int // traces, by number
	versions [][3]string // name, certificate, number
	retired  map[string]bool
}

func (l *ledger) read(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[0] == "batch":
			n, err1 := strconv.Atoi(f[1])
			size, err2 := strconv.Atoi(f[2])
			if err1 != nil || err2 != nil {
				t.Fatalf("the child said %q", line)
			}
			l.batches[n] = size
			l.next = n + 2 // the one after may be stored though nobody was told
		case len(f) == 4 && f[0] == "version":
			l.versions = append(l.versions, [3]string{f[1], f[2], f[3]})
		case len(f) == 3 && f[0] == "retired":
			l.retired[f[1]] = true
		default:
			t.Fatalf("the child said %q", line)
		}
	}
}

func (l *ledger) check(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	present := map[string]tandem.Trace{}
	for tr, err := range s.Traces(ctx, store.Query{Task: "support"}) {
		if err != nil {
			t.Fatal(err)
		}
		present[tr.ID] = tr
	}
	for n, size := range l.batches {
		for k := range size {
			tr, ok := present[row(n*100+k).ID]
			switch {
			case !ok:
				t.Errorf("trace %d of batch %d is lost", k, n)
			case k == 0 && (!tr.Labelled || tr.Teacher != fmt.Sprintf("l%d", n)):
				t.Errorf("the label of batch %d is lost", n)
			}
		}
	}
	st, err := s.Stats(ctx, "support")
	if err != nil || st.Traces != len(present) {
		t.Errorf("%d traces counted, %d present, %v", st.Traces, len(present), err)
	}
	versions, err := s.Versions(ctx, "support")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]tandem.Version{}
	for _, v := range versions {
		byName[v.Name] = v
	}
	certificates, err := s.Certificates(ctx, "support")
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]tandem.Certificate{}
	for _, c := range certificates {
		byID[fmt.Sprint(c.ID)] = c
	}
	if len(versions) != len(certificates) {
		t.Errorf("%d versions and %d certificates", len(versions), len(certificates))
	}
	for _, want := range l.versions {
		v, c := byName[want[0]], byID[want[1]]
		if fmt.Sprint(v.Rows) != want[2] || fmt.Sprint(c.Rows) != want[2] || c.Version != v.Name {
			t.Errorf("version %v is lost: %+v %+v", want, v, c)
		}
		if l.retired[v.Name] && (v.Stage != tandem.Retired || c.Status != tandem.Replaced) {
			t.Errorf("the retirement of %s is lost", v.Name)
		}
	}
	for _, v := range versions { // the unacknowledged ones too: no version without its bytes
		if b, err := s.Artefact(ctx, v.Artefact); err != nil || !bytes.Equal(b, childArtefact(v.Rows)) {
			t.Errorf("artefact of %s: %v", v.Name, err)
		}
	}
}
