package transport

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// CertificateFiles returns a tls.Config.GetClientCertificate that reads a
// certificate and its key from PEM files, and reads them again when their size
// or time of change differs: connections made after a rotation show the new
// certificate, those that are up keep theirs. Both files are looked at in every
// handshake that asks for a certificate.
//
// While a rotation is under way the files may be missing or not belong to each
// other. Then the last pair that did is shown; if there was none, the handshake
// fails with the reason.
func CertificateFiles(certFile, keyFile string) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	f := &certificateFiles{names: [2]string{certFile, keyFile}}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.certificate() }
}

type certificateFiles struct {
	names [2]string

	mu   sync.Mutex
	seen [2]stamp // of the files that last was read from
	last *tls.Certificate
}

// stamp tells one state of a file from another.
type stamp struct {
	size    int64
	changed time.Time
}

func (f *certificateFiles) certificate() (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.reload()
	if f.last == nil {
		return nil, fmt.Errorf("transport: client certificate: %w", err)
	}
	return f.last, nil
}

// reload reads the files if they have changed. They are stamped before they are
// read: what changes meanwhile is read again the next time.
func (f *certificateFiles) reload() error {
	var now [2]stamp
	for i, name := range f.names {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		now[i] = stamp{info.Size(), info.ModTime()}
	}
	if f.last != nil && now == f.seen {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.names[0], f.names[1])
	if err != nil {
		return err
	}
	f.seen, f.last = now, &pair
	return nil
}
