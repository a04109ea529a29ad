//go:build !unix

package pgtest

import "os/exec"

// owner is whose a server is: whoever this process is.
type owner struct{}

func account() (*owner, error) { return nil, nil }

func (o *owner) chown(string) error { return nil }

func (o *owner) run(*exec.Cmd) {}
