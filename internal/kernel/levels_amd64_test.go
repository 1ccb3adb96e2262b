package kernel

// levels sets each instruction set that this processor has; what the setter
// returns restores the one before.
func levels() map[string]func() func() {
	use := func(l int) func() func() {
		return func() func() {
			before := level
			level = l
			return func() { level = before }
		}
	}
	m := map[string]func() func(){"portable": use(portable)}
	for l, name := range []string{avx2: "avx2", avx512: "avx512", avx512vnni: "avx512vnni"} {
		if name != "" && detect() >= l {
			m[name] = use(l)
		}
	}
	return m
}
