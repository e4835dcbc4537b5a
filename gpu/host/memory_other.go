//go:build !linux

package host

type memInfo struct{ total, available int64 } // bytes; 0 when unknown

func memory() memInfo { return memInfo{} }
