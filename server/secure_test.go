package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/server"
	"github.com/annalsdb/annals/server/auth"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/store/remote"
)

// authority makes certificates of this machine.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, cert: cert, file: filepath.Join(t.TempDir(), "ca.pem")}
	a.write(a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue writes a certificate and its key.
func (a *authority) issue(certFile, keyFile string, serial int64) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(certFile, "CERTIFICATE", der)
	a.write(keyFile, "PRIVATE KEY", private)
}

// trust is what a client of the authority uses.
func (a *authority) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func TestConnectionsAreEncryptedAndCertificatesReplaced(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.issue(certFile, keyFile, 10)
	encrypt, err := server.TLSFiles(certFile, keyFile, "")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := start(t, server.Config{Stores: map[string]annals.Store{"": memory.New()}, TLS: encrypt})
	s := open(t, "annalss://"+addr, remote.TLS(a.trust()))
	if _, err := s.Append(t.Context(), event("1")); err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/livez", nil)
		if err != nil {
			t.Fatal(err)
		}
		// As a browser does, it offers HTTP/2 too.
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: a.trust(), ForceAttemptHTTP2: true, DisableKeepAlives: true}}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent || answer.ProtoMajor != 1 {
			t.Errorf("HTTP answers %s %s", answer.Proto, answer.Status)
		}
		return answer.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 10 {
		t.Errorf("the certificate is number %d", n)
	}
	if err := os.WriteFile(certFile, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(1200*time.Millisecond, func() { a.issue(certFile, keyFile, 11) })
	for end := time.Now().Add(20 * time.Second); serial() != 11; {
		if time.Now().After(end) {
			t.Fatal("the new certificate is never used")
		}
	}
	if _, err := remote.Open(t.Context(), "annals://"+addr, remote.Patience(300*time.Millisecond)); !errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("without TLS: %v", err)
	}
	if _, err := remote.Open(t.Context(), "annalss://"+addr, remote.Patience(300*time.Millisecond)); !errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("without trust: %v", err)
	}
	for _, files := range [][3]string{{dir + "/none", keyFile, ""}, {certFile, certFile, ""}, {certFile, keyFile, dir + "/none"}, {certFile, keyFile, keyFile}} {
		if _, err := server.TLSFiles(files[0], files[1], files[2]); !errors.Is(err, server.ErrCertificate) {
			t.Errorf("%q: the error is %v", files, err)
		}
	}
}

func TestClientsHaveToHaveACertificateOfTheAuthority(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.issue(certFile, keyFile, 10)
	encrypt, err := server.TLSFiles(certFile, keyFile, a.file)
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := start(t, server.Config{Stores: map[string]annals.Store{"": memory.New()}, TLS: encrypt})
	if _, err := remote.Open(t.Context(), "annalss://"+addr, remote.TLS(a.trust()), remote.Patience(300*time.Millisecond)); !errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("without a certificate: %v", err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	mine := a.trust()
	mine.Certificates = []tls.Certificate{pair}
	if _, err := open(t, "annalss://"+addr, remote.TLS(mine)).Head(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAKeyMayDoWhatItIsGrantedAndNoMore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	keys, admin, err := auth.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	key, reader, err := auth.Add(path, "reader", []auth.Grant{{Store: "", Operations: []auth.Operation{auth.Read}}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	_, clerk, err := auth.Add(path, "clerk", []auth.Grant{{Store: "", Prefix: "s", Operations: []auth.Operation{auth.Read, auth.Append}}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := start(t, server.Config{Stores: map[string]annals.Store{"": memory.New(), "hidden": memory.New()}, Keys: keys})
	url, ctx := "annals://"+addr, t.Context()
	for _, token := range []string{"", "nonsense", reader + "x"} {
		if _, err := remote.Open(ctx, url, remote.Token(token)); !errors.Is(err, remote.ErrUnauthenticated) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	all := open(t, url, remote.Token(admin))
	if _, err := all.Append(ctx, event("1")); err != nil {
		t.Fatal(err)
	}
	if err := func() error { _, err := annals.Retain(ctx, all, "s", annals.Retention{MaxCount: 100}); return err }(); err != nil {
		t.Errorf("an admin: %v", err)
	}
	var read *remote.Store
	for end := time.Now().Add(10 * time.Second); read == nil && time.Now().Before(end); {
		if s, err := remote.Open(ctx, url, remote.Token(reader)); err == nil {
			read = s
		}
	}
	if read == nil {
		t.Fatal("a new key is never known")
	}
	defer read.Close()
	if _, err := read.Append(ctx, event("2")); !errors.Is(err, remote.ErrForbidden) {
		t.Errorf("a reader appends: %v", err)
	}
	if _, err := annals.DeleteStream(ctx, read, "s"); !errors.Is(err, remote.ErrForbidden) {
		t.Errorf("a reader deletes: %v", err)
	}
	some := open(t, url, remote.Token(clerk))
	if _, err := some.Append(ctx, []annals.Event{{Type: "A", Stream: "other", Data: []byte("1")}}); !errors.Is(err, remote.ErrForbidden) {
		t.Errorf("beside the prefix: %v", err)
	}
	if _, err := some.Append(ctx, event("2"), annals.NoneSince(0, annals.Tags("a"))); !errors.Is(err, remote.ErrForbidden) {
		t.Errorf("a condition that looks elsewhere: %v", err)
	}
	for _, err := range some.Read(ctx, annals.All()) {
		if !errors.Is(err, remote.ErrForbidden) {
			t.Errorf("everything: %v", err)
		}
	}
	if _, err := some.Append(ctx, event("2")); err != nil {
		t.Errorf("in the prefix: %v", err)
	}
	for token, want := range map[string]int{"": http.StatusUnauthorized, "nonsense": http.StatusUnauthorized, reader: http.StatusOK} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != want {
			t.Errorf("with token %q the metrics answer %s", token, a.Status)
		}
	}
	_, absent := remote.Open(ctx, url+"/absent", remote.Token(reader))
	_, hidden := remote.Open(ctx, url+"/hidden", remote.Token(reader))
	if !errors.Is(absent, remote.ErrNoStore) || !errors.Is(hidden, remote.ErrNoStore) {
		t.Errorf("a store that is not there: %v; one that is hidden: %v", absent, hidden)
	}

	followed, caughtUp := make(chan error, 1), make(chan struct{})
	go func() {
		for u, err := range read.Subscribe(context.WithoutCancel(ctx), annals.All(), 0) {
			if err != nil {
				followed <- err
				return
			}
			if u.CaughtUp {
				close(caughtUp)
			}
		}
	}()
	<-caughtUp
	began := time.Now()
	if err := auth.Revoke(path, key.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-followed; !errors.Is(err, remote.ErrUnauthenticated) {
		t.Errorf("a subscription ends with %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
