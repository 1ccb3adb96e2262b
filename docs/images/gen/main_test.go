package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

const played = `{"requests":11990,"failed":10,"change":9000,"share_local":0.713,"share_local_end":0.5,"disagreement":0.021,` +
	`"alpha":0.05,"saved_usd":9.2149,"spent_usd":7.4,"seconds":61.7,"curve":[0,0.25,0.75,1,0.1,0.5]}`

func TestDraw(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(nil, strings.NewReader(played), &out); err != nil {
		t.Fatal(err)
	}
	svg := out.String()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
	}
	for _, want := range []string{
		"71.3 % answered here before the change", "2.1 % of those differ", "at most 5.0 % promised",
		"$ 9.21 of $ 16.61 saved", "12,000 requests, 62 s", "recording",
		// A step for each part of the curve: nothing, a quarter, …
		"70.0,300.0 70.0,300.0 200.0,300.0 200.0,248.0 330.0,248.0 330.0,144.0",
		"M655.0 84V300", // the change, at three quarters
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture lacks %q:\n%s", want, svg)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		in   string
		says string
	}{
		"no JSON":          {nil, "", "read the demo's result"},
		"no curve":         {nil, `{"requests":1}`, "no curve"},
		"a share above 1":  {nil, strings.Replace(played, "0.75", "75", 1), "curve[2] is 75"},
		"no change":        {nil, strings.Replace(played, `"change":9000`, `"change":12000`, 1), "nothing to draw"},
		"two files":        {[]string{"a", "b"}, "", "usage"},
		"a file not there": {[]string{"no-such-file.json"}, "", "no-such-file.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := run(c.args, strings.NewReader(c.in), io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
		})
	}
}
