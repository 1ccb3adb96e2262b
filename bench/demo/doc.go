// Package demo plays a support desk's traffic against a running tandem through
// its HTTP API, as an application with an OpenAI client would, watches what
// happens and shows it. The large model is a recording, and everything shown
// says so.
package demo
