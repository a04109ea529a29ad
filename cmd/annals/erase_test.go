package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/store/disk"
)

func TestEraseDestroysTheKeyOfASubject(t *testing.T) {
	const key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	t.Setenv("TEST_ERASE_KEY", key)
	t.Setenv("TEST_OTHER_KEY", strings.Repeat("ab", 32))
	dir, keyDir, file := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "keys"), filepath.Join(t.TempDir(), "master")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	master, err := privacy.MasterFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := privacy.CreateKeys(t.Context(), keyDir, master); err != nil {
		t.Fatal(err)
	}
	open := func() (*privacy.Store, func()) {
		t.Helper()
		keys, err := privacy.OpenKeys(t.Context(), keyDir, master)
		if err != nil {
			t.Fatal(err)
		}
		base, err := disk.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		s, err := privacy.Protect(t.Context(), base, keys)
		if err != nil {
			t.Fatal(err)
		}
		return s, func() {
			if err := base.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	s, closeStore := open()
	event := annals.Event{Type: "Named", Stream: "c-7", Data: []byte(`{"name":{"$personal":{"subject":"customer-7","value":"Ann"}}}`)}
	if _, err := s.Append(t.Context(), []annals.Event{event}); err != nil {
		t.Fatal(err)
	}
	closeStore()
	command(t, "", "read", dir).is(exitOK).prints(`"$sealed"`)
	erase := func(more ...string) *result {
		return command(t, "", append([]string{"erase", dir, "customer-7", "--reason", "asked", "--actor", "officer"}, more...)...)
	}
	erase("--keys", keyDir, "--master-env", "TEST_OTHER_KEY").is(exitFailure, "wrong master key")
	erase("--keys", keyDir, "--master-env", "TEST_NONE").is(exitUsage, "TEST_NONE", "no master key")
	erase("--keys", keyDir).is(exitUsage, "one of --master-env and --master-file")
	erase("--keys", keyDir+"x", "--master-env", "TEST_ERASE_KEY").is(exitUsage, "is missing: it is no directory of keys")
	command(t, "", "erase", dir, "customer-7", "--keys", keyDir, "--master-env", "TEST_ERASE_KEY").is(exitUsage, "--reason")
	command(t, "", "erase", dir+"x", "customer-7", "--keys", keyDir, "--master-env", "TEST_ERASE_KEY", "--reason", "r").is(exitNotFound, "does not exist")
	erase("--keys", keyDir, "--master-env", "TEST_ERASE_KEY", "-o", "table").is(exitOK).prints("customer-7 is erased", "position 2")
	erase("--keys", keyDir, "--master-file", file).is(exitOK).prints(`"subject":"customer-7","position":"3","key":false`)
	s, closeStore = open()
	defer closeStore()
	for e, err := range s.Read(t.Context(), annals.Stream("c-7")) {
		if err != nil || string(e.Data) != `{"name":{"$erased":{"subject":"customer-7"}}}` {
			t.Errorf("got %s, %v", e.Data, err)
		}
	}
	for e, err := range s.Erasures(t.Context(), annals.Limit(1)) {
		if err != nil || e.Actor != "officer" || e.Reason != "asked" {
			t.Errorf("got %+v, %v", e, err)
		}
	}
}
