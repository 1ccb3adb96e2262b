package certify

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestKeyDrawsAreUniformAndIndependent(t *testing.T) {
	k := Key{1, 2, 3}
	const n = 60000
	var certify, audit, both int
	for i := range n {
		id := fmt.Sprintf("trace-%d", i)
		c, a := k.Certify(id), k.Audit(id, 0.2)
		if c {
			certify++
		}
		if a {
			audit++
		}
		if a && c {
			both++
		}
		if c != k.Certify(id) || a != k.Audit(id, 0.2) {
			t.Fatal("a draw changed")
		}
		if a && !k.Audit(id, 0.3) {
			t.Fatal("a higher rate lost an audit")
		}
	}
	for _, c := range []struct {
		name string
		got  int
		p    float64
	}{{"certify", certify, CertifyShare}, {"audit", audit, 0.2}, {"both", both, CertifyShare * 0.2}} {
		if sd := math.Sqrt(n * c.p * (1 - c.p)); math.Abs(float64(c.got)-n*c.p) > 5*sd {
			t.Errorf("%s: %d of %d draws, want about %.0f", c.name, c.got, n, n*c.p)
		}
	}
}

func TestKeyEdges(t *testing.T) {
	k := Key{9}
	for _, id := range []string{"", "a", strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("y", 5000)} {
		if k.Audit(id, 0) || !k.Audit(id, 1) || k.Repeat(id, math.NaN()) {
			t.Errorf("rate edges broken for a name of %d bytes", len(id))
		}
		if u := k.Unit(id); len(u) != 32 || u == (Key{8}).Unit(id) {
			t.Errorf("unit %q", u)
		}
	}
}

func TestKeyIsHMAC(t *testing.T) {
	k := Key{1, 2, 3, 250}
	for _, id := range []string{"", "abc", strings.Repeat("x", 128), strings.Repeat("x", 300)} {
		mac := hmac.New(sha256.New, k[:])
		mac.Write(append([]byte{'a'}, id...))
		if got := k.sum('a', id); !bytes.Equal(got[:], mac.Sum(nil)) {
			t.Errorf("%d bytes: not HMAC-SHA-256", len(id))
		}
	}
}

func TestAuditAllocatesNothing(t *testing.T) {
	k, id := Key{1}, strings.Repeat("t", 128)
	if n := testing.AllocsPerRun(200, func() { k.Audit(id, 0.5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
