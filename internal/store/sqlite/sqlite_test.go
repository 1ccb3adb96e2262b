package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem"
	"tandem/internal/store"
	"tandem/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, t.TempDir()) })
}

func row(i int) tandem.Trace {
	return tandem.Trace{
		ID: fmt.Sprintf("0192f7c4-%04x-7000-8000-%012x", i>>16, i), Task: "support",
		Time:  time.UnixMicro(1_763_990_000_000_000 + 20*int64(i)).UTC(),
		Input: tandem.TextInput("where is my new card? I ordered it two weeks ago and it has not come yet"), Source: tandem.Live,
		Answer: "card_arrival", Step: tandem.StudentStep, Model: "v7", Score: 0.98, Certified: true, Reason: tandem.Accepted,
		SavedUSD: 0.00012, Took: 14 * time.Microsecond, Student: "card_arrival", StudentModel: "v7", Propensity: 0.02,
	}
}

// wantError checks a failure's code and that its message says what to do.
func wantError(t *testing.T, err error, code tandem.Code, advice string) {
	t.Helper()
	e, ok := errors.AsType[*tandem.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, advice) {
		t.Errorf("got %v, want code %s and %q", err, code, advice)
	}
}

func TestOpenCreatesFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b", "c?d#e%f&g'\"é")
	s := open(t, dir)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v; want 0700", info.Mode(), err)
	}
	if err := s.Write(t.Context(), store.Batch{Traces: []tandem.Trace{row(1)}}); err != nil {
		t.Error(err)
	}
	for _, file := range []string{fileName, fileName + "-wal", lockName} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Errorf("the database is elsewhere: %v", err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", file, info.Mode())
		}
	}
	for _, f := range []string{"nofolder", "nofolder/below"} {
		base := t.TempDir()
		if err := os.WriteFile(filepath.Join(base, "nofolder"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), filepath.Join(base, f))
		wantError(t, err, tandem.InvalidRequest, "choose another data folder")
	}
}

func TestPragmas(t *testing.T) {
	s := open(t, t.TempDir())
	for name, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000", "application_id": fmt.Sprint(applicationID),
	} {
		var got string
		if err := s.writer.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := s.readerDB.ExecContext(t.Context(), "DELETE FROM traces"); err == nil {
		t.Error("a reading connection may write")
	}
}

func TestQueriesUseTheirIndexes(t *testing.T) {
	s := open(t, t.TempDir())
	for query, index := range map[string]string{
		"SELECT * FROM traces WHERE task = 'a' AND (time_us, id) > (1, 'a') AND time_us < 9 AND (labelled OR 1) ORDER BY time_us, id LIMIT 5":                      "traces_by_time",
		"SELECT * FROM traces WHERE task = 'a' AND (time_us, id) < (1, 'a') AND time_us >= 0 AND (labelled OR 1) ORDER BY time_us DESC, id DESC LIMIT 5":           "traces_by_time",
		"SELECT * FROM traces WHERE task = 'a' AND model = 'v' AND audit AND labelled AND (time_us, id) > (1, 'a') AND time_us < 9 ORDER BY time_us, id LIMIT 5":   "traces_audited",
		"SELECT * FROM traces WHERE task = 'a' AND model = 'v' AND audit AND labelled AND (time_us, id) < (1, 'a') AND time_us > 0 ORDER BY time_us DESC, id DESC": "traces_audited",
		"SELECT * FROM events WHERE task = 'a' ORDER BY time_us DESC, id DESC LIMIT 5":                                                                             "events_by_task",
		"SELECT * FROM events ORDER BY time_us DESC, id DESC LIMIT 5":                                                                                              "events_by_time",
		"SELECT * FROM certificates WHERE task = 'a' ORDER BY id":                                                                                                  "certificates_by_task",
	} {
		rows, err := s.readerDB.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var a, b, c int
			var step string
			if err := rows.Scan(&a, &b, &c, &step); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, step)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil { //nolint:sqlclosecheck // in a loop
			t.Fatal(err)
		}
		if p := strings.Join(plan, "; "); !strings.Contains(p, index) || strings.Contains(p, "TEMP B-TREE") {
			t.Errorf("%s\nruns as %s, want index %s and no sorting", query, p, index)
		}
	}
}

func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := Open(t.Context(), dir)
	wantError(t, err, tandem.Conflict, fmt.Sprintf("is in use by process %d", os.Getpid()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Write(t.Context(), store.Batch{Traces: []tandem.Trace{row(1)}}); err != nil {
		t.Fatal(err)
	}
	key, err := s.Setting(t.Context(), "key", []byte("k"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(t.Context(), store.Batch{Traces: []tandem.Trace{row(2)}}); err == nil {
		t.Error("a closed store takes writes")
	}
	s = open(t, dir)
	got, err := s.Trace(t.Context(), row(1).ID)
	if err != nil || !reflect.DeepEqual(got, row(1)) {
		t.Errorf("after a restart %+v, %v", got, err)
	}
	if again, err := s.Setting(t.Context(), "key", []byte("other")); err != nil || string(again) != string(key) {
		t.Errorf("setting %q, %v", again, err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.writer.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), dir)
	wantError(t, err, tandem.Conflict, "newer tandem (schema 99, this one knows up to 1); update tandem")
}

func TestForeignDatabase(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE cats (name TEXT)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), dir)
	wantError(t, err, tandem.Conflict, "another program")
}

func TestDamage(t *testing.T) {
	build := func(t *testing.T) (string, []byte) {
		dir := t.TempDir()
		s := open(t, dir)
		var b store.Batch
		for i := range 500 {
			b.Traces = append(b.Traces, row(i))
		}
		if err := s.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fileName)
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) < 100_000 {
			t.Fatalf("closing left %d bytes in the file", len(raw))
		}
		return dir, raw
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"text":          func([]byte) []byte { return []byte("hello, I am not a database at all") },
		"header":        func(b []byte) []byte { copy(b, "SQLite format 9"); return b },
		"short":         func(b []byte) []byte { return b[:50] },
		"cut":           func(b []byte) []byte { return b[:len(b)/2] },
		"first page":    func(b []byte) []byte { clear(b[100:4096]); return b },
		"all but first": func(b []byte) []byte { clear(b[4096:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir, raw := build(t)
			if err := os.WriteFile(filepath.Join(dir, fileName), spoil(raw), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), dir)
			if err == nil {
				// Damage deep inside is found when it is read.
				err = s.Check(t.Context())
				if cerr := s.Close(); cerr != nil {
					t.Log(cerr)
				}
			}
			wantError(t, err, tandem.Internal, "is damaged; restore the last backup")
		})
	}
}

