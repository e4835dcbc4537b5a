//go:build !unix

package openfile

const noWait = 0

func isSocket(error) bool { return false }
