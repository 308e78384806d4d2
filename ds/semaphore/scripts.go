package semaphore

import (
	"embed"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
)

var (
	//go:embed limit.lua
	limitSource string
	//go:embed adapt.lua
	adaptSource string
	//go:embed inspect.lua
	inspectSource string
)

// lua are the steps of a semaphore that those of its lease are not.
var lua = struct{ limit, adapt, inspect *command.Script }{
	limit:   script.New(limitSource, embed.FS{}),
	adapt:   script.New(adaptSource, embed.FS{}),
	inspect: script.New(inspectSource, embed.FS{}),
}

// leaseName is the name of the lease whose shares are the permits.
func leaseName(name string) string { return "semaphore:" + name }

// names are the keys of one semaphore; all but the limit are its lease's.
type names struct{ limit, lease, queue, order, readers string }

func namesOf(namespace, name string) names {
	p := keys.Prefix(namespace, "lease", leaseName(name))
	return names{limit: p + "limit", lease: p + "lease", queue: p + "queue", order: p + "order", readers: p + "readers"}
}

// waking are the keys of a script that may let somebody in.
func (n names) waking() []string { return []string{n.limit, n.lease, n.queue, n.order} }
