package redisx

// CheckConfig reports what Connect would find wrong with cfg.
func CheckConfig(cfg Config) error { return cfg.check() }
