package auth_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/server/auth"
)

func open(t *testing.T, path string) *auth.Keys {
	t.Helper()
	keys, _, err := auth.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	return keys
}

func TestTheFirstKeyMayDoEverythingAndIsShownOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	keys, secret, err := auth.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	p, err := keys.Authenticate(secret)
	if err != nil || p.Name != "bootstrap" {
		t.Fatalf("it is %v, %v", p, err)
	}
	for _, o := range auth.Operations() {
		if err := p.May(auth.Access{Store: "any", Operation: o, Streams: []string{"", "a-1"}, Queries: []annals.Query{annals.All().WithSystem()}}); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(b), secret) || strings.Contains(string(b), secret[20:]) {
		t.Errorf("the secret is in the file: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	if _, again, err := auth.Open(path); err != nil || again != "" {
		t.Errorf("a second time it gives %q, %v", again, err)
	}
}

func TestKeysThatAreNotGoodAreRefusedAlike(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	keys := open(t, path)
	grants := []auth.Grant{{Store: "", Operations: []auth.Operation{auth.Read}}}
	_, expired, err := auth.Add(path, "expired", grants, time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	revoked, gone, err := auth.Add(path, "revoked", grants, time.Time{})
	if err == nil {
		err = auth.Revoke(path, revoked.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, good, err := auth.Add(path, "good", grants, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the good one is known", func() bool { _, err := keys.Authenticate(good); return err == nil })
	for _, secret := range []string{"", "annals_", "annals__", expired, gone, good + "x", good[:len(good)-1], "x" + good, strings.ToUpper(good), strings.Replace(good, "annals_", "annals_0", 1)} {
		if _, err := keys.Authenticate(secret); !errors.Is(err, auth.ErrUnauthenticated) || err.Error() != auth.ErrUnauthenticated.Error() {
			t.Errorf("%q: the error is %v", secret, err)
		}
	}
}

func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestAKeyThatIsRevokedOrExpiresEndsWhatIsOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	keys := open(t, path)
	grants := []auth.Grant{{Store: auth.AnyStore, Operations: []auth.Operation{auth.Read}}}
	revoked, one, err := auth.Add(path, "one", grants, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := auth.Add(path, "two", grants, time.Now().Add(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var a, b auth.Principal
	wait(t, "both are known", func() bool {
		var errA, errB error
		a, errA = keys.Authenticate(one)
		b, errB = keys.Authenticate(two)
		return errA == nil && errB == nil
	})
	select {
	case <-a.Ended():
		t.Fatal("a good key has ended")
	default:
	}
	began := time.Now()
	if err := auth.Revoke(path, revoked.ID); err != nil {
		t.Fatal(err)
	}
	<-a.Ended()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	<-b.Ended()
	if err := auth.Revoke(path, "nobody"); !errors.Is(err, auth.ErrNoKey) {
		t.Errorf("the error is %v", err)
	}
}

// A file that cannot be read opens no door, and ends what is open.
func TestAWrongFileOpensNoDoor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	keys, secret, err := auth.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	p, err := keys.Authenticate(secret)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	if _, err := keys.Authenticate(secret); !errors.Is(err, auth.ErrUnauthenticated) || !errors.Is(keys.Err(), auth.ErrKeys) {
		t.Errorf("the errors are %v, %v", err, keys.Err())
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "it is good again", func() bool { _, err := keys.Authenticate(secret); return err == nil })
	for name, content := range map[string]string{
		"null":      `{"keys":[null]}`,
		"no grants": `{"keys":[{"id":"a","hash":"` + strings.Repeat("ab", 32) + `"}]}`,
		"operation": `{"keys":[{"id":"a","hash":"` + strings.Repeat("ab", 32) + `","grants":[{"store":"","operations":["fly"]}]}]}`,
		"hash":      `{"keys":[{"id":"a","hash":"abc","grants":[{"store":"","operations":["read"]}]}]}`,
	} {
		wrong := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(wrong, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := auth.Open(wrong); !errors.Is(err, auth.ErrKeys) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func TestWhatAKeyMayDo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	keys := open(t, path)
	_, secret, err := auth.Add(path, "shop", []auth.Grant{
		{Store: "shop", Prefix: "order-", Operations: []auth.Operation{auth.Read, auth.Append}},
		{Store: "", Operations: []auth.Operation{auth.Read}},
	}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var p auth.Principal
	wait(t, "it is known", func() bool { p, err = keys.Authenticate(secret); return err == nil })
	queries := func(q ...annals.Query) []annals.Query { return q }
	for name, c := range map[string]struct {
		access auth.Access
		want   error
	}{
		"append in the prefix":     {auth.Access{Store: "shop", Operation: auth.Append, Streams: []string{"order-1"}}, nil},
		"append beside it":         {auth.Access{Store: "shop", Operation: auth.Append, Streams: []string{"order-1", "cart-1"}}, auth.ErrForbidden},
		"append without a stream":  {auth.Access{Store: "shop", Operation: auth.Append, Streams: []string{""}}, auth.ErrForbidden},
		"read a stream":            {auth.Access{Store: "shop", Operation: auth.Read, Queries: queries(annals.Stream("order-1"))}, nil},
		"read the category":        {auth.Access{Store: "shop", Operation: auth.Read, Queries: queries(annals.Category("order"))}, nil},
		"read another category":    {auth.Access{Store: "shop", Operation: auth.Read, Queries: queries(annals.Category("cart"))}, auth.ErrForbidden},
		"read by a tag":            {auth.Access{Store: "shop", Operation: auth.Read, Queries: queries(annals.Tags("order:1"))}, auth.ErrForbidden},
		"read one or all":          {auth.Access{Store: "shop", Operation: auth.Read, Queries: queries(annals.Stream("order-1").Or(annals.All()))}, auth.ErrForbidden},
		"read everything":          {auth.Access{Operation: auth.Read, Queries: queries(annals.All())}, nil},
		"read the system's":        {auth.Access{Operation: auth.Read, Queries: queries(annals.All().WithSystem())}, auth.ErrForbidden},
		"append where it may read": {auth.Access{Operation: auth.Append, Streams: []string{"a"}}, auth.ErrForbidden},
		"administer":               {auth.Access{Operation: auth.Admin}, auth.ErrForbidden},
		"ask for the head":         {auth.Access{Store: "shop", Operation: auth.Read, Whole: true}, nil},
		"another store":            {auth.Access{Store: "other", Operation: auth.Read, Whole: true}, auth.ErrUnknownStore},
	} {
		if err := p.May(c.access); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, wanted %v", name, err, c.want)
		}
	}
}
