// Package pubsubtest is a server in memory that knows enough of Pub/Sub for the
// tests of those who subscribe, in virtual time as well.
package pubsubtest
