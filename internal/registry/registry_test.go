package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem"
	"tandem/internal/store/sqlite"
)

// desk is a registry on a real database, with the steps tests take often.
type desk struct {
	*Registry
	t   *testing.T
	s   *sqlite.Store
	dir string
}

func newDesk(t *testing.T, keep int) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir()}
	d.open(keep)
	t.Cleanup(func() { d.close() })
	return d
}

func (d *desk) open(keep int) {
	s, err := sqlite.Open(d.t.Context(), d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	d.s, d.Registry = s, New(s, keep)
}

func (d *desk) close() {
	if err := d.s.Close(); err != nil {
		d.t.Error(err)
	}
}

func (d *desk) put(status tandem.Status) string {
	d.t.Helper()
	v, c, err := d.Put(d.t.Context(),
		tandem.Version{Task: "a", Created: time.Now(), Why: "grew"}, []byte("weights "+fmt.Sprint(time.Now().UnixNano())),
		tandem.Certificate{Time: time.Now(), Status: status, Threshold: 0.5, Why: "3 of 100"})
	if err != nil {
		d.t.Error(err)
		return ""
	}
	if v.Stage != tandem.Shadow || c.Version != v.Name {
		d.t.Errorf("put returned %+v %+v", v, c)
	}
	return v.Name
}

func (d *desk) promote(version string) {
	d.t.Helper()
	if _, err := d.Promote(d.t.Context(), "a", version, "it is better"); err != nil {
		d.t.Fatal(err)
	}
}

// want checks stages and certificates of all versions, e.g. "v1 retired
// replaced, v2 serving valid".
func (d *desk) want(state string) {
	d.t.Helper()
	all, err := d.List(d.t.Context(), "a")
	if err != nil {
		d.t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		got = append(got, fmt.Sprintf("%s %s %s", s.Version.Name, s.Version.Stage, s.Certificate.Status))
	}
	if g := strings.Join(got, ", "); g != state {
		d.t.Errorf("state is\n %s, want\n %s", g, state)
	}
}

func (d *desk) wantLive(version string) {
	d.t.Helper()
	s, err := d.Live(d.t.Context(), "a")
	if version == "" {
		if tandem.CodeOf(err) != tandem.NotFound {
			d.t.Errorf("live is %s, %v; want none", s.Version.Name, err)
		}
		return
	}
	if err != nil || s.Version.Name != version || s.Certificate.Version != version || s.Certificate.Status != tandem.Valid ||
		!strings.HasPrefix(string(s.Artefact), "weights") {
		d.t.Errorf("live is %s (%s, %q), %v; want %s", s.Version.Name, s.Certificate.Status, s.Artefact, err, version)
	}
}

// lastEvent checks the newest event.
func (d *desk) lastEvent(kind tandem.EventKind, version, why string) {
	d.t.Helper()
	es, err := d.s.Events(d.t.Context(), "a", 1)
	if err != nil || len(es) != 1 {
		d.t.Fatalf("events: %v, %v", es, err)
	}
	if e := es[0]; e.Kind != kind || e.Version != version || !strings.Contains(e.Why, why) || time.Since(e.Time) > time.Minute {
		d.t.Errorf("last event is %+v, want %s %s %q", e, kind, version, why)
	}
}

func TestPromoteAndRollback(t *testing.T) {
	d := newDesk(t, 0)
	d.wantLive("")
	v1 := d.put(tandem.Valid)
	d.lastEvent(tandem.EventTrained, v1, "grew")
	d.want("v1 shadow valid")
	d.wantLive("")
	d.promote(v1)
	d.lastEvent(tandem.EventPromoted, v1, "it is better")
	d.wantLive(v1)

	v2 := d.put(tandem.Refused)
	d.lastEvent(tandem.EventRefused, v2, "grew")
	if _, err := d.Promote(t.Context(), "a", v2, "please"); tandem.CodeOf(err) != tandem.Conflict {
		t.Errorf("promoting a refused version: %v", err)
	}
	d.wantLive(v1)
	if s, err := d.Shadow(t.Context(), "a"); err != nil || s.Version.Name != v2 || len(s.Artefact) == 0 {
		t.Errorf("shadow is %+v, %v", s.Version, err)
	}

	v3 := d.put(tandem.Valid)
	d.want("v1 serving valid, v2 retired refused, v3 shadow valid")
	d.promote(v3)
	d.want("v1 retired replaced, v2 retired refused, v3 serving valid")
	if _, err := d.Promote(t.Context(), "a", v3, "again"); tandem.CodeOf(err) != tandem.Conflict {
		t.Errorf("promoting what serves: %v", err)
	}

	e, err := d.Rollback(t.Context(), "a", "people complained")
	if err != nil || e.Version != v1 || e.Kind != tandem.EventRolledBack || e.Time.IsZero() {
		t.Errorf("rollback returned %+v, %v", e, err)
	}
	d.lastEvent(tandem.EventRolledBack, v1, "back from v3 to v1: people complained")
	d.want("v1 serving valid, v2 retired refused, v3 retired withdrawn")
	d.wantLive(v1)

	// Nothing older: the gate closes.
	if _, err := d.Rollback(t.Context(), "a", "still bad"); err != nil {
		t.Fatal(err)
	}
	d.lastEvent(tandem.EventRolledBack, v1, "the large model answers everything: still bad")
	d.want("v1 retired withdrawn, v2 retired refused, v3 retired withdrawn")
	d.wantLive("")
	if _, err := d.Rollback(t.Context(), "a", "and again"); tandem.CodeOf(err) != tandem.Conflict {
		t.Errorf("rolling back nothing: %v", err)
	}
	if _, err := d.Promote(t.Context(), "a", v1, "please"); tandem.CodeOf(err) != tandem.Conflict {
		t.Errorf("promoting a withdrawn version: %v", err)
	}
}

func TestAlarm(t *testing.T) {
	d := newDesk(t, 0)
	v1 := d.put(tandem.Valid)
	d.promote(v1)
	v2 := d.put(tandem.Valid)
	d.promote(v2)
	e, err := d.Withdraw(t.Context(), "a", v2, "8 of 60 audits disagree")
	if err != nil || e.Kind != tandem.EventAlarm {
		t.Fatalf("withdraw: %+v, %v", e, err)
	}
	d.lastEvent(tandem.EventAlarm, v2, "8 of 60")
	d.want("v1 retired replaced, v2 shadow withdrawn")
	d.wantLive("")
	if e, err := d.Withdraw(t.Context(), "a", v2, "again"); err != nil || e.Kind != "" {
		t.Errorf("a second alarm: %+v, %v", e, err)
	}
	d.lastEvent(tandem.EventAlarm, v2, "8 of 60")

	// Relearnt: the withdrawn one leaves the shadow, and is no place to return to.
	v3 := d.put(tandem.Valid)
	d.promote(v3)
	d.want("v1 retired replaced, v2 retired withdrawn, v3 serving valid")
	if e, err := d.Rollback(t.Context(), "a", "hm"); err != nil || e.Version != v1 {
		t.Errorf("rolled back to %+v, %v; want v1", e, err)
	}
	for _, call := range []func() (tandem.Event, error){
		func() (tandem.Event, error) { return d.Withdraw(t.Context(), "a", "v9", "x") },
		func() (tandem.Event, error) { return d.Promote(t.Context(), "a", "v9", "x") },
		func() (tandem.Event, error) { return d.Promote(t.Context(), "nobody", "v1", "x") },
	} {
		if _, err := call(); tandem.CodeOf(err) != tandem.NotFound {
			t.Errorf("unknown version: %v", err)
		}
	}
	if _, err := d.Show(t.Context(), "a", "v9"); tandem.CodeOf(err) != tandem.NotFound {
		t.Errorf("show of an unknown version: %v", err)
	}
	if s, err := d.Show(t.Context(), "a", v3); err != nil || s.Certificate.Status != tandem.Withdrawn {
		t.Errorf("show: %+v, %v", s, err)
	}
}

// A rollback returns to what served last, which need not be the newest.
func TestRollbackFollowsTime(t *testing.T) {
	d := newDesk(t, 0)
	for range 3 {
		d.promote(d.put(tandem.Valid))
	}
	d.promote("v1") // a person prefers the first one
	d.promote("v2") // or the second
	d.want("v1 retired replaced, v2 serving valid, v3 retired replaced")
	if e, err := d.Rollback(t.Context(), "a", "no"); err != nil || e.Version != "v1" {
		t.Errorf("rolled back to %s, %v; want v1, which served before", e.Version, err)
	}
}

func TestRestart(t *testing.T) {
	d := newDesk(t, 0)
	v1 := d.put(tandem.Valid)
	d.promote(v1)
	before, err := d.Live(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	d.close()
	d.open(0)
	after, err := d.Live(t.Context(), "a")
	if err != nil || after.Version.Name != before.Version.Name || string(after.Artefact) != string(before.Artefact) ||
		after.Certificate.ID != before.Certificate.ID {
		t.Errorf("after a restart live is %+v, %v", after.Version, err)
	}
}

func TestPrune(t *testing.T) {
	d := newDesk(t, 2)
	d.promote(d.put(tandem.Valid)) // v1: where a rollback would lead
	v2 := d.put(tandem.Valid)
	d.promote(v2)
	for range 6 {
		d.put(tandem.Refused) // v3 … v8
	}
	n, err := d.Prune(t.Context(), "a")
	if err != nil || n != 3 {
		t.Errorf("pruned %d, %v; want 3 (v3, v4, v5)", n, err)
	}
	all, err := d.List(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, s := range all {
		if _, err := d.s.Artefact(t.Context(), s.Version.Artefact); err == nil {
			kept = append(kept, s.Version.Name)
		} else if tandem.CodeOf(err) != tandem.NotFound {
			t.Error(err)
		}
	}
	if want := []string{"v1", "v2", "v6", "v7", "v8"}; !slices.Equal(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	if n, err := d.Prune(t.Context(), "a"); err != nil || n != 0 {
		t.Errorf("a second pruning took %d, %v", n, err)
	}
	d.wantLive(v2)
}

// An artefact that is gone or damaged is never made to serve.
func TestLostArtefact(t *testing.T) {
	d := newDesk(t, 0)
	for range 3 {
		d.promote(d.put(tandem.Valid))
	}
	if _, err := d.s.DropArtefacts(t.Context(), "a", []string{"v2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Promote(t.Context(), "a", "v2", "please"); tandem.CodeOf(err) != tandem.NotFound {
		t.Errorf("promoting a version without artefact: %v", err)
	}
	d.wantLive("v3")
	if e, err := d.Rollback(t.Context(), "a", "no"); err != nil || e.Version != "v1" {
		t.Errorf("rolled back to %s, %v; want v1, since v2 is gone", e.Version, err)
	}
	d.wantLive("v1")
}

func TestConcurrentChanges(t *testing.T) {
	d := newDesk(t, 0)
	var g sync.WaitGroup
	for range 6 {
		g.Go(func() {
			for range 5 {
				v := d.put(tandem.Valid)
				_, err := d.Promote(t.Context(), "a", v, "newer")
				if err != nil && tandem.CodeOf(err) != tandem.Conflict {
					t.Errorf("promote: %v", err)
				}
				if _, err := d.Live(t.Context(), "a"); err != nil {
					t.Errorf("live: %v", err)
				}
			}
		})
	}
	g.Wait()
	all, err := d.List(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	serving := 0
	for _, s := range all {
		if s.Version.Stage == tandem.Serving {
			serving++
		}
	}
	if len(all) != 30 || serving != 1 {
		t.Errorf("%d versions, %d serve", len(all), serving)
	}
}

func TestEndedContext(t *testing.T) {
	d := newDesk(t, 0)
	unlock, err := d.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := d.Rollback(ctx, "a", "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a change behind another one returned %v", err)
	}
	if _, err := d.Rollback(t.Context(), "b", "x"); tandem.CodeOf(err) != tandem.Conflict {
		t.Errorf("another task waited: %v", err)
	}
}
