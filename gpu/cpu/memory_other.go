//go:build !linux

package cpu

type memInfo struct{ total, available int64 } // bytes; 0 when unknown

func memory() memInfo { return memInfo{} }
