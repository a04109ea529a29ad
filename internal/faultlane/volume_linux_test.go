package faultlane_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// volume is a file system of its own, in a file behind a loop device, or, without image, in memory.
type volume struct {
	root   string // where it is mounted
	image  string
	loop   string
	kind   string // ext4, xfs, tmpfs
	option string
}

// mountsDir is where volumes are; the process that made one is in its name, so that what is left of a process that died is found.
const mountsDir = "annals-faultlane"

// command runs a program of the system.
func command(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := command(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// needRoot ends the lane where it cannot mount.
func needRoot(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		cannot(t, "mounting takes root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			cannot(t, "%v", err)
		}
	}
	sweepOnce.Do(sweepVolumes)
}

var sweepOnce sync.Once

// sweepVolumes takes down what processes left that died before they could.
func sweepVolumes() {
	base := filepath.Join(os.TempDir(), mountsDir)
	dirs, _ := filepath.Glob(filepath.Join(base, "*-*"))
	for _, dir := range dirs {
		name, _, _ := strings.Cut(filepath.Base(dir), "-")
		pid, err := strconv.Atoi(name)
		if err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		_ = takeDown(dir) // whoever looks at the machine finds what could not be
	}
}

// takeDown unmounts everything below dir, detaches the loop devices whose files are there, and removes it.
func takeDown(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	errs := []error{err}
	var onLoops, others []string
	for line := range strings.Lines(string(mounts)) {
		switch fields := strings.Fields(line); {
		case len(fields) < 2 || !strings.HasPrefix(fields[1], dir+"/"):
		case strings.HasPrefix(fields[0], "/dev/loop"):
			onLoops = append(onLoops, fields[1])
		default:
			others = append(others, fields[1])
		}
	}
	for _, root := range onLoops {
		errs = append(errs, unix.Unmount(root, unix.MNT_DETACH))
	}
	// While what their files are on is mounted still: afterwards the files have no name to be known by.
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(b), dir+"/") {
			errs = append(errs, detach("/dev/"+strings.Split(f, "/")[3]))
		}
	}
	for _, root := range others {
		errs = append(errs, unix.Unmount(root, unix.MNT_DETACH))
	}
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}

func detach(loop string) error {
	f, err := os.Open(loop)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
}

// volumeDir is a directory for what belongs to one test, taken down in its end.
func volumeDir(t *testing.T) string {
	t.Helper()
	base := filepath.Join(os.TempDir(), mountsDir)
	if err := os.MkdirAll(base, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(base, fmt.Sprintf("%d-*", os.Getpid())) //nolint:usetesting // what a process leaves that dies is found by its name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := takeDown(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newVolume makes a file system in a sparse file in dir, and mounts it.
func newVolume(t *testing.T, dir, kind, option string, bytes int64) *volume {
	t.Helper()
	v := &volume{root: filepath.Join(dir, "root-"+kind), image: filepath.Join(dir, kind+".img"), kind: kind, option: option}
	err := errors.Join(os.MkdirAll(v.root, 0o700), os.WriteFile(v.image, nil, 0o600), os.Truncate(v.image, bytes))
	if err != nil {
		t.Fatal(err)
	}
	if kind == "ext4" {
		mustRun(t, "mkfs.ext4", "-qF", "-b", "4096", v.image)
	} else {
		mustRun(t, "mkfs.xfs", "-q", "-f", v.image)
	}
	if v.loop, err = command(t, "losetup", "-f", "--show", v.image); err != nil {
		cannot(t, "%v", err)
	}
	if err := v.mount(); err != nil {
		cannot(t, "%v", err)
	}
	return v
}

func (v *volume) mount() error {
	if err := unix.Mount(v.loop, v.root, v.kind, 0, v.option); err != nil {
		return fmt.Errorf("mounting %s %s: %w", v.kind, v.option, err)
	}
	return nil
}

// onePage keeps the device from writing more than a page of its file at once. A write of which the file takes only a part
// counts as done for the loop device (Linux 6.18 at least): it would say that bytes are durable that are nowhere.
func (v *volume) onePage(t *testing.T) {
	t.Helper()
	name := filepath.Join("/sys/block", filepath.Base(v.loop), "queue/max_sectors_kb")
	if err := os.WriteFile(name, []byte("4"), 0); err != nil {
		cannot(t, "%v", err)
	}
}

func (v *volume) unmount() error { return unix.Unmount(v.root, 0) }

// remount is what a machine does that comes back.
func (v *volume) remount(t *testing.T) {
	t.Helper()
	if err := errors.Join(v.unmount(), v.mount()); err != nil {
		t.Fatal(err)
	}
}

// cut forgets everything that the file system has not written to its device, its journal included: what a power cut takes.
func (v *volume) cut(t *testing.T) {
	t.Helper()
	f, err := os.Open(v.root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const shutdown, withoutFlush = 0x8004587d, 2 // FS_IOC_SHUTDOWN, FS_SHUTDOWN_FLAGS_NOLOGFLUSH
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, withoutFlush); err != nil {
		cannot(t, "shutting down %s: %v", v.kind, err)
	}
}

// newMemoryVolume is a file system in memory with so much room.
func newMemoryVolume(t *testing.T, dir string, bytes int64) *volume {
	t.Helper()
	v := &volume{root: filepath.Join(dir, "memory"), kind: "tmpfs"}
	if err := os.MkdirAll(v.root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", v.root, "tmpfs", 0, fmt.Sprint("size=", bytes)); err != nil {
		cannot(t, "mounting a tmpfs: %v", err)
	}
	return v
}

// resize gives a volume in memory another size while it is used.
func (v *volume) resize(t *testing.T, bytes int64) {
	t.Helper()
	if err := unix.Mount("tmpfs", v.root, "tmpfs", unix.MS_REMOUNT, fmt.Sprint("size=", bytes)); err != nil {
		t.Fatal(err)
	}
}

// fill writes a file until there is no space, and gives its name.
func (v *volume) fill(t *testing.T) string {
	t.Helper()
	name := filepath.Join(v.root, "ballast")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 4096; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return name
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
