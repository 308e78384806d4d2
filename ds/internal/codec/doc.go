// Package codec is how the values of users become bytes and back.
package codec
