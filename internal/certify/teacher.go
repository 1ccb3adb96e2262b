package certify

// SelfAgreement is how often the teacher gave the same label when asked twice
// about one input, with the exact interval that misses the truth with
// probability at most delta. No student can be certified to agree with the
// teacher more often than the teacher agrees with itself. Without repeats the
// rate is 0 and the interval [0, 1].
func SelfAgreement(same, asked int, delta float64) (rate, lo, hi float64) {
	lo, hi = ClopperPearson(same, asked, delta)
	if asked > 0 && same >= 0 && same <= asked {
		rate = float64(same) / float64(asked)
	}
	return rate, lo, hi
}
