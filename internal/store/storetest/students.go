package storetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem"
	"tandem/internal/store"
)

func put(t *testing.T, s store.Store, v tandem.Version, artefact []byte, c tandem.Certificate) (tandem.Version, tandem.Certificate) {
	t.Helper()
	v, c, err := s.PutVersion(t.Context(), v, artefact, c)
	if err != nil {
		t.Fatalf("put version: %v", err)
	}
	return v, c
}

func version(task string) tandem.Version {
	return tandem.Version{Task: task, Stage: tandem.Shadow, Created: epoch(), Families: []string{"linear"}}
}

func certificate() tandem.Certificate {
	return tandem.Certificate{Time: epoch(), Status: tandem.Valid, Threshold: 0.5, Alpha: 0.05, Delta: 0.1}
}

func versions(t *testing.T, s store.Store, task string) []tandem.Version {
	t.Helper()
	vs, err := s.Versions(t.Context(), task)
	if err != nil {
		t.Fatalf("list versions: %v", err)
	}
	return vs
}

func certificates(t *testing.T, s store.Store, task string) []tandem.Certificate {
	t.Helper()
	cs, err := s.Certificates(t.Context(), task)
	if err != nil {
		t.Fatalf("list certificates: %v", err)
	}
	return cs
}

func events(t *testing.T, s store.Store, task string, limit int) []tandem.Event {
	t.Helper()
	es, err := s.Events(t.Context(), task, limit)
	if err != nil {
		t.Fatalf("list events: %v", err)
	}
	return es
}

func testVersions(t *testing.T, s store.Store) {
	artefact := []byte("weights")
	sum := sha256.Sum256(artefact)
	v := tandem.Version{
		Task: "support", Parent: "v0", Stage: tandem.Candidate, Created: epoch().Add(7 * time.Microsecond),
		Families: []string{"linear", "nearest"}, Labels: 77, Rows: 4321, Trigger: "growth", Agree: 0.9375, TrainSec: 1.5, Why: "grew ×1.3",
	}
	c := tandem.Certificate{
		Time: epoch().Add(9 * time.Microsecond), Status: tandem.Valid, Threshold: 0.75, Alpha: 0.05, Delta: 0.1,
		DeltaUsed: 0.0625, Look: 2, Method: "betting", Rows: 1000, Accepted: 900, Errors: 12, Coverage: 0.875, PValue: 0.03125,
		FromTrace: "a", ToTrace: "b", Needs: 3, Budget: 0.015625, Why: "12 of 900\x00 ✓",
	}
	gotV, gotC := put(t, s, v, artefact, c)
	v.Name, v.Bytes, v.Artefact = "v1", 7, hex.EncodeToString(sum[:])
	c.ID, c.Task, c.Version = gotC.ID, "support", "v1"
	if !reflect.DeepEqual(gotV, v) || !reflect.DeepEqual(gotC, c) || c.ID <= 0 {
		t.Errorf("put returned %+v %+v\nwant %+v %+v", gotV, gotC, v, c)
	}
	if vs := versions(t, s, "support"); len(vs) != 1 || !reflect.DeepEqual(vs[0], v) {
		t.Errorf("listed %+v\nwant %+v", vs, v)
	}
	if cs := certificates(t, s, "support"); len(cs) != 1 || !reflect.DeepEqual(cs[0], c) {
		t.Errorf("listed %+v\nwant %+v", cs, c)
	}
	if len(versions(t, s, "other")) != 0 || len(certificates(t, s, "other")) != 0 {
		t.Error("another task lists the version")
	}
	for _, bad := range []struct {
		v tandem.Version
		c tandem.Certificate
	}{
		{tandem.Version{}, certificate()},
		{tandem.Version{Task: "a", Stage: "famous"}, certificate()},
		{version("a"), tandem.Certificate{}},
		{version("a"), tandem.Certificate{Status: "fine"}},
	} {
		_, _, err := s.PutVersion(t.Context(), bad.v, artefact, bad.c)
		wantCode(t, err, tandem.InvalidRequest)
	}
	if len(versions(t, s, "a")) != 0 {
		t.Error("a refused version is listed")
	}
}

