package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// beAnnals in the environment makes the test binary the program itself, to have processes that can be killed.
const beAnnals = "ANNALS_TEST_BE_ANNALS"

func TestMain(m *testing.M) {
	if os.Getenv(beAnnals) != "" {
		main()
	}
	os.Exit(m.Run())
}

// result is what a command line came to.
type result struct {
	t         *testing.T
	code      int
	out, talk string
}

// command runs a command line in this process. The output is no terminal.
func command(t *testing.T, in string, args ...string) *result {
	t.Helper()
	var out, talk bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(in), &out, &talk)
	return &result{t: t, code: code, out: out.String(), talk: talk.String()}
}

// is wants this exit code, and these texts in what was said.
func (r *result) is(code int, said ...string) *result {
	r.t.Helper()
	if r.code != code {
		r.t.Fatalf("exit code %d, want %d; it printed %s and said %s", r.code, code, r.out, r.talk)
	}
	for _, s := range said {
		if !strings.Contains(r.talk, s) {
			r.t.Errorf("it said %q, want %q in it", r.talk, s)
		}
	}
	return r
}

// prints wants these texts in the output.
func (r *result) prints(texts ...string) *result {
	r.t.Helper()
	for _, s := range texts {
		if !strings.Contains(r.out, s) {
			r.t.Errorf("it printed %s, want %q in it", r.out, s)
		}
	}
	return r
}

// objects are the lines of the output.
func (r *result) objects() []map[string]any {
	r.t.Helper()
	var all []map[string]any
	for l := range strings.Lines(r.out) {
		var o map[string]any
		if err := json.Unmarshal([]byte(l), &o); err != nil {
			r.t.Fatalf("%q is no JSON: %v", l, err)
		}
		all = append(all, o)
	}
	return all
}

