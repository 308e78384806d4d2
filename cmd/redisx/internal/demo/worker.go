package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/redisx/redisx"
)

// envURL carries the server's URL to the workers.
const envURL = "REDISX_DEMO_URL"

// Worker is the child side of a process.
type Worker struct {
	Role, Name, URL, Namespace string

	client *redisx.Client
	mu     sync.Mutex
	out    *json.Encoder
	words  <-chan string
}

var roles = map[string]func(*Worker, context.Context) error{
	"candidate": (*Worker).lead,
	"holder":    (*Worker).hold,
	"mailer":    (*Worker).mail,
	"payer":     (*Worker).pay,
	"reader":    (*Worker).read,
}

func (w *Worker) stage() *stage {
	return &stage{client: w.client, url: w.URL, namespace: w.Namespace}
}

// Run plays the role until it is done, ctx ends, or stdin closes.
func (w *Worker) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	role, ok := roles[w.Role]
	if !ok {
		return fmt.Errorf("no role %q", w.Role)
	}
	if w.URL == "" {
		w.URL = os.Getenv(envURL)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.out, w.words = json.NewEncoder(out), lines(in, cancel)
	client, err := redisx.Connect(ctx, w.URL)
	if err != nil {
		w.say(line{Event: "failed", Err: err.Error()})
		return err
	}
	defer client.Close()
	w.client = client
	if err := role(w, ctx); err != nil && ctx.Err() == nil {
		w.say(line{Event: "failed", Err: err.Error()})
		return err
	}
	return nil
}

// say tells the parent.
func (w *Worker) say(l line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Encode(l)
}

// word waits for the parent's next word.
func (w *Worker) word(ctx context.Context) (string, error) {
	select {
	case word, ok := <-w.words:
		if !ok {
			return "", ctx.Err()
		}
		return word, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// lines yields the lines of in. After the last one it calls ended, then closes
// the channel. Its goroutine ends with the process: a read of a pipe or a
// terminal cannot be cancelled.
func lines(in io.Reader, ended func()) <-chan string {
	out := make(chan string, 16)
	go func() {
		for sc := bufio.NewScanner(in); sc.Scan(); {
			out <- sc.Text()
		}
		ended()
		close(out)
	}()
	return out
}