func testVersionNames(t *testing.T, s store.Store) {
	for i := range 12 {
		for _, task := range []string{"a", "b"} {
			v, c := put(t, s, version(task), []byte{byte(i)}, certificate())
			if want := fmt.Sprintf("v%d", i+1); v.Name != want || c.Version != want {
				t.Errorf("task %s: version %d is called %q, certificate for %q, want %q", task, i+1, v.Name, c.Version, want)
			}
		}
	}
	vs, cs := versions(t, s, "a"), certificates(t, s, "a")
	for i := range vs {
		if want := fmt.Sprintf("v%d", i+1); vs[i].Name != want || cs[i].Version != want {
			t.Errorf("place %d holds %s and the certificate of %s, want %s", i, vs[i].Name, cs[i].Version, want)
		}
	}
	if cs[1].ID == certificates(t, s, "b")[0].ID {
		t.Error("two certificates share an id")
	}
}

func testArtefacts(t *testing.T, s store.Store) {
	for _, size := range []int{0, 1, 1 << 20, 1<<20 + 1, 5<<20 + 3} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i * 31 / 7)
		}
		v, _ := put(t, s, version("a"), want, certificate())
		got, err := s.Artefact(t.Context(), v.Artefact)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
		if v.Bytes != int64(size) {
			t.Errorf("an artefact of %d bytes is listed with %d", size, v.Bytes)
		}
		again, _ := put(t, s, version("b"), want, certificate())
		if again.Artefact != v.Artefact {
			t.Error("equal bytes have two names")
		}
	}
	for _, sum := range []string{"", "nobody", strings.Repeat("0", 64)} {
		_, err := s.Artefact(t.Context(), sum)
		wantCode(t, err, tandem.NotFound)
	}
}

func testDropArtefacts(t *testing.T, s store.Store) {
	drop := func(want int, names ...string) {
		t.Helper()
		n, err := s.DropArtefacts(t.Context(), "a", names)
		if err != nil || n != want {
			t.Errorf("drop %v: %d, %v; want %d", names, n, err, want)
		}
	}
	v1, _ := put(t, s, version("a"), []byte("one"), certificate())
	v2, _ := put(t, s, version("a"), []byte("two"), certificate())
	put(t, s, version("b"), []byte("two"), certificate())
	v3, _ := put(t, s, version("a"), []byte("three"), certificate())
	put(t, s, version("a"), []byte("three"), certificate())
	drop(1, "v1")
	drop(0, "v1") // gone already
	drop(0, "v2") // task b has it too
	drop(0, "v3") // v4 has it too
	if _, err := s.Artefact(t.Context(), v1.Artefact); tandem.CodeOf(err) != tandem.NotFound {
		t.Errorf("a dropped artefact gave %v", err)
	}
	for _, v := range []tandem.Version{v2, v3} {
		if _, err := s.Artefact(t.Context(), v.Artefact); err != nil {
			t.Errorf("a shared artefact is gone: %v", err)
		}
	}
	drop(1, "v3", "v4")
	if got := versions(t, s, "a"); len(got) != 4 {
		t.Errorf("%d versions listed, want all 4", len(got))
	}
	_, err := s.DropArtefacts(t.Context(), "a", []string{"v9"})
	wantCode(t, err, tandem.NotFound)
	// Bytes can come back.
	back, _ := put(t, s, version("a"), []byte("one"), certificate())
	if got, err := s.Artefact(t.Context(), back.Artefact); err != nil || string(got) != "one" {
		t.Errorf("bytes stored again: %q, %v", got, err)
	}
}

