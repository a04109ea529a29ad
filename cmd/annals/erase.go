package main

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/store/disk"
)

// eraseFlags are what `annals erase` needs to know.
type eraseFlags struct {
	output                      output
	keys, masterEnv, masterFile string
	reason, actor               string
}

func newErase() *cobra.Command {
	var f eraseFlags
	cmd := &cobra.Command{
		Use:   "erase DIR SUBJECT",
		Short: "Destroy the key of a subject, and with it the subject's personal data",
		Long: `Writes down in the store that the personal data of a subject is erased, who asked for it and why, and then destroys the subject's key. Nothing
brings the data back but a backup of the key. No other process may have the directory open; a program that runs erases by itself, with
events of its own that let its read models know (privacy.Store.Erase).

SUBJECT is the name that the program gave to privacy.Of, such as customer-7.`,
		Example: `  annals erase ./store customer-7 --keys ./keys --master-env ANNALS_MASTER_KEY --reason "asked for it on 2 May"`,
		Args:    argsNamed("DIR", "SUBJECT"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1]) },
	}
	f.output.flag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.keys, "keys", "", "the `DIRECTORY` of the keys")
	flags.StringVar(&f.masterEnv, "master-env", "", "the environment `VARIABLE` that holds the master key")
	flags.StringVar(&f.masterFile, "master-file", "", "the `FILE` that holds the master key")
	flags.StringVar(&f.reason, "reason", "", "the `REASON`, to be kept")
	flags.StringVar(&f.actor, "actor", "", "the `ID` of who asked for it, to be kept")
	return cmd
}

// erasedJSON is the answer as a line of JSON.
type erasedJSON struct {
	Subject  string          `json:"subject"`
	Position annals.Position `json:"position"` // of the record
	Key      bool            `json:"key"`      // there was one
}

func (f *eraseFlags) run(cmd *cobra.Command, dir, subject string) (err error) {
	switch {
	case subject == "" || f.keys == "" || f.reason == "":
		return usageError{errors.New("a SUBJECT, --keys and --reason are required")}
	case (f.masterEnv == "") == (f.masterFile == ""):
		return usageError{errors.New("give one of --master-env and --master-file")}
	}
	master, err := f.master()
	if err != nil {
		return usageError{err}
	}
	if err := checkStore(dir); err != nil {
		return err
	}
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	ctx := annals.WithPrincipal(cmd.Context(), annals.Principal{ID: f.actor})
	keys, err := privacy.OpenKeys(ctx, f.keys, master)
	if errors.Is(err, fs.ErrNotExist) {
		err = usageError{err}
	}
	if err != nil {
		return err
	}
	base, err := disk.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		if closing := base.Close(); err == nil {
			err = closing
		}
	}()
	store, err := privacy.Protect(ctx, base, keys)
	if err != nil {
		return err
	}
	_, found, err := keys.Key(ctx, subject)
	if err != nil {
		return err
	}
	receipt, err := store.Erase(ctx, subject, f.reason, nil)
	if err != nil {
		return err
	}
	if out.json != nil {
		out.object(erasedJSON{subject, receipt.Last, found})
		return nil
	}
	if !found {
		out.line("%s had no key: there was nothing to erase, which is on record at position %d", printable(subject), receipt.Last)
		return nil
	}
	out.line("%s is erased, which is on record at position %d; backups of its key, if there are any, have to go as well", printable(subject), receipt.Last)
	return nil
}

func (f *eraseFlags) master() (privacy.Master, error) {
	if f.masterEnv != "" {
		return privacy.MasterFromEnv(f.masterEnv)
	}
	return privacy.MasterFromFile(f.masterFile)
}
