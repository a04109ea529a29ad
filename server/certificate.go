package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificateLook is how often it is looked whether a certificate was replaced.
const certificateLook = time.Second

// ErrCertificate says that a certificate, its key, or the authority of clients cannot be used.
var ErrCertificate = errors.New("server: certificate")

// certificate is one in files, which is read again when they change: it is replaced without a restart.
type certificate struct {
	certFile, keyFile string

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  string    // of the files as they were read
	looked time.Time // when it was last looked
}

// TLSFiles is TLS with a certificate in files, which may be replaced while the server runs. With clientCA, a file of authorities, clients have
// to have a certificate of theirs. It fails with [ErrCertificate].
func TLSFiles(certFile, keyFile, clientCA string) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.get(); err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get() },
	}
	if clientCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: %s has none in PEM", ErrCertificate, clientCA)
	}
	return config, nil
}

// stampOf tells a file from what it was before.
func stampOf(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%v %d ", info.ModTime(), info.Size())
}

// get is the certificate of now. If the files are wrong while they are being replaced, it is the one before.
func (c *certificate) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.loaded != nil && now.Sub(c.looked) < certificateLook {
		return c.loaded, nil
	}
	c.looked = now
	stamp := stampOf(c.certFile) + stampOf(c.keyFile)
	if c.loaded != nil && stamp == c.stamp {
		return c.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	switch {
	case err == nil:
		c.loaded, c.stamp = &pair, stamp
	case c.loaded == nil:
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return c.loaded, nil
}
