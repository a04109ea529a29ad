package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// accounts is the directory of a store with what happened to an account, and to a customer.
func accounts(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	s, err := disk.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var cause string
	for _, e := range []annals.Event{
		{Type: "CustomerMoved", Stream: "customer-1", Data: []byte(`{"city":"Ulm"}`)},
		{Type: "Opened", Stream: "account-7", Data: []byte(`{"owner":"ann","balance":10}`)},
		{Type: "Withdrawn", Stream: "account-7", Data: []byte(`{"balance":4}`)},
		{Type: "Withdrawn", Stream: "account-7", Data: []byte(`{"balance":-2,"note":"bad\u0007"}`)},
		{Type: "Deposited", Stream: "account-7", Data: []byte(`{"balance":3,"note":null}`)},
	} {
		e.ID = annals.NewID()
		e.Metadata = []byte(`{"actor":"bob","command":"Do","causationId":"` + cause + `"}`)
		if cause = e.ID.String(); e.Type == "Opened" {
			e.Metadata = []byte(`{"actor":"bob"}`)
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

func TestStateIsTheMergedDataNowAndThen(t *testing.T) {
	t.Parallel()
	dir := accounts(t)
	command(t, "", "state", dir, "account-7").is(exitOK).prints(`"revision":3,"position":"5","state":{"$type":"Deposited","balance":3,"owner":"ann"}`)
	command(t, "", "state", dir, "account-7", "--revision", "2", "-o", "table").is(exitOK).prints("account-7 at revision 2", `"balance": -2`)
	command(t, "", "state", dir, "account-7", "--as-of", "2").is(exitOK).prints(`"balance":10`)
	command(t, "", "state", dir, "account-7", "--at", "2099-01-01T00:00:00Z").is(exitOK).prints(`"balance":3`)
	command(t, "", "state", dir, "account-7", "--diff", "1..3", "-o", "table").is(exitOK).prints("Withdrawn @2", "by bob by command Do", "balance  4 → -2", "Deposited @3", "→ null")
	command(t, "", "state", dir, "account-7", "--diff", "0..1").is(exitOK).prints(`"revision":1,`, `"changes":[{"path":"$type","before":"Opened","after":"Withdrawn"},{"path":"balance","before":10,"after":4}]`)
	command(t, "", "state", dir, "account-8").is(exitNotFound, "account-8: the stream has no event")
	command(t, "", "state", dir, "account-7", "--at", "1999-01-01T00:00:00Z").is(exitNotFound, "no event")
	command(t, "", "state", dir, "account-7", "--revision", "9").is(exitNotFound, "the stream is at 3")
	command(t, "", "state", dir, "account-7", "--diff", "3..1").is(exitUsage, "two revisions such as 2..5")
	command(t, "", "state", dir, "account-7", "--at", "yesterday").is(exitUsage, "no time such as")
	command(t, "", "state", dir, "account-7", "--at", "1999-01-01T00:00:00Z", "--revision", "1").is(exitUsage, "give one of --revision, --as-of and --at")
	command(t, "", "state", dir, "account-7", "--diff", "1..2", "--as-of", "1").is(exitUsage, "--diff")
	command(t, "", "state", dir).is(exitUsage, "wants DIR STREAM")
}

func TestWhyNamesTheEventAndItsCauses(t *testing.T) {
	t.Parallel()
	dir := accounts(t)
	command(t, "", "why", dir, "account-7", "balance", "-o", "table").is(exitOK).prints(
		"balance is 3 since revision 3, before it was -2", "Deposited in account-7 at position 5", "← Withdrawn in account-7 at position 4", "← Opened in account-7 at position 2")
	command(t, "", "why", dir, "account-7", "owner").is(exitOK).prints(`"before":null,"value":"ann"`, `"type":"Opened"`)
	command(t, "", "why", dir, "account-7", "balance", "--revision", "1").is(exitOK).prints(`"value":4`)
	command(t, "", "why", dir, "account-7", "nothing").is(exitNotFound, "no event has changed it")
	command(t, "", "why", dir, "account-8", "balance").is(exitNotFound, "account-8: the stream has no event")
}

func TestWhatIfShowsHowStatesWouldDiffer(t *testing.T) {
	t.Parallel()
	dir := accounts(t)
	edits := func(text string) string {
		name := filepath.Join(t.TempDir(), "edits.json")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	drop := edits(`{"annalsBranch":1,"edits":[{"drop":["5"]},{"insertAfter":"1","events":[{"type":"CustomerMoved","stream":"customer-1","data":{"city":"Bonn"}}]}]}`)
	command(t, "", "whatif", dir, drop).is(exitOK).prints(
		`{"stream":"account-7","changes":[{"path":"$type","before":"Deposited","after":"Withdrawn"},{"path":"balance","before":3,"after":-2}`,
		`{"stream":"customer-1","changes":[{"path":"city","before":"Ulm","after":"Bonn"}]}`)
	command(t, "", "whatif", dir, drop, "-o", "table", "--stream", "customer-1", "--stream", "other").is(exitOK).prints(`city  "Ulm" → "Bonn"`, "other\n  no difference")
	command(t, "", "whatif", dir, edits(`{"annalsBranch":1,"edits":[]}`), "-o", "table").is(exitOK).prints("touch no stream")
	command(t, "", "whatif", dir, edits(`{"annalsBranch":1,"edits":[{"drop":["9"]}]}`)).is(exitUsage, "edit 0, drop [9]: position 9 is not between 1 and 5")
	command(t, "", "whatif", dir, edits(`nonsense`)).is(exitUsage, "edits.json")
	command(t, "", "whatif", dir, filepath.Join(dir, "none")).is(exitUsage, "no such file")
	if got := command(t, "", "read", dir).is(exitOK).positions(); got != "1 2 3 4 5" {
		t.Errorf("the store has %s", got)
	}
}

func TestBisectFindsTheEventAfterWhichItDoesNotHold(t *testing.T) {
	t.Parallel()
	dir := accounts(t)
	command(t, "", "bisect", dir, "account-7", "(state.balance ?? 0) >= 0", "--revision", "2").is(exitOK).prints(`"revision":2`, `"after":{"$type":"Withdrawn","balance":-2`)
	command(t, "", "bisect", dir, "account-7", "(state.balance ?? 0) != 3", "-o", "table").is(exitOK).prints("not any more since Deposited @3 at position 5", "balance  -2 → 3")
	command(t, "", "bisect", dir, "account-7", "(state.balance ?? 0) < 100").is(exitNotFound, "it holds to this day")
	command(t, "", "bisect", dir, "account-7", "state.balance == 1000").is(exitNotFound, "it has never held")
	command(t, "", "bisect", dir, "account-8", "true").is(exitNotFound, "the stream has no event")
	command(t, "", "bisect", dir, "account-7", "state.balance +").is(exitUsage, "the expression")
	command(t, "", "bisect", dir, "account-7", "state.balance >= 5").is(exitUsage, "the expression, of {}")
	command(t, "", "bisect", dir, "account-7", `"text"`).is(exitUsage, "the expression")
	if out := command(t, "", "state", dir, "account-7", "--revision", "2", "-o", "table").is(exitOK).out; strings.Contains(out, "\a") {
		t.Error("a bell rings on the terminal")
	}
}