// stored makes a store of n events in segments of 64 KiB, and closes it.
func stored(t *testing.T, n, dataBytes int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	s, err := disk.Open(t.Context(), dir, disk.SegmentBytes(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := annals.Event{
			Type: "Happened", Stream: fmt.Sprint("thing-", i%3), Tags: []string{fmt.Sprint("n:", i)},
			Data: fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, i+1, strings.Repeat("x", dataBytes)),
		}
		if _, err := s.Append(t.Context(), []annals.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files are the contents of all files below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// change rewrites a file.
func change(t *testing.T, path string, spoil func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, spoil(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestACommandLineThatMakesNoSenseIsExitCode2(t *testing.T) {
	t.Parallel()
	dir := stored(t, 1, 10)
	for _, c := range []struct {
		said string
		args []string
	}{
		{`no command "reed"`, []string{"reed"}},
		{"annals read wants DIR, and was given 0", []string{"read"}},
		{"annals append wants DIR, or DIR STREAM TYPE DATA, and was given 2", []string{"append", dir, "s"}},
		{"annals dev wants no arguments, and was given 1", []string{"dev", "x"}},
		{"unknown flag: --sream", []string{"read", dir, "--sream", "a"}},
		{"--stream is empty", []string{"read", dir, "--stream", ""}},
		{"--id: event id", []string{"read", dir, "--id", "42"}},
		{`--at "yesterday"`, []string{"read", dir, "--at", "yesterday"}},
		{"invalid argument", []string{"read", dir, "--after", "-1"}},
		{"give --stream too", []string{"read", dir, "--revision", "1"}},
		{"--limit 0", []string{"read", dir, "--limit", "0"}},
		{`has a "-"`, []string{"read", dir, "--category", "a-b"}},
		{"is a system name", []string{"read", dir, "--type", "$timer"}},
		{`--output "yaml"`, []string{"read", dir, "-o", "yaml"}},
		{`--output "xml"`, []string{"verify", dir, "-o", "xml"}},
		{`--depth "atoms"`, []string{"dump", dir, "--depth", "atoms"}},
		{"there is no such file", []string{"dump", dir, "--file", "x"}},
		{`--expect "2nd"`, []string{"append", dir, "s", "A", "{}", "--expect", "2nd"}},
		{"DATA is not JSON", []string{"append", dir, "s", "A", "{"}},
		{"--metadata is not a JSON object", []string{"append", dir, "s", "A", "{}", "--metadata", "[]"}},
		{"type: empty", []string{"append", dir, "s", "", "{}"}},
		{"are the system's", []string{"append", dir, "s", "$A", "{}"}},
		{"--tag is for the event of the command line", []string{"append", dir, "--tag", "a"}},
		{"listens on this machine only", []string{"dev", "--addr", "0.0.0.0:8080"}},
		{"listens on this machine only", []string{"dev", "--addr", ":8080"}},
		{"want a host and a port", []string{"dev", "--addr", "localhost"}},
		{"want a host and a port", []string{"dev", "--addr", "127.0.0.1:no-port"}},
		{"--data is empty", []string{"dev", "--data", ""}},
		{"a directory of its own", []string{"dev", "--ephemeral", "--data", dir}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			command(t, "", c.args...).is(exitUsage, "error: ", c.said)
		})
	}
}

func TestADirectoryThatIsNoStoreIsExitCode3(t *testing.T) {
	t.Parallel()
	empty, other := t.TempDir(), t.TempDir()
	novel := filepath.Join(other, "novel.txt")
	if err := os.WriteFile(novel, []byte("It was a dark and stormy night"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := stored(t, 1, 10)
	for _, name := range []string{"read", "verify", "dump", "append"} {
		command(t, "", name, filepath.Join(empty, "none")).is(exitNotFound, "none does not exist")
		command(t, "", name, empty).is(exitNotFound, "has neither manifest nor segment")
		command(t, "", name, other).is(exitNotFound, "is not the directory of a store")
		command(t, "", name, novel).is(exitNotFound, "is a file")
		command(t, "", name, filepath.Dir(dir)).is(exitNotFound, dir+" is")
	}
	for at, hint := range map[string]bool{filepath.Join(empty, "none"): true, empty: true, other: false, filepath.Dir(dir): false} {
		if r := command(t, "", "append", at, "s", "A", "{}").is(exitNotFound); strings.Contains(r.talk, "--create") != hint {
			t.Errorf("%s: it said %s", at, r.talk)
		}
	}
	command(t, `{"type":"A"}`, "append", "--create", other).is(exitNotFound, "novel.txt")
	if a, b := files(t, empty), files(t, other); len(a) != 0 || len(b) != 1 {
		t.Errorf("files were made: %v, %v", a, b)
	}
}

func TestANewerFormatIsRefusedByName(t *testing.T) {
	t.Parallel()
	dir := stored(t, 1, 10)
	manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range manifests {
		change(t, path, func(b []byte) []byte {
			b[8] = 9
			end := len(b) - 8 // where its checksum is, in every format
			binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)))
			return b
		})
	}
	before := files(t, dir)
	for _, name := range []string{"read", "verify", "dump", "append"} {
		command(t, "", name, dir).is(exitFailure, "has format 9, and this program knows formats up to 0", "use the version of annals")
	}
	delete(before, filepath.Join(dir, "LOCK")) // it tells the process that had it last
	after := files(t, dir)
	delete(after, filepath.Join(dir, "LOCK"))
	if fmt.Sprint(before) != fmt.Sprint(after) {
		t.Error("the directory was changed")
	}
}

func TestWhatTheSystemSaysIsSaidOnce(t *testing.T) {
	t.Parallel()
	dir := stored(t, 1, 10)
	lock := filepath.Join(dir, "LOCK")
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(lock, 0o700); err != nil {
		t.Fatal(err)
	}
	r := command(t, "", "append", dir, "s", "A", "{}").is(exitFailure, "error: cannot use the store: open "+lock)
	if strings.Count(r.talk, dir) != 1 {
		t.Errorf("it said %s", r.talk)
	}
}

func TestInterruptedIsExitCode130(t *testing.T) {
	t.Parallel()
	dir := stored(t, 1, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, keep, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer keep.Close()
	for _, name := range []string{"read", "verify", "dump", "append"} {
		var out, talk bytes.Buffer
		if code := run(ctx, []string{name, dir}, in, &out, &talk); code != exitInterrupted || talk.Len() > 0 {
			t.Errorf("%s: exit code %d, and it said %q", name, code, talk.String())
		}
	}
}

func TestHelpIsForPeople(t *testing.T) {
	t.Parallel()
	command(t, "").is(exitOK).prints("dev", "read", "append", "verify", "dump", "Exit codes", "Examples:")
	for _, cmd := range newRoot().Commands() {
		help := command(t, "", cmd.Name(), "--help").is(exitOK).prints(cmd.Long, "Usage:\n", "Examples:\n  annals "+cmd.Name(), "Flags:\n")
		if cmd.Short == "" || strings.Contains(cmd.Short, "\n") {
			t.Errorf("%s: the summary is %q", cmd.Name(), cmd.Short)
		}
		_, flags, _ := strings.Cut(help.out, "Flags:\n")
		flags, _, _ = strings.Cut(flags, "\nUse ") // of a command that has commands
		for l := range strings.Lines(flags) {
			if !describedFlag.MatchString(l) {
				t.Errorf("%s: a flag is described as %q", cmd.Name(), l)
			}
		}
	}
}

// describedFlag is a flag with a text, and a word of ours for what it takes.
var describedFlag = regexp.MustCompile(`^ +(-[a-z], )?--[a-z-]+( [A-Z:=]+)? {3,}[a-z]+ .+\n$`)

func TestTheVersionIsThatOfTheModuleOrTheCommit(t *testing.T) {
	t.Parallel()
	command(t, "", "--version").is(exitOK).prints("annals version ")
	commit, modified := debug.BuildSetting{Key: "vcs.revision", Value: "f3bfcac"}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for want, info := range map[string]*debug.BuildInfo{
		"v0.1.0":                          {Main: debug.Module{Version: "v0.1.0"}, Settings: []debug.BuildSetting{commit}},
		"devel":                           {Main: debug.Module{Version: "(devel)"}},
		"devel, commit f3bfcac":           {Settings: []debug.BuildSetting{commit, {Key: "vcs.modified", Value: "false"}}},
		"devel, commit f3bfcac, modified": {Settings: []debug.BuildSetting{commit, modified}},
	} {
		if got := version(info, true); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := version(nil, false); got != "unknown" {
		t.Errorf("got %s", got)
	}
}

func TestAReaderThatHasSeenEnoughEndsTheProgramQuietly(t *testing.T) {
	t.Parallel()
	dir := stored(t, 500, 400) // more than a pipe holds
	for _, args := range []string{"read", "read -o table", "dump", "dump -o table"} {
		line := fmt.Sprintf("%s %s %s", quote(os.Args[0]), args, quote(dir))
		var out, talk bytes.Buffer
		sh := exec.CommandContext(t.Context(), "sh", "-c", line+" | head -1")
		sh.Env, sh.Stdout, sh.Stderr = environment(), &out, &talk
		if err := sh.Run(); err != nil || talk.Len() > 0 || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %v, and it printed %q and said %q", line, err, out.String(), talk.String())
		}
	}
}
