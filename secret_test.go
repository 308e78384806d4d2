package redisx_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redisx/redisx"
)

func TestASecretIsNeverPrinted(t *testing.T) {
	secrets := redisx.Credentials{Username: "u", Password: canary, Expires: time.Now()}
	cfg := redisx.Config{
		Password: canary, Header: map[string]redisx.Secret{"Authorization": canary},
		Credentials: func(context.Context) (redisx.Credentials, error) { return secrets, nil },
	}
	ptr := &secrets
	var b strings.Builder
	text := slog.New(slog.NewTextHandler(&b, nil))
	lines := slog.New(slog.NewJSONHandler(&b, nil))
	for _, v := range []any{cfg.Password, cfg, &cfg, secrets, ptr, []any{cfg}, map[string]any{"x": secrets}, struct{ C redisx.Config }{cfg}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		b.Write(j)
		text.Info("x", "v", v)
		lines.Info("x", "v", v)
	}
	got := strings.ToLower(b.String())
	for _, leak := range []string{canary, hex.EncodeToString([]byte(canary)), fmt.Sprint([]byte(canary))} {
		if strings.Contains(got, leak) {
			t.Errorf("a secret was printed: %s", b.String())
		}
	}
	if !strings.Contains(got, "[redacted]") {
		t.Error("nothing says that there is a secret")
	}
}

func TestNoSecretIsSaidOfNone(t *testing.T) {
	var none redisx.Secret
	if got := fmt.Sprintf("%v %q %#v", none, none, struct{ S redisx.Secret }{}); strings.Contains(got, "redacted") {
		t.Errorf("%s", got)
	}
}
