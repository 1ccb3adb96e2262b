package main

import (
	"context"
	"errors"
	"log/slog"

	"tandem/internal/config"
)

// app is what serve runs.
type app interface {
	// Run serves until ctx ends, then drains.
	Run(ctx context.Context) error
	// Ready is closed once requests are answered.
	Ready() <-chan struct{}
	// Addr is the address served on, once ready.
	Addr() string
	// Reload puts another configuration in force, wholly or not at all.
	Reload(cfg *config.Config) error
	// Reloaded records the outcome of a reload as an event.
	Reloaded(r config.Reload)
}

// deps is what an app needs from the process.
type deps struct {
	log *slog.Logger
}

var errNotWired = errors.New("not wired")

// build makes the app of a configuration without starting anything.
func build(context.Context, *config.Config, deps) (app, error) { return nil, errNotWired }
