module github.com/redisx/redisx/cmd/redisx

go 1.25

require (
	github.com/alicebob/miniredis/v2 v2.40.0
	github.com/redisx/redisx v0.0.0
	github.com/spf13/cobra v1.10.2
	go.uber.org/goleak v1.3.0
)

require (
	github.com/coder/websocket v1.8.15 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/yuin/gopher-lua v1.1.1 // indirect
)

replace github.com/redisx/redisx => ../..
