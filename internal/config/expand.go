package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} and ${NAME:-default} by environment variables, and
// $${ by a literal ${. It works on scalars after parsing, so that a variable
// can never add keys. A variable that is missing or empty and has no default
// is reported in missing.
func expand(s string, getenv func(string) string) (out string, problems []string) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), problems
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1])
			b.WriteString("${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		inner, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed {
			return "", append(problems, `"${" is never closed by "}"; write "$${" for a literal "${"`)
		}
		s = rest
		name, fallback, hasDefault := strings.Cut(inner, ":-")
		switch {
		case !isVariable(name):
			problems = append(problems, fmt.Sprintf(`%q is not the name of an environment variable; write "$${" for a literal "${"`, name))
		default:
			value := getenv(name)
			if value == "" {
				if !hasDefault {
					problems = append(problems, fmt.Sprintf("the environment variable %s is not set; set it, or give a default: ${%s:-…}", name, name))
				}
				value = fallback
			}
			b.WriteString(value)
		}
	}
}

func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
