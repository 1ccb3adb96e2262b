// Command gen draws docs/images/demo.svg from the line of JSON that ends
// `tandem demo --once --json`:
//
//	go run ./docs/images/gen demo.json > docs/images/demo.svg
//
// `make picture` plays the demo and draws it. Nothing in the picture is
// typed in by hand.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) > 1 {
		return errors.New("usage: gen [demo.json]")
	}
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	var d demo
	if err := json.NewDecoder(in).Decode(&d); err != nil {
		return fmt.Errorf("read the demo's result: %w", err)
	}
	if err := d.check(); err != nil {
		return err
	}
	_, err := io.WriteString(out, draw(d))
	return err
}

// demo is what the picture needs of the result. Shares are in [0, 1].
type demo struct {
	Requests     int       `json:"requests"`
	Failed       int       `json:"failed"`
	Change       int       `json:"change"` // requests before the change
	ShareLocal   float64   `json:"share_local"`
	ShareEnd     float64   `json:"share_local_end"`
	Disagreement float64   `json:"disagreement"`
	Alpha        float64   `json:"alpha"`
	SavedUSD     float64   `json:"saved_usd"`
	SpentUSD     float64   `json:"spent_usd"`
	Seconds      float64   `json:"seconds"`
	Curve        []float64 `json:"curve"` // share answered locally in equal parts of the requests
}

func (d demo) check() error {
	if len(d.Curve) < 2 {
		return errors.New("the result has no curve; use the last line of: tandem demo --once --json")
	}
	for i, share := range d.Curve {
		if share < 0 || share > 1 {
			return fmt.Errorf("curve[%d] is %g, outside [0, 1]", i, share)
		}
	}
	if d.Requests <= 0 || d.Change <= 0 || d.Change >= d.Requests+d.Failed {
		return fmt.Errorf("the change came at %d of %d requests; nothing to draw", d.Change, d.Requests+d.Failed)
	}
	return nil
}

// The frame of the plot, in pixels.
const (
	left, right = 70.0, 850.0
	top, bottom = 92.0, 300.0
)

func draw(d demo) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	n := float64(len(d.Curve))
	x := func(part float64) float64 { return left + (right-left)*part }
	y := func(share float64) float64 { return bottom - (bottom-top)*share }

	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 370" width="880" height="370" role="img" aria-labelledby="title text" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13">`)
	p(`<title id="title">Who answers, over the %s requests of the demo</title>`, thousands(d.Requests))
	p(`<desc id="text">Share of requests answered by the student: %s before the change of the desk, %s at the end.</desc>`, percent(d.ShareLocal), percent(d.ShareEnd))
	p(`<rect x=".5" y=".5" width="879" height="369" rx="14" fill="#fff" stroke="#e2e8f0"/>`)
	p(`<text x="%g" y="38" font-size="18" font-weight="600" fill="#0f172a">Who answers: traffic moves from the large model to the student</text>`, left)
	p(`<text x="%g" y="62" fill="#475569">%s answered here before the change · %s of those differ from the large model, at most %s promised</text>`,
		left, percent(d.ShareLocal), percent(d.Disagreement), percent(d.Alpha))

	// The large model has what the student leaves.
	p(`<rect x="%g" y="%g" width="%g" height="%g" fill="#c7d2fe"/>`, left, top, right-left, bottom-top)
	points := []string{point(left, bottom)}
	for i, share := range d.Curve {
		points = append(points, point(x(float64(i)/n), y(share)), point(x(float64(i+1)/n), y(share)))
	}
	points = append(points, point(right, bottom))
	p(`<polygon points="%s" fill="#22a352"/>`, strings.Join(points, " "))

	for _, share := range []float64{0, 0.5, 1} {
		p(`<text x="%g" y="%g" text-anchor="end" fill="#475569">%.0f %%</text>`, left-10, y(share)+4, share*100)
		p(`<path d="M%g %gH%g" stroke="#0f172a" stroke-opacity=".18"/>`, left, y(share), right)
	}
	at := x(float64(d.Change) / float64(d.Requests+d.Failed))
	p(`<path d="M%.1f %gV%g" stroke="#b91c1c" stroke-width="1.5" stroke-dasharray="4 4"/>`, at, top-8, bottom)
	p(`<text x="%.1f" y="%g" text-anchor="end" font-size="12.5" fill="#b91c1c">the desk changes</text>`, at-6, top-2+14)
	p(`<text x="%g" y="%g" fill="#475569">0</text>`, left, bottom+20)
	p(`<text x="%g" y="%g" text-anchor="end" fill="#475569">%s requests, %.0f s</text>`, right, bottom+20, thousands(d.Requests+d.Failed), d.Seconds)

	p(`<rect x="%g" y="337" width="12" height="12" fill="#22a352"/><text x="%g" y="348" fill="#0f172a">student, in process</text>`, left, left+20)
	p(`<rect x="%g" y="337" width="12" height="12" fill="#c7d2fe"/><text x="%g" y="348" fill="#0f172a">large model (in this demo a recording)</text>`, left+180, left+200)
	p(`<text x="%g" y="348" text-anchor="end" fill="#0f172a">$ %.2f of $ %.2f saved</text>`, right, d.SavedUSD, d.SavedUSD+d.SpentUSD)
	p(`</svg>`)
	return b.String()
}

func point(x, y float64) string {
	return strconv.FormatFloat(x, 'f', 1, 64) + "," + strconv.FormatFloat(y, 'f', 1, 64)
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", share*100) }

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
