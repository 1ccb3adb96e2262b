package support

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
)

// How customers write.
const (
	headShare  = 0.36 // requests with one of the few texts everybody sends
	headSize   = 20   // such texts of the most frequent intent
	followUp   = 0.22 // requests that continue a conversation
	sameTopic  = 0.45 // follow-ups about the same intent
	sameText   = 0.05 // follow-ups that repeat the text
	openChats  = 24   // conversations that may still go on
	maxPerChat = 5
)

// pool is the messages of one phase by topic, those that people repeat first.
type pool struct {
	topics [][]int32
}

func (p *pool) add(topic int, message int32) {
	for len(p.topics) <= topic {
		p.topics = append(p.topics, nil)
	}
	p.topics[topic] = append(p.topics[topic], message)
}

type chat struct {
	session string
	topic   int
	last    int32
	sent    int
}

// player makes the traffic of one seed.
type player struct {
	desk  *Desk
	pool  *pool
	rng   *rand.PCG
	seed  uint64
	phase Phase
	sums  []float64 // cumulative shares of the topics
	decks [][]int32 // what is still to be sent of each topic, shuffled
	chats []chat
	count int
}

// Traffic gives an endless stream of messages, the same for the same seed and
// phase. Intents follow the law of Zipf and Mandelbrot; about a third of the requests repeat
// texts that many customers send, the others are dealt without repetition
// until an intent has no more.
func (d *Desk) Traffic(seed uint64, p Phase) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		pl := d.player(seed, p)
		for yield(pl.next()) {
		}
	}
}

// Stream gives the first n messages of Traffic.
func (d *Desk) Stream(seed uint64, n int, p Phase) []Message {
	out := make([]Message, 0, n)
	if n <= 0 {
		return out
	}
	for m := range d.Traffic(seed, p) {
		if out = append(out, m); len(out) == n {
			break
		}
	}
	return out
}

func (d *Desk) player(seed uint64, p Phase) *player {
	pl := &player{desk: d, pool: &d.pools[p], rng: rand.NewPCG(seed, uint64(p)+1), seed: seed, phase: p}
	fresh := 0.0 // share of the intents that the change brought
	for _, in := range d.intents {
		if in.since == After {
			fresh += in.share
		}
	}
	total := 0.0
	for i, in := range d.intents {
		switch {
		case i >= len(pl.pool.topics) || len(pl.pool.topics[i]) == 0:
		case p == Before || in.since == After:
			total += in.share
		default:
			total += in.share * (1 - fresh)
		}
		pl.sums = append(pl.sums, total)
	}
	pl.decks = make([][]int32, len(d.intents))
	return pl
}

func (pl *player) uniform() float64 { return float64(pl.rng.Uint64()>>11) / (1 << 53) }

func (pl *player) below(n int) int { return int(pl.uniform() * float64(n)) }

func (pl *player) next() Message {
	pl.count++
	if len(pl.chats) > 0 && pl.uniform() < followUp {
		c := &pl.chats[pl.below(len(pl.chats))]
		if c.sent < maxPerChat {
			switch x := pl.uniform(); {
			case x < sameText:
			case x < sameTopic:
				c.last = pl.draw(c.topic)
			default:
				c.topic = pl.topic()
				c.last = pl.draw(c.topic)
			}
			c.sent++
			return pl.message(c)
		}
	}
	t := pl.topic()
	c := chat{session: fmt.Sprintf("s%d-%x-%06x", pl.phase, pl.seed, pl.count), topic: t, last: pl.draw(t), sent: 1}
	if len(pl.chats) < openChats {
		pl.chats = append(pl.chats, c)
	} else {
		pl.chats[pl.below(openChats)] = c
	}
	return pl.message(&c)
}

func (pl *player) message(c *chat) Message {
	m := &pl.desk.messages[c.last]
	return Message{Text: m.text, Label: m.label, Gold: m.gold, Session: c.session}
}

// topic draws an intent by its share.
func (pl *player) topic() int {
	x := pl.uniform() * pl.sums[len(pl.sums)-1]
	for i, s := range pl.sums {
		if x < s {
			return i
		}
	}
	return len(pl.sums) - 1
}

// draw takes a message of a topic: one that everybody sends, or the next one
// from the shuffled rest.
func (pl *player) draw(topic int) int32 {
	all := pl.pool.topics[topic]
	if pl.uniform() < headShare {
		// Inverse of the distribution function of 1/r on the first texts.
		n := float64(min(headSize, len(all)))
		return all[int(math.Exp(pl.uniform()*math.Log(n+1)))-1]
	}
	deck := pl.decks[topic]
	if len(deck) == 0 {
		deck = pl.shuffle(append(deck, all...))
	}
	m := deck[len(deck)-1]
	pl.decks[topic] = deck[:len(deck)-1]
	return m
}

// shuffle orders messages by a hash of the seed. The phases deal from opposite
// ends of the same order, so that what was sent before the change is the last
// to be sent again after it.
func (pl *player) shuffle(deck []int32) []int32 {
	slices.SortFunc(deck, func(a, b int32) int {
		x, y := mix(pl.seed, a), mix(pl.seed, b)
		if pl.phase == After {
			x, y = y, x
		}
		return cmp.Compare(x, y)
	})
	return deck
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(seed uint64, i int32) uint64 {
	z := seed + (uint64(i)+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
