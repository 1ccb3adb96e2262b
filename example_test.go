package tandem_test

import (
	"fmt"

	"tandem"
)

// A teacher decorates its answers; a task forgives what does not change the
// meaning and refuses the rest.
func ExampleTask_Resolve() {
	task := &tandem.Task{Labels: []tandem.Label{{Name: "refund"}, {Name: "lost card"}}}
	fmt.Println(task.Resolve(" \"Refund.\" "))
	fmt.Println(task.Resolve("I think the customer wants a refund"))
	// Output:
	// refund true
	//  false
}

// Inputs are checked once, at the border; the error says what to do.
func ExampleInput_Check() {
	in := tandem.Input{Parts: []tandem.Part{{Kind: tandem.Image, URL: "https://example.com/cat.png"}}}
	fmt.Println(in.Check([]tandem.Kind{tandem.Text}, 64<<10))
	// Output:
	// unsupported_modality: this task does not take image parts; it takes text
}

// Prices are in US dollars per million tokens.
func ExamplePrice_Cost() {
	price := tandem.Price{Input: 2.50, Output: 10, Cached: 1.25}
	fmt.Printf("$%.6f\n", price.Cost(tandem.Usage{InputTokens: 1200, CachedTokens: 1000, OutputTokens: 4}))
	// Output:
	// $0.001790
}

// CodeOf finds the code anywhere in a chain, so that callers can wrap.
func ExampleCodeOf() {
	err := fmt.Errorf("answer support: %w", tandem.Errorf(tandem.Overloaded, "too many requests; try again in a second"))
	fmt.Println(tandem.CodeOf(err))
	// Output:
	// overloaded
}
