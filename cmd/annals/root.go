package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "annals",
		Short: "Event sourcing and CQRS for Go: try it, and look into a store's directory",
		Long: `annals runs an example application on a store on disk (dev), serves stores (serve, key), writes a service to begin with (new), reads, appends to, verifies and dumps
a store, in a directory or on a server, tells what was and why (state, why, whatif, bisect), erases (erase), looks after projections (projection), and measures the store on this machine (bench). What it prints is for people on a terminal, and JSON lines elsewhere: say -o table or -o ndjson.

Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 conflict, 5 unavailable, 6 damaged, 7 not allowed, 130 interrupted.

The API key for a server is in the variable ANNALS_TOKEN.`,
		Example: `  annals dev
  annals read annals-data/store --limit 10`,
		Version:       version(debug.ReadBuildInfo()),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usageError{fmt.Errorf("there is no command %q: see annals --help", args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newDev(), newNew(), newRead(), newAppend(), newState(), newWhy(), newWhatIf(), newBisect(), newErase(), newProjection(), newServe(), newKey(), newVerify(), newDump(), newBench())
	return root
}

// version is that of the module, or devel, and then with the commit that it was built from if the build knows it.
func version(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	parts := []string{"devel"}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			parts = append(parts, "commit "+s.Value)
		case s.Key == "vcs.modified" && s.Value == "true":
			parts = append(parts, "modified")
		}
	}
	return strings.Join(parts, ", ")
}

// argsNamed wants exactly these arguments.
func argsNamed(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return wrongArgs(cmd, args, strings.Join(names, " "))
	}
}

func wrongArgs(cmd *cobra.Command, args []string, want string) error {
	if want == "" {
		want = "no arguments"
	}
	return usageError{fmt.Errorf("%s wants %s, and was given %d: see %s --help", cmd.CommandPath(), want, len(args), cmd.CommandPath())}
}
