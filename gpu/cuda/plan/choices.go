package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Choices remembers which of several kernels each layer uses on a device, as
// timing found. All of a layer's kernels give the same bits, so choices change
// how long a picture takes and nothing else. Several devices may share one; its
// zero value knows nothing yet.
type Choices struct {
	mu      sync.Mutex
	devices map[string]map[string]string // device, layer, entry
	changed bool
}

// ReadChoices reads what Write wrote.
func ReadChoices(r io.Reader) (*Choices, error) {
	c := &Choices{}
	if err := json.NewDecoder(r).Decode(&c.devices); err != nil {
		return nil, fmt.Errorf("choices of kernels: %w", err)
	}
	return c, nil
}

// Write writes them as JSON.
func (c *Choices) Write(w io.Writer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(c.devices)
}

// Changed reports whether a device has added to them.
func (c *Choices) Changed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Get is the kernel for a layer on a device, or empty.
func (c *Choices) Get(device, layer string) string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.devices[device][layer]
}

// Set remembers one.
func (c *Choices) Set(device, layer, entry string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.devices == nil {
		c.devices = map[string]map[string]string{}
	}
	if c.devices[device] == nil {
		c.devices[device] = map[string]string{}
	}
	c.devices[device][layer] = entry
	c.changed = true
}