func testSetStages(t *testing.T, s store.Store) {
	put(t, s, version("a"), []byte("1"), certificate())
	put(t, s, version("a"), []byte("2"), certificate())
	_, other := put(t, s, version("b"), []byte("1"), certificate())
	cs := certificates(t, s, "a")
	change := store.Change{
		Task:         "a",
		Stages:       map[string]tandem.Stage{"v1": tandem.Serving},
		Certificates: map[int64]tandem.Status{cs[1].ID: tandem.Withdrawn},
		Event:        tandem.Event{Time: epoch(), Task: "a", Kind: tandem.EventPromoted, Version: "v1", Why: "better"},
	}
	if err := s.SetStages(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	vs := versions(t, s, "a")
	if vs[0].Stage != tandem.Serving || vs[0].Why != "better" || vs[1].Stage != tandem.Shadow || vs[1].Why != "" {
		t.Errorf("stages %+v", vs)
	}
	cs = certificates(t, s, "a")
	if cs[0].Status != tandem.Valid || cs[1].Status != tandem.Withdrawn {
		t.Errorf("certificates %+v", cs)
	}
	es := events(t, s, "a", 10)
	if len(es) != 1 || es[0].Kind != tandem.EventPromoted || es[0].Why != "better" || es[0].Version != "v1" || !es[0].Time.Equal(epoch()) {
		t.Errorf("events %+v", es)
	}
	// A swap, whatever the order in which a map yields it.
	for i := range 20 {
		up, down := "v1", "v2"
		if i%2 == 0 {
			up, down = down, up
		}
		err := s.SetStages(t.Context(), store.Change{Task: "a", Stages: map[string]tandem.Stage{up: tandem.Serving, down: tandem.Retired}})
		if err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
	}
	if got := certificates(t, s, "b"); got[0].Status != other.Status {
		t.Error("another task's certificate changed")
	}
}

func testSetStagesAllOrNothing(t *testing.T, s store.Store) {
	put(t, s, version("a"), []byte("1"), certificate())
	_, other := put(t, s, version("b"), []byte("1"), certificate())
	for _, c := range []struct {
		ch   store.Change
		code tandem.Code
	}{
		{store.Change{Stages: map[string]tandem.Stage{"v1": tandem.Serving, "v9": tandem.Retired}}, tandem.NotFound},
		{store.Change{Stages: map[string]tandem.Stage{"v1": tandem.Serving}, Certificates: map[int64]tandem.Status{999: tandem.Valid}}, tandem.NotFound},
		{store.Change{Stages: map[string]tandem.Stage{"v1": tandem.Serving}, Certificates: map[int64]tandem.Status{other.ID: tandem.Replaced}}, tandem.NotFound},
		{store.Change{Stages: map[string]tandem.Stage{"v1": "famous"}}, tandem.InvalidRequest},
		{store.Change{Stages: map[string]tandem.Stage{"v1": tandem.Serving}, Certificates: map[int64]tandem.Status{1: "fine"}}, tandem.InvalidRequest},
	} {
		c.ch.Task, c.ch.Event.Why = "a", "never"
		wantCode(t, s.SetStages(t.Context(), c.ch), c.code)
		if v := versions(t, s, "a")[0]; v.Stage != tandem.Shadow || v.Why != "" {
			t.Errorf("a failed change left %+v", v)
		}
		if len(events(t, s, "", 10)) != 0 {
			t.Error("a failed change left an event")
		}
		if certificates(t, s, "b")[0].Status != tandem.Valid {
			t.Error("a failed change reached another task")
		}
	}
}

func testOneServes(t *testing.T, s store.Store) {
	for range 3 {
		put(t, s, version("a"), []byte("1"), certificate())
	}
	put(t, s, version("b"), []byte("1"), certificate())
	serve := func(task string, names ...string) error {
		ch := store.Change{Task: task, Stages: map[string]tandem.Stage{}}
		for _, n := range names {
			ch.Stages[n] = tandem.Serving
		}
		return s.SetStages(t.Context(), ch)
	}
	wantCode(t, serve("a", "v1", "v2"), tandem.Conflict)
	if err := serve("a", "v1"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, serve("a", "v2"), tandem.Conflict)
	if err := serve("b", "v1"); err != nil {
		t.Errorf("another task may serve too: %v", err)
	}
	v := version("a")
	v.Stage = tandem.Serving
	_, _, err := s.PutVersion(t.Context(), v, []byte("9"), certificate())
	wantCode(t, err, tandem.Conflict)
	if vs := versions(t, s, "a"); len(vs) != 3 || vs[0].Stage != tandem.Serving || vs[1].Stage != tandem.Shadow {
		t.Errorf("versions %+v", vs)
	}
}

func testConcurrentVersions(t *testing.T, s store.Store) {
	const writers, each = 4, 8
	var g sync.WaitGroup
	for w := range writers {
		g.Go(func() {
			for i := range each {
				artefact := bytes.Repeat([]byte{byte(w), byte(i % 2)}, 100_000)
				v, c, err := s.PutVersion(t.Context(), version("a"), artefact, certificate())
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
				if got, err := s.Artefact(t.Context(), v.Artefact); err != nil || !bytes.Equal(got, artefact) {
					t.Errorf("artefact of %s: %v", v.Name, err)
				}
				err = s.SetStages(t.Context(), store.Change{
					Task: "a", Stages: map[string]tandem.Stage{v.Name: tandem.Retired},
					Certificates: map[int64]tandem.Status{c.ID: tandem.Replaced},
				})
				if err != nil {
					t.Errorf("retire %s: %v", v.Name, err)
				}
			}
		})
	}
	g.Wait()
	seen := map[int64]bool{}
	for i, c := range certificates(t, s, "a") {
		if seen[c.ID] || c.Status != tandem.Replaced {
			t.Errorf("certificate %d: id %d %s", i, c.ID, c.Status)
		}
		seen[c.ID] = true
	}
	vs := versions(t, s, "a")
	if len(vs) != writers*each || len(seen) != writers*each || vs[len(vs)-1].Name != fmt.Sprintf("v%d", writers*each) {
		t.Errorf("%d versions, %d certificates, want %d", len(vs), len(seen), writers*each)
	}
}

func testEvents(t *testing.T, s store.Store) {
	if got := events(t, s, "", 5); len(got) != 0 {
		t.Errorf("a new store has events: %+v", got)
	}
	for i, task := range []string{"a", "b", "", "a", "a"} {
		e := tandem.Event{
			ID: 77, Time: epoch().Add(time.Duration(i/2) * time.Microsecond), Task: task, Kind: tandem.EventAlarm,
			Version: "v1", Why: fmt.Sprintf("why %d\x00", i),
		}
		if err := s.AddEvent(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	whys := func(es []tandem.Event) string {
		var out []string
		for _, e := range es {
			out = append(out, e.Why[4:5])
		}
		return strings.Join(out, "")
	}
	if got := whys(events(t, s, "", 10)); got != "43210" {
		t.Errorf("all events, newest first: %s, want 43210", got)
	}
	if got := whys(events(t, s, "a", 2)); got != "43" {
		t.Errorf("two of task a: %s, want 43", got)
	}
	if got := events(t, s, "b", 10); len(got) != 1 || got[0].Why != "why 1\x00" || got[0].Kind != tandem.EventAlarm || !got[0].Time.Equal(epoch()) {
		t.Errorf("event of b came back as %+v", got)
	}
	before := time.Now().Add(-time.Minute)
	if err := s.AddEvent(t.Context(), tandem.Event{Task: "late", Kind: tandem.EventReloaded}); err != nil {
		t.Fatal(err)
	}
	if e := events(t, s, "late", 1)[0]; e.Time.Before(before) {
		t.Errorf("an event without a time got %v", e.Time)
	}
}

func testSettings(t *testing.T, s store.Store) {
	for _, step := range []struct {
		name, initial, want string
	}{
		{"key", "one\x00", "one\x00"},
		{"key", "two", "one\x00"},
		{"other", "", ""},
		{"other", "x", ""},
	} {
		got, err := s.Setting(t.Context(), step.name, []byte(step.initial))
		if err != nil || string(got) != step.want {
			t.Errorf("setting %s: %q, %v; want %q", step.name, got, err, step.want)
		}
	}
	var g sync.WaitGroup
	values := make([]string, 8)
	for i := range values {
		g.Go(func() {
			v, err := s.Setting(t.Context(), "race", []byte{byte(i)})
			if err != nil {
				t.Errorf("setting: %v", err)
			}
			values[i] = string(v)
		})
	}
	g.Wait()
	for _, v := range values {
		if v != values[0] {
			t.Errorf("two callers got two values: %q", values)
		}
	}
}
