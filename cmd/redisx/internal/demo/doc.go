// Package demo plays a story on all primitives and judges it by what the server
// holds afterwards. Workers are processes of their own, so that they can be
// frozen and killed.
package demo
