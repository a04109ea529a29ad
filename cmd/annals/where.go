package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/remote"
)

// isServer tells whether a store is on a server, and not in a directory.
func isServer(where string) bool {
	return strings.HasPrefix(where, "annals://") || strings.HasPrefix(where, "annalss://")
}

// tokenVariable is where the API key is: on a command line others would see it.
const tokenVariable = "ANNALS_TOKEN"

// remoteOptions are how servers are asked.
func remoteOptions() []remote.Option {
	opts := []remote.Option{remote.Patience(patience)}
	if token := os.Getenv(tokenVariable); token != "" {
		opts = append(opts, remote.Token(token))
	}
	return opts
}

// withServer opens a store on a server.
func withServer(ctx context.Context, url string, use func(annals.Store) error) (err error) {
	s, err := remote.Open(ctx, url, remoteOptions()...)
	if err != nil {
		if errors.Is(err, remote.ErrURL) {
			err = usageError{err}
		}
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return use(s)
}

// withReadOnly opens a store for reading: one on a server, or one in a directory, beside a process that may be writing to it.
func withReadOnly(ctx context.Context, where string, use func(annals.Store) error) (err error) {
	if isServer(where) {
		return withServer(ctx, where, use)
	}
	if err := checkStore(where); err != nil {
		return err
	}
	s, err := disk.OpenReadOnly(ctx, where)
	if err != nil {
		return err
	}
	defer func() {
		if closing := s.Close(); err == nil {
			err = closing
		}
	}()
	return use(s)
}
