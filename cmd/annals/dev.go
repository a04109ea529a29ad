package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/snapshot"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/remote"
)

func newDev() *cobra.Command {
	var d dev
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the order service on a store on disk, with a small history to look at",
		Long: `Runs the order service of examples/orders on an embedded store and read models in SQLite, both below --data.
A new store is given a small history, through the same commands that everybody sends. Ctrl-C stops, and what was
acknowledged is on disk, also after kill -9.

It accepts demo tokens that everybody knows, and so listens on this machine only.`,
		Example: `  annals dev
  annals dev --data ./shop --addr 127.0.0.1:9000 --no-demo
  annals dev --ephemeral`,
		Args: argsNamed(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out, d.logger = cmd.OutOrStdout(), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			switch {
			case d.ephemeral && cmd.Flags().Changed("data"):
				return usageError{errors.New("--ephemeral uses a directory of its own, and not that of --data")}
			case d.remote != "" && !isServer(d.remote):
				return usageError{fmt.Errorf("--store %q: want the URL of a server, such as annals://127.0.0.1:2113", d.remote)}
			case d.data == "": // a variable of a script that is not set must not mean the directory that it runs in
				return usageError{errors.New("--data is empty")}
			}
			err := d.Open(cmd.Context())
			if err == nil {
				err = d.Run(cmd.Context())
			}
			if closing := d.Close(); err == nil {
				err = closing
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&d.data, "data", "annals-data", "the `DIR` of store, read models and key; it is made if there is none")
	flags.StringVar(&d.addr, "addr", "127.0.0.1:8080", "where to listen, a `HOST:PORT`; port 0 is a free one")
	flags.StringVar(&d.remote, "store", "", "use the store on a server, a `URL` such as annals://127.0.0.1:2113; several may run on one --data")
	flags.BoolVar(&d.ephemeral, "ephemeral", false, "use a temporary directory, which is removed in the end")
	flags.BoolVar(&d.noDemo, "no-demo", false, "leave a new store empty")
	return cmd
}

const (
	shutdownTimeout   = 10 * time.Second
	readHeaderTimeout = 10 * time.Second
	// devLease is after how long one of several processes goes on where another was killed.
	devLease = 5 * time.Second
	// patience is after how long somebody who waits for the service is told what it does.
	patience = 2 * time.Second
	// forEver is longer than a read model takes to be made anew.
	forEver = 1000 * time.Hour
)

// dev is the program of `annals dev`: a struct, so that tests start the real thing. Open it, run it, close it.
type dev struct {
	data, addr        string
	remote            string // the URL of the store, if it is on a server
	ephemeral, noDemo bool
	out               io.Writer
	logger            *slog.Logger

	store    annals.Store
	readOnly func() error // why the store takes no commands; nil if it does
	close    func() error // closes the store
	views    *sqliteviews.Views
	service  *orders.Service
	listener net.Listener
	demo     bool   // the store has all of orders.Demo
	remove   string // the temporary directory, if there is one
}

// Open opens store, read models and port, and gives a new store its history: nobody is served before all is there.
func (d *dev) Open(ctx context.Context) error {
	if err := onThisMachine(ctx, d.addr); err != nil {
		return err
	}
	if err := d.makeData(); err != nil {
		return err
	}
	var err error
	if err = d.openStore(ctx); err != nil {
		return err
	}
	head, err := d.store.Head(ctx)
	if err != nil {
		return err
	}
	key, err := loadKey(filepath.Join(d.data, keyName), head == 0)
	if err != nil {
		return err
	}
	if d.views, err = sqliteviews.Open(ctx, filepath.Join(d.data, viewsName)); err != nil {
		return err
	}
	snapshots, err := snapshot.Open(filepath.Join(d.data, snapshotsName), snapshot.Damaged(func(err error) { d.logger.WarnContext(ctx, "a snapshot is damaged", slog.Any("error", err)) }))
	if err != nil {
		return err
	}
	d.service, err = orders.New(orders.Config{
		Store: d.store, Views: d.views, Sales: d.views, HashKey: key, Authenticate: orders.DemoTokens(), Logger: d.logger,
		Payments: new(orders.FakePayments), Snapshots: snapshots, Lease: d.lease(),
	})
	if err != nil {
		return err
	}
	if d.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", d.addr); err != nil {
		return fmt.Errorf("cannot serve: %w", err)
	}
	return d.tellDemo(ctx)
}

// lease is how long a process of several may say nothing: those that share a store share the views too.
func (d *dev) lease() time.Duration {
	if d.remote != "" {
		return devLease
	}
	return 0
}

// openStore opens the store, in the data directory or on a server.
func (d *dev) openStore(ctx context.Context) error {
	if d.remote != "" {
		s, err := remote.Open(ctx, d.remote, append(remoteOptions(), remote.Logger(d.logger))...)
		if err != nil {
			return err
		}
		d.store, d.close, d.readOnly = s, s.Close, func() error { return nil }
		return nil
	}
	s, err := disk.Open(ctx, d.storeDir(), disk.Logger(d.logger))
	if err != nil {
		return err
	}
	d.store, d.close, d.readOnly = s, s.Close, func() error { return s.Stats().ReadOnly }
	return nil
}

