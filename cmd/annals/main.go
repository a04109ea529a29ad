// Command annals is the one binary: an application to try (dev), and tools that look at a store's directory (read,
// append, verify, dump), or measure it (bench). Data goes to the standard output and talk to the standard error, so that its output can be
// piped: on a terminal it is for people, elsewhere it is JSON lines.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whoever asks a second time does not want to wait for a clean end.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and gives the exit code. It is main without the process.
func run(ctx context.Context, args []string, in io.Reader, out, talk io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(talk)
	return report(ctx, talk, root.ExecuteContext(ctx))
}
