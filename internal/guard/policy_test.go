package guard

const modulePath = "github.com/redisx/redisx"

// layers says what the non-test files of a package may import from this
// repository and from outside; the standard library is always allowed. "x/..."
// means x and everything below it. The first row that matches a package counts,
// and a package without a row is a problem. Test files are free.
var layers = []layer{
	{pkg: "resp3"},
	{pkg: "telemetry"},
	{pkg: "command", may: []string{"resp3"}},
	{pkg: "transport", external: []string{"github.com/coder/websocket"}},
	{pkg: "gateway", may: []string{"transport"}, external: []string{"github.com/coder/websocket"}},
	{pkg: "internal/dstest", may: []string{".", "resp3", "command", "internal/servers/..."}},
	{pkg: "internal/...", may: []string{"resp3", "command", "transport", "telemetry", "internal/..."}},
	{pkg: "ds/aside", may: []string{"resp3", "command", "telemetry", "ds/internal/...", "ds/coalesce"}},
	{pkg: "ds/coord", may: []string{"resp3", "command", "telemetry", "ds/internal/...", "ds/lease"}},
	{pkg: "ds/limiter", may: []string{"resp3", "command", "telemetry", "ds/internal/...", "ds/lease"}},
	{pkg: "ds/semaphore", may: []string{"resp3", "command", "telemetry", "ds/internal/...", "ds/lease"}},
	{pkg: "ds/inspect", may: []string{"resp3", "command", "telemetry", "ds/..."}},
	{pkg: "ds/...", may: []string{"resp3", "command", "telemetry", "ds/internal/..."}},
	{pkg: "intent", may: []string{"resp3", "command", "telemetry", "ds/..."}},
	{pkg: "playbook", may: []string{"resp3", "command", "telemetry", "ds/..."}},
	{pkg: ".", may: []string{"resp3", "command", "transport", "telemetry", "internal/..."}},
}

type layer struct {
	pkg      string
	may      []string
	external []string
}

// nested are the modules beside the root: they may import anything, and no
// other module imports them, not even in tests.
var nested = []string{"cmd", "bench", "testkit"}

// requirements are all the modules that the root go.mod may require; the
// reasons are in docs/design/dependencies.md.
var requirements = map[string]use{
	"github.com/coder/websocket":        inCode,
	"go.uber.org/goleak":                inTests,
	"pgregory.net/rapid":                inTests,
	"github.com/anishathalye/porcupine": inTests,
}

type use int

const (
	inCode use = iota
	inTests
)

// goStatements are the non-test files that may hold a bare go statement, with
// the reason why sync.WaitGroup.Go does not do. See docs/design/goroutines.md.
var goStatements = map[string]string{
	"internal/dstest/process.go":         "a read of stdin cannot be cancelled: it ends with its process, which is there for a test",
	"cmd/redisx/internal/demo/worker.go": "a read of stdin cannot be cancelled: it ends with its process, which has nothing else to wait for",
	"cmd/redisx/limit.go":                "a read of stdin or of a pipe cannot be cancelled: it ends with its process, which has been answered",
}

// Limits of hand-written Go and Lua files, in lines.
const (
	maxFile     = 600
	maxTestFile = 900
	maxFunc     = 80
)

// forbidden are patterns that no text file may hold. They are written so that
// they do not match themselves.
var forbidden = []struct{ pattern, why string }{
	{`(?:^|[\s"'` + "`" + `(=:,])/(?:work|root)(?:/|\b)`, "a path of one machine"},
	{`/tmp/[b]ash_jobs`, "a path of one machine"},
}

// maySkip is the only folder whose tests may skip, and whose helper skips for
// others: elsewhere a ring that cannot run must not look green.
const maySkip = "internal/servers"
