package main

import (
	"io"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar shows progress on a terminal and is silent otherwise.
type bar struct {
	bars *mpb.Progress
	bar  *mpb.Bar
}

// newBar begins a bar for total bytes or steps; -1 when unknown. The caller
// ends it with finish.
func newBar(sys system, what string, total int64) *bar {
	if !isTerminal(sys.stderr) {
		return &bar{}
	}
	bars := mpb.New(mpb.WithOutput(sys.stderr), mpb.WithWidth(40))
	return &bar{bars: bars, bar: bars.AddBar(max(total, 0),
		mpb.PrependDecorators(decor.Name(what+" ")),
		mpb.AppendDecorators(decor.Percentage(decor.WCSyncSpace), decor.Elapsed(decor.ET_STYLE_MMSS, decor.WCSyncSpace)),
		mpb.BarRemoveOnComplete(),
	)}
}

// reader advances the bar by what is read.
func (b *bar) reader(r io.Reader) io.Reader {
	if b.bar == nil {
		return r
	}
	counted, err := b.bar.ProxyReader(r)
	if err != nil {
		return r // the bar has ended; reading goes on
	}
	return counted
}

// set moves the bar to a place between 0 and 1.
func (b *bar) set(done float64, total int64) {
	if b.bar != nil {
		b.bar.SetCurrent(int64(done * float64(total)))
	}
}

// finish removes the bar.
func (b *bar) finish(complete bool) {
	if b.bar == nil {
		return
	}
	if complete {
		b.bar.SetTotal(-1, true)
	} else {
		b.bar.Abort(true)
	}
	b.bars.Wait()
}
