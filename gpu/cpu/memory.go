package cpu

// FreeMemory is how many bytes this process may still take, by the machine, its other
// processes, control groups and resource limits; 0 when unknown.
func FreeMemory() int64 { return memory().available }
