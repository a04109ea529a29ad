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
	"github.com/annalsdb/annals/server/auth"
	"github.com/annalsdb/annals/store/disk"
)

// serve is the program of `annals serve`.
type serve struct {
	data, listen string
	stores       []string
	insecure     bool
	tlsCert      string
	tlsKey       string
	clientCA     string
	keys         string
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

With --auth-keys, programs need an API key, see annals key; the file is made at the first start, with a key that may do everything, which is
printed once. With --tls-cert and --tls-key connections are encrypted; the files may be replaced while it runs. Without both it listens on this
machine only, unless --insecure is given, which lets everybody who reaches the port do what the missing one would have kept them from.

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
	flags.StringVar(&s.keys, "auth-keys", "", "the `FILE` of the API keys; it is made if there is none")
	flags.StringVar(&s.tlsCert, "tls-cert", "", "the `FILE` of the certificate, in PEM")
	flags.StringVar(&s.tlsKey, "tls-key", "", "the `FILE` of its key, in PEM")
	flags.StringVar(&s.clientCA, "client-ca", "", "a `FILE` of authorities: clients need a certificate of one of them")
	flags.BoolVar(&s.insecure, "insecure", false, "listen on an address that others reach, without authentication or encryption")
	flags.DurationVar(&s.drain, "drain", 20*time.Second, "how long to wait for what is under way, a `DURATION`")
	return cmd
}

// fromEnvironment sets flags that were not given from variables such as ANNALS_LISTEN.
func fromEnvironment(cmd *cobra.Command, lookup func(string) (string, bool)) error {
	for _, name := range []string{"data", "store", "listen", "auth-keys", "tls-cert", "tls-key", "client-ca", "insecure", "drain"} {
		variable := "ANNALS_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
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
	config := server.Config{Drain: s.drain, Logger: s.logger}
	bootstrap, err := s.secure(&config)
	if err != nil {
		return err
	}
	if config.Keys != nil {
		defer func() { err = errors.Join(err, config.Keys.Close()) }()
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
	config.Stores = stores
	srv, err := server.New(config)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("cannot serve: %w", err)
	}
	if err := s.greet(l.Addr(), dirs, bootstrap); err != nil {
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
	case splitting != nil || host != "" && net.ParseIP(host) == nil:
		return usageError{fmt.Errorf("--listen %q: want an address and a port, such as 127.0.0.1:2113", s.listen)}
	case s.tlsCert != "" && s.keys != "":
		return nil
	case !s.insecure:
		return usageError{fmt.Errorf("--listen %s: others reach it, and it wants --auth-keys, --tls-cert and --tls-key; say --insecure to do without", s.listen)}
	}
	s.logger.WarnContext(ctx, "insecure: others reach the port", slog.String("listen", s.listen), slog.Bool("keys", s.keys != ""), slog.Bool("encrypted", s.tlsCert != ""))
	return nil
}

// secure says who may do what, and encrypts.
func (s *serve) secure(c *server.Config) (bootstrap string, err error) {
	switch {
	case (s.tlsCert == "") != (s.tlsKey == ""):
		return "", usageError{errors.New("--tls-cert and --tls-key go together")}
	case s.clientCA != "" && s.tlsCert == "":
		return "", usageError{errors.New("--client-ca needs --tls-cert and --tls-key")}
	}
	if s.tlsCert != "" {
		if c.TLS, err = server.TLSFiles(s.tlsCert, s.tlsKey, s.clientCA); err != nil {
			return "", usageError{err}
		}
	}
	if s.keys != "" {
		if c.Keys, bootstrap, err = auth.Open(s.keys); err != nil {
			return "", usageError{err}
		}
	}
	return bootstrap, nil
}

// greet says where the stores are.
func (s *serve) greet(addr net.Addr, dirs map[string]string, bootstrap string) error {
	scheme, web := "annals://", "http://"
	if s.tlsCert != "" {
		scheme, web = "annalss://", "https://"
	}
	if bootstrap != "" {
		if _, err := fmt.Fprintf(s.out, "%s has a first key, which may do everything, and is shown now only: %s\n", s.keys, bootstrap); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		url := scheme + addr.String()
		if name != "" {
			url += "/" + name
		}
		if _, err := fmt.Fprintf(s.out, "%s serves %s\n", url, dirs[name]); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.out, "%s%s/readyz says whether it is ready.\n", web, addr)
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