func TestDamagedArtefact(t *testing.T) {
	s := open(t, t.TempDir())
	v, _, err := s.PutVersion(t.Context(), tandem.Version{Task: "a"}, make([]byte, chunkBytes+10), tandem.Certificate{Status: tandem.Refused})
	if err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []string{
		"UPDATE artefact_chunks SET body = x'00' WHERE n = 1", "DELETE FROM artefact_chunks WHERE n = 0", "UPDATE artefacts SET chunks = 7", "UPDATE artefacts SET bytes = -1",
	} {
		if _, err := s.writer.ExecContext(t.Context(), spoil); err != nil {
			t.Fatal(err)
		}
		_, err := s.Artefact(t.Context(), v.Artefact)
		wantError(t, err, tandem.Internal, "damaged")
	}
	if _, err := s.writer.ExecContext(t.Context(), "INSERT INTO artefact_chunks VALUES ('loose', 0, x'00')"); err != nil {
		t.Fatal(err)
	}
	if err := s.dropLooseChunks(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.writer.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM artefact_chunks WHERE sha256 = 'loose'").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d loose chunks, %v", n, err)
	}
}

// TestFull lets SQLite itself run out of pages, which works everywhere;
// TestFullDisk does it with a real, small disk.
func TestFull(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Write(t.Context(), store.Batch{Traces: []tandem.Trace{row(0)}}); err != nil {
		t.Fatal(err)
	}
	var pages int
	if err := s.writer.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		if _, err := s.writer.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 2)
	fillUp(t, s)
	limit(1 << 30)
	if err := s.Write(t.Context(), store.Batch{Traces: []tandem.Trace{row(1)}}); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

// fillUp writes until the store is full and checks that it stays sound.
func fillUp(t *testing.T, s *Store) {
	t.Helper()
	stored := 0
	for i := 1; ; i++ {
		var b store.Batch
		for k := range 100 {
			tr := row(i*100 + k)
			tr.Input = tandem.TextInput(strings.Repeat("x", 2000))
			b.Traces = append(b.Traces, tr)
		}
		err := s.Write(t.Context(), b)
		if err != nil {
			wantError(t, err, tandem.StorageFull, "free space or lower retention_days")
			break
		}
		if stored += 100; i > 1000 {
			t.Fatal("the store never fills")
		}
	}
	_, _, err := s.PutVersion(t.Context(), tandem.Version{Task: "a"}, make([]byte, 8<<20), tandem.Certificate{Status: tandem.Refused})
	wantError(t, err, tandem.StorageFull, "free space")
	st, err := s.Stats(t.Context(), "support")
	if err != nil || st.Traces < stored || st.Traces > stored+1 {
		t.Errorf("%d traces counted, %d acknowledged, %v", st.Traces, stored, err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("a full disk damaged the database: %v", err)
	}
}

// TestFullDisk needs the right to mount: it runs on a 2 MB disk in memory.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t)
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fillUp(t, s)
}

func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small disk here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v %s", err, out)
		}
	})
	return dir
}

func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t)
	remount := func(how string) {
		if out, err := exec.Command("mount", "-o", "remount,"+how, dir).CombinedOutput(); err != nil {
			t.Fatalf("remount: %v %s", err, out)
		}
	}
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remount("ro")
	_, err = Open(t.Context(), dir)
	wantError(t, err, tandem.StorageFull, "choose another")
	_, err = Open(t.Context(), filepath.Join(dir, "new"))
	wantError(t, err, tandem.StorageFull, "make it writable")
	remount("rw")
}

func TestReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root writes anywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), dir)
	wantError(t, err, tandem.StorageFull, "make it writable")
}

// A write does not wait for its turn beyond its context.
func TestWaitForTurn(t *testing.T) {
	s := open(t, t.TempDir())
	<-s.turn
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := s.Write(ctx, store.Batch{Traces: []tandem.Trace{row(1)}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write without its turn returned %v", err)
	}
	s.turn <- struct{}{}
}

func TestCloseDuringWrites(t *testing.T) {
	s := open(t, t.TempDir())
	var g sync.WaitGroup
	for w := range 4 {
		g.Go(func() {
			for i := 0; ; i++ {
				if err := s.Write(t.Context(), store.Batch{Traces: []tandem.Trace{row(w<<20 + i)}}); err != nil {
					return
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	g.Wait()
}

func TestMigrationsAreNumbered(t *testing.T) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for i, f := range files {
		if want := fmt.Sprintf("migrations/%04d_", i+1); !strings.HasPrefix(f, want) {
			t.Errorf("%s should begin with %s", f, want)
		}
	}
}
