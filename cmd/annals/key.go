package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals/server/auth"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make, list and revoke the API keys of a server",
		Long: `Changes the file of keys that annals serve --auth-keys uses. A server that runs notices within a second, and ends what a revoked key has open.
The file holds hashes: a key is shown once, when it is made.`,
		Example: `  annals key add keys.json billing --store shop --prefix order- --may read,append
  annals key ls keys.json
  annals key revoke keys.json 1f2e3d4c5b6a`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usageError{fmt.Errorf("there is no command %q: see %s --help", args[0], cmd.CommandPath())}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyAdd(), newKeyLs(), newKeyRevoke())
	return cmd
}

// keyFlags are what `annals key add` needs to know.
type keyFlags struct {
	output        output
	store, prefix string
	all           bool
	may           []string
	expires       time.Duration
}

func newKeyAdd() *cobra.Command {
	var f keyFlags
	cmd := &cobra.Command{
		Use: "add FILE NAME", Short: "Make a key, and print its secret",
		Long: `Makes a key for one store, or with --all-stores for every one. With --prefix it may append to, and read, streams alone whose names begin so; what is read has to be
said by streams or categories then.`,
		Example: "  annals key add keys.json billing --store shop --may read,append --expires 2160h", Args: argsNamed("FILE", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.add(cmd, args[0], args[1]) },
	}
	f.output.flag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.store, "store", "", "the `NAME` of the store; the default one has none")
	flags.BoolVar(&f.all, "all-stores", false, "for every store")
	flags.StringVar(&f.prefix, "prefix", "", "streams alone that begin with this `PREFIX`")
	flags.StringSliceVar(&f.may, "may", []string{string(auth.Read)}, "what it may do, a `LIST` of read, append and admin")
	flags.DurationVar(&f.expires, "expires", 0, "after this `DURATION` it is good no more; never by default")
	return cmd
}

func (f *keyFlags) add(cmd *cobra.Command, file, name string) (err error) {
	g := auth.Grant{Store: f.store, Prefix: f.prefix}
	switch {
	case f.all && f.store != "":
		return usageError{errors.New("give one of --store and --all-stores")}
	case f.all:
		g.Store = auth.AnyStore
	case f.expires < 0:
		return usageError{errors.New("--expires is negative")}
	case name == "":
		return usageError{errors.New("NAME is empty")}
	}
	for _, o := range f.may {
		if !slices.Contains(auth.Operations(), auth.Operation(o)) {
			return usageError{fmt.Errorf("--may %q: there are read, append and admin", o)}
		}
		g.Operations = append(g.Operations, auth.Operation(o))
	}
	var expires time.Time
	if f.expires > 0 {
		expires = time.Now().Add(f.expires).UTC()
	}
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	key, secret, err := auth.Add(file, name, []auth.Grant{g}, expires)
	if err != nil {
		return usageError{err}
	}
	if out.json != nil {
		out.object(map[string]string{"id": key.ID, "name": key.Name, "secret": secret})
		return nil
	}
	out.line("%s", secret)
	out.line("It is shown now only. Its id is %s.", key.ID)
	return nil
}

func newKeyLs() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "ls FILE", Short: "List keys, without their secrets", Example: "  annals key ls keys.json", Args: argsNamed("FILE"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			out, err := o.to(cmd.OutOrStdout())
			if err != nil {
				return err
			}
			defer func() { err = out.close(err) }()
			keys, err := auth.List(args[0])
			if err != nil {
				return usageError{err}
			}
			return out.keys(keys)
		},
	}
	o.flag(cmd)
	return cmd
}

func (p *printer) keys(keys []auth.Key) error {
	if p.json != nil {
		for _, k := range keys {
			k.Hash = ""
			p.object(k)
		}
		return nil
	}
	table := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tNAME\tMAY\tSTATE") // Flush tells
	for _, k := range keys {
		var may []string
		for _, g := range k.Grants {
			text := fmt.Sprintf("%v in %q", g.Operations, g.Store)
			if g.Prefix != "" {
				text += " on " + g.Prefix + "…"
			}
			may = append(may, text)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", k.ID, printable(k.Name), printable(strings.Join(may, ", ")), stateOf(k)) // Flush tells
	}
	return table.Flush()
}

func stateOf(k auth.Key) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked " + k.Revoked.Format(time.RFC3339)
	case !k.Expires.IsZero() && time.Now().After(k.Expires):
		return "expired " + k.Expires.Format(time.RFC3339)
	case !k.Expires.IsZero():
		return "good until " + k.Expires.Format(time.RFC3339)
	}
	return "good"
}

func newKeyRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke FILE ID", Short: "End a key, and what it has open", Example: "  annals key revoke keys.json 1f2e3d4c5b6a", Args: argsNamed("FILE", "ID"),
		RunE: func(_ *cobra.Command, args []string) error {
			err := auth.Revoke(args[0], args[1])
			if err != nil && !errors.Is(err, auth.ErrNoKey) {
				err = usageError{err}
			}
			return err
		},
	}
}
