package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/server"
	"github.com/annalsdb/annals/store/disk"
)

// serve is the program of `annals serve`.
type serve struct {
	data, listen string
	stores       []string
	insecure     bool
	drain        time.Duration
	out          io.Writer
	logger       *slog.Logger
}

func newServe() *cobra.Command {
	var s serve
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve stores to other programs, over gRPC",
		Long: `Serves the store in --data, and others by name, on one port: programs open them with remote.Open, "annals://HOST:PORT" or
"annals://HOST:PORT/NAME". Over HTTP the port answers /livez and /readyz. SIGTERM drains: appends under way are answered, streams are told to come
again, and what was acknowledged is on disk, also after kill -9.

There is no authentication yet, and no encryption: it listens on this machine only, unless --insecure is given, which lets everybody who
reaches the port read and write everything.

Each flag can be given as a variable of the environment: ANNALS_LISTEN for --listen.`,
		Example: `  annals serve --data ./store
  annals serve --data ./store --store shop=./shop --listen 127.0.0.1:2113`,
		Args: argsNamed(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd, os.LookupEnv); err != nil {
				return err
			}
			s.out, s.logger = cmd.OutOrStdout(), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			return s.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.data, "data", "annals-data/store", "the `DIR` of the default store; it is made if there is none")
	flags.StringArrayVar(&s.stores, "store", nil, "another store, a `NAME=DIR`; may be given again")
	flags.StringVar(&s.listen, "listen", "127.0.0.1:2113", "where to listen, a `HOST:PORT`; port 0 is a free one")
	flags.BoolVar(&s.insecure, "insecure", false, "listen on an address that others reach, without authentication or encryption")
	flags.DurationVar(&s.drain, "drain", 20*time.Second, "how long to wait for what is under way, a `DURATION`")
	return cmd
}

// fromEnvironment sets flags that were not given from variables such as ANNALS_LISTEN.
func fromEnvironment(cmd *cobra.Command, lookup func(string) (string, bool)) error {
	for _, name := range []string{"data", "store", "listen", "insecure", "drain"} {
		variable := "ANNALS_" + strings.ToUpper(name)
		value, there := lookup(variable)
		if !there || cmd.Flags().Changed(name) {
			continue
		}
		if err := cmd.Flags().Set(name, value); err != nil {
			return usageError{fmt.Errorf("%s: %w", variable, err)}
		}
	}
	return nil
}

// directories are those of the stores, by name.
func (s *serve) directories() (map[string]string, error) {
	if s.data == "" {
		return nil, usageError{errors.New("--data is empty")}
	}
	dirs := map[string]string{"": s.data}
	for _, given := range s.stores {
		name, dir, ok := strings.Cut(given, "=")
		if !ok || name == "" || dir == "" || strings.ContainsAny(name, "/?# ") {
			return nil, usageError{fmt.Errorf("--store %q: want a name and a directory, such as shop=./shop", given)}
		}
		if dirs[name] != "" {
			return nil, usageError{fmt.Errorf("--store %q: the name is given twice", name)}
		}
		dirs[name] = dir
	}
	return dirs, nil
}

func (s *serve) run(ctx context.Context) (err error) {
	if err := s.checkListen(ctx); err != nil {
		return err
	}
	dirs, err := s.directories()
	if err != nil {
		return err
	}
	stores := map[string]annals.Store{}
	defer func() {
		for _, store := range stores {
			if d, ok := store.(*disk.Store); ok {
				err = errors.Join(err, d.Close())
			}
		}
	}()
	for name, dir := range dirs {
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return fmt.Errorf("cannot make the directory of the store: %w", err)
		}
		store, err := disk.Open(ctx, dir, disk.Logger(s.logger))
		if err != nil {
			return err
		}
		stores[name] = store
	}
	srv, err := server.New(server.Config{Stores: stores, Drain: s.drain, Logger: s.logger})
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("cannot serve: %w", err)
	}
	if err := s.greet(l.Addr(), dirs); err != nil {
		return errors.Join(err, l.Close())
	}
	notify(s.logger, "READY=1")
	context.AfterFunc(ctx, func() { notify(s.logger, "STOPPING=1") })
	return srv.Serve(ctx, l)
}

// checkListen refuses what others reach, unless that was said to be wanted.
func (s *serve) checkListen(ctx context.Context) error {
	err := onThisMachine(ctx, s.listen)
	host, _, splitting := net.SplitHostPort(s.listen)
	switch {
	case err == nil:
		return nil
	case splitting != nil || !s.insecure:
		if splitting == nil && net.ParseIP(host) != nil || host == "" && splitting == nil {
			return usageError{fmt.Errorf("--listen %s: others reach it, and there is no authentication: say --insecure if that is wanted", s.listen)}
		}
		return usageError{fmt.Errorf("--listen %q: want a host and a port, such as 127.0.0.1:2113", s.listen)}
	}
	s.logger.WarnContext(ctx, "everybody who reaches the port can read and write everything", slog.String("listen", s.listen))
	return nil
}

// greet says where the stores are.
func (s *serve) greet(addr net.Addr, dirs map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		url := "annals://" + addr.String()
		if name != "" {
			url += "/" + name
		}
		if _, err := fmt.Fprintf(s.out, "%s serves %s\n", url, dirs[name]); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.out, "http://%s/readyz says whether it is ready.\n", addr)
	return err
}

// notify tells systemd what the process does, as sd_notify(3) describes it, if systemd has started it.
func notify(logger *slog.Logger, state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err == nil {
		_, err = io.WriteString(c, state)
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		logger.Warn("systemd could not be told", slog.String("state", state), slog.Any("error", err))
	}
}
