package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written 262144, 256KB (1024 bytes each) or 10MB.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	t := strings.TrimSpace(string(text))
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(t, u.suffix); ok {
			t, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return errors.New(`is not a size; write for example 262144, 256KB or 10MB`)
	}
	*s = Size(n * unit)
	return nil
}

// String formats the size in the largest unit that divides it.
func (s Size) String() string {
	switch {
	case s != 0 && s%(1<<30) == 0:
		return fmt.Sprintf("%dGB", s>>30)
	case s != 0 && s%(1<<20) == 0:
		return fmt.Sprintf("%dMB", s>>20)
	case s != 0 && s%(1<<10) == 0:
		return fmt.Sprintf("%dKB", s>>10)
	default:
		return strconv.FormatInt(int64(s), 10)
	}
}

// Share is a part of a whole, written 0.05 or 5%.
type Share float64

// UnmarshalText reads a share.
func (s *Share) UnmarshalText(text []byte) error {
	t, percent := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(t), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return errors.New("is not a share; write for example 0.05 or 5%")
	}
	if percent {
		x /= 100
	}
	*s = Share(x)
	return nil
}

// Secret is a string that is never printed or logged.
type Secret string

const redacted = "[secret]"

// String hides the secret.
func (Secret) String() string { return redacted }

// GoString hides the secret.
func (Secret) GoString() string { return redacted }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// Label is a possible answer: its name alone, or name and description.
type Label struct {
	// Name is the answer itself, at most 64 bytes.
	Name string `yaml:"name" jsonschema:"required"`
	// Description is shown to the teacher.
	Description string `yaml:"description"`
}

// UnmarshalText reads a label without a description.
func (l *Label) UnmarshalText(text []byte) error {
	*l = Label{Name: string(text)}
	return nil
}

// parseDuration reads a length of time such as 5s, 1m30s or 250ms.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return 0, errors.New("is not a length of time; write for example 5s, 1m30s or 250ms")
	}
	return d, nil
}