// onThisMachine refuses addresses that others can reach: the demo tokens are no secret.
func onThisMachine(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
	}
	if err != nil {
		return usageError{fmt.Errorf("--addr %q: want a host and a port, such as 127.0.0.1:8080", addr)}
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return usageError{fmt.Errorf("--addr %s: dev accepts tokens that everybody knows, so it listens on this machine only: 127.0.0.1:PORT", addr)}
}

// makeData makes the data directory. Its name is absolute from then on: what is printed can be used anywhere.
func (d *dev) makeData() (err error) {
	if d.ephemeral {
		d.remove, err = os.MkdirTemp("", "annals-dev-")
		d.data = d.remove
	} else if d.data, err = filepath.Abs(d.data); err == nil {
		err = os.MkdirAll(d.data, 0o700)
	}
	if err != nil {
		return fmt.Errorf("cannot make the data directory: %w", err)
	}
	return nil
}

func (d *dev) storeDir() string { return filepath.Join(d.data, storeName) }

// storeIs is what people are told of where the store is.
func (d *dev) storeIs() string {
	if d.remote != "" {
		return d.remote
	}
	return d.storeDir()
}

// tellDemo gives a new store its history, unless it is to be left empty, or takes no commands.
func (d *dev) tellDemo(ctx context.Context) (err error) {
	if !d.noDemo && d.readOnly() == nil {
		d.demo, err = orders.Demo(ctx, d.service)
		return err
	}
	d.demo, err = orders.HasDemo(ctx, d.service)
	if errors.Is(err, annals.ErrDataLoss) { // what is left is served, and nobody knows whether it has the demo
		return nil
	}
	return err
}

// URL is where the service is to be reached.
func (d *dev) URL() string { return "http://" + d.listener.Addr().String() }

// Run serves until ctx ends, lets requests finish, save those that only wait, and answers nil; or until something fails.
func (d *dev) Run(ctx context.Context) error {
	// The read model outlives ctx, for the requests that are let finish may wait for it.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	stopping, cut := context.WithCancel(ctx)
	defer cut()
	server := &http.Server{
		Handler: d.handler(stopping, bodyTimeout), ReadHeaderTimeout: readHeaderTimeout, ErrorLog: slog.NewLogLogger(d.logger.Handler(), slog.LevelWarn),
	}
	greeting, hush := context.WithCancel(ctx)
	defer hush()
	var running sync.WaitGroup
	failed := make(chan error, 3) // as many as there are that can fail
	for _, part := range []func() error{
		func() error { return d.service.Run(background) },
		func() error { return server.Serve(d.listener) },
		func() error { return d.greet(greeting) },
	} {
		running.Go(func() {
			err := part()
			if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.Canceled) {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	hush()
	cut()
	d.shutdown(ctx, server)
	stop()
	running.Wait()
	if errors.Is(err, annals.ErrDataLoss) {
		err = fmt.Errorf("%s: %w", d.storeIs(), err)
	}
	return err
}

// handler is the service, for clients that wait or send for too long.
func (d *dev) handler(stopping context.Context, bodyMax time.Duration) http.Handler {
	return cutWaits(stopping, limitBodies(bodyMax, d.service.Handler()))
}

// shutdown lets requests finish, for a while.
func (d *dev) shutdown(ctx context.Context, server *http.Server) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		d.logger.WarnContext(ctx, "requests that did not end were cut off", "error", err)
		_ = server.Close() // the listener is closed already, and of connections nobody wants to know
	}
}

// greet says what to try, once the read model has seen everything.
func (d *dev) greet(ctx context.Context) error {
	head, err := d.store.Head(ctx)
	if err != nil {
		return err
	}
	view := projection.Of(d.views, orders.Orders)
	err = view.Wait(projection.WithPatience(ctx, patience), head)
	if late, ok := errors.AsType[*projection.LaggingError](err); ok && view.Status().Err == nil && ctx.Err() == nil {
		_, _ = fmt.Fprintf(d.out, "The read models are made anew: %d of %d events are in.\n", late.Applied, head) // the greeting tells
		err = view.Wait(projection.WithPatience(ctx, forEver), head)
	}
	if cause := view.Status().Err; cause != nil { // which says more than that nothing is to be waited for
		return cause
	}
	if err != nil {
		return err
	}
	if d.noCommands() == "" {
		if err := d.service.Settle(ctx); err != nil {
			return err
		}
		if head, err = d.store.Head(ctx); err != nil {
			return err
		}
	}
	return greet(d.out, greeting{
		URL: d.URL(), Store: d.storeIs(), Annals: program(), Head: head, Demo: d.demo, NoCommands: d.noCommands(), InDirectory: d.remote == "",
	})
}

// noCommands is why the store takes none, "" if it does.
func (d *dev) noCommands() string {
	if err := d.readOnly(); err != nil {
		return message(err)
	}
	return ""
}

// Close closes what Open has opened. It may be called after an Open that failed.
func (d *dev) Close() error {
	var errs []error
	if d.listener != nil {
		if err := d.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if d.views != nil {
		errs = append(errs, d.views.Close())
	}
	if d.close != nil {
		errs = append(errs, d.close())
	}
	if d.remove != "" {
		errs = append(errs, os.RemoveAll(d.remove))
	}
	return errors.Join(errs...)
}
