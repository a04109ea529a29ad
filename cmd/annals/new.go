package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals/internal/scaffold"
)

const (
	modulePath = "github.com/annalsdb/annals"
	// goVersion is what this module needs, and so whoever uses it.
	goVersion = "1.26.0"
	// develVersion stands for a version that is not published, and is replaced by a directory.
	develVersion = "v0.0.0"
)

func newNew() *cobra.Command {
	var s scaffold.Service
	noTidy := false
	cmd := &cobra.Command{
		Use:   "new DIR --module PATH",
		Short: "Write a small, tested, event-sourced service to begin with",
		Long: `Writes a service with a state, three commands, a read model, HTTP routes and tests into a new directory, and has go mod
tidy find what it needs. It compiles and passes its tests as it is.

DIR must not exist, or be empty. A build of annals that has no version, such as one of a checkout, makes the service use
the checkout that it is called in, or the one that --replace names.`,
		Example: `  annals new shop --module example.com/shop
  cd shop && go test ./... && go run .`,
		Args: argsNamed("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Dir, s.Go = args[0], goVersion
			if s.Module == "" {
				return usageError{errors.New("--module is missing: the path of the new module, such as example.com/shop")}
			}
			if err := findAnnals(cmd.Context(), &s); err != nil {
				return err
			}
			names, err := s.Write()
			if errors.Is(err, scaffold.ErrModule) || errors.Is(err, scaffold.ErrNotEmpty) {
				return usageError{err}
			}
			if err != nil {
				return fmt.Errorf("cannot write the service: %w", err)
			}
			return finish(cmd.Context(), cmd.OutOrStdout(), s, names, noTidy)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.Module, "module", "", "the `PATH` of the new module, such as example.com/shop")
	flags.StringVar(&s.Replace, "replace", "", "use the Annals in this `DIR` in place of the published one")
	flags.BoolVar(&noTidy, "no-tidy", false, "do not run go mod tidy")
	return cmd
}

// findAnnals says which Annals the service will use.
func findAnnals(ctx context.Context, s *scaffold.Service) (err error) {
	s.Annals = develVersion
	if info, ok := debug.ReadBuildInfo(); ok && s.Replace == "" && info.Main.Path == modulePath && strings.HasPrefix(info.Main.Version, "v") {
		s.Annals = info.Main.Version
	}
	// What is built from a checkout may have a version that was never published.
	if s.Replace == "" && (s.Annals == develVersion || strings.Contains(s.Annals, "-0.") || strings.Contains(s.Annals, "+")) {
		out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", modulePath).Output()
		if s.Replace = strings.TrimSpace(string(out)); err != nil || s.Replace == "" {
			return usageError{errors.New("this build of annals has no version: call it in a checkout of Annals, or say --replace DIR with one")}
		}
		s.Annals = develVersion
	}
	if s.Replace != "" {
		if s.Replace, err = filepath.Abs(s.Replace); err != nil {
			return err
		}
	}
	return nil
}

// finish has go find what the service needs, and says what to do next.
func finish(ctx context.Context, w io.Writer, s scaffold.Service, names []string, noTidy bool) error {
	if !noTidy {
		tidy := exec.CommandContext(ctx, "go", "mod", "tidy")
		tidy.Dir = s.Dir
		if out, err := tidy.CombinedOutput(); err != nil {
			return fmt.Errorf("the service is in %s, but go mod tidy does not find what it needs: %w\n%s", s.Dir, err, bytes.TrimSpace(out))
		}
	}
	_, err := fmt.Fprintf(w, "%d files are in %s. Next:\n  cd %s && go test ./... && go run .\n", len(names), s.Dir, quote(s.Dir))
	return err
}
