package certify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// CertifyShare is the share of units whose rows are kept for certifying; the
// others train.
const CertifyShare = 1.0 / 3

// Key is the secret of an installation from which every coin is drawn. The
// draws are functions of the key and a name, so they are the same after a
// restart and nobody without the key can predict them.
type Key [32]byte

// Certify reports whether rows of a unit are on the certify side of the
// split; the share CertifyShare of all units is. The unit is the trace id, or
// the session when the request carries one, because rows of one session
// resemble each other and must not fall on both sides. The answer never
// changes for a unit.
func (k Key) Certify(unit string) bool { return k.draw('c', unit) < CertifyShare }

// Audit reports whether the accepted answer of a trace is checked with the
// teacher. It is true for the share rate of traces, in [0, 1], and depends on
// nothing the student said. Trace ids up to 128 bytes cost no allocation.
func (k Key) Audit(traceID string, rate float64) bool { return k.draw('a', traceID) < rate }

// Repeat reports whether the teacher is asked a second time about a trace, to
// measure how often it agrees with itself. It is true for the share rate of
// traces, in [0, 1], independently of Certify and Audit.
func (k Key) Repeat(traceID string, rate float64) bool { return k.draw('r', traceID) < rate }

// Unit turns a caller's session key into the 32 hexadecimal digits that are
// stored in its place.
func (k Key) Unit(session string) string {
	sum := k.sum('u', session)
	return hex.EncodeToString(sum[:16])
}

// draw is a number in [0, 1) with 53 random bits, fixed by key, domain and name.
func (k *Key) draw(domain byte, name string) float64 {
	sum := k.sum(domain, name)
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}

// sum is HMAC-SHA-256 of the domain and the name, written out on fixed buffers
// because crypto/hmac allocates and Audit is on the request path.
func (k *Key) sum(domain byte, name string) [sha256.Size]byte {
	const block, inPlace = sha256.BlockSize, 128
	var in [block + 1 + inPlace]byte
	var out [block + sha256.Size]byte
	for i := range block {
		var b byte
		if i < len(k) {
			b = k[i]
		}
		in[i], out[i] = b^0x36, b^0x5c
	}
	in[block] = domain
	var inner [sha256.Size]byte
	if len(name) <= inPlace {
		n := copy(in[block+1:], name)
		inner = sha256.Sum256(in[:block+1+n])
	} else {
		inner = sha256.Sum256(append(in[:block+1:block+1], name...))
	}
	copy(out[block:], inner[:])
	return sha256.Sum256(out[:])
}
