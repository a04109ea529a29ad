package workload

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// look asks the system. What it does not tell stays empty.
func (m *Machine) look(dir string) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		// Behind the numbers stands what a distribution, or a machine's owner, has added.
		m.Kernel, _, _ = strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	}
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) == nil {
		m.Memory = uint64(i.Totalram) * uint64(i.Unit) //nolint:unconvert // it has 32 bits on some
	}
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) == nil {
		m.FileSystem = fileSystems[uint32(fs.Type)]
	}
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpus)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.Join(strings.Fields(value), " ")
			return
		}
	}
}

var fileSystems = map[uint32]string{
	unix.BTRFS_SUPER_MAGIC: "btrfs", unix.EXT4_SUPER_MAGIC: "ext4", unix.F2FS_SUPER_MAGIC: "f2fs", unix.NFS_SUPER_MAGIC: "nfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.TMPFS_MAGIC: "tmpfs: nothing is durable there", unix.V9FS_MAGIC: "9p",
	unix.XFS_SUPER_MAGIC: "xfs", 0x2fc12fc1: "zfs",
}
