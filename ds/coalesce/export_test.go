package coalesce

// For tests of what becomes of answers that come late.
var StoreScript = storeScript
