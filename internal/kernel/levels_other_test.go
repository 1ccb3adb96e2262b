//go:build !amd64 && !arm64

package kernel

// levels has only the twins where there is no assembly.
func levels() map[string]func() func() {
	return map[string]func() func(){"portable": func() func() { return func() {} }}
}
