package queue

// For tests of what else takes minutes to happen.
var TidyScript = tidyScript
