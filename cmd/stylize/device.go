package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/host"
)

// openDevice opens what --device names. auto takes the best that there is; a
// device that was asked for and is missing is an error.
func openDevice(c *cli.Context) (gpu.Device, error) {
	name := c.String("device")
	switch name {
	case "auto", "cpu":
	default:
		return nil, usage(fmt.Errorf("--device %s: this build computes on the CPU only; use --device cpu", name))
	}
	if p := c.String("precision"); p != "" && p != "fp32" {
		return nil, usage(fmt.Errorf("--precision %s: the CPU computes in fp32; leave the flag out", p))
	}
	if c.IsSet("threads") && c.Int("threads") < 1 {
		return nil, usage(fmt.Errorf("--threads %d: give 1 or more, or leave it out for all", c.Int("threads")))
	}
	dev, err := host.New(host.Options{Threads: c.Int("threads"), LowMemory: c.Bool("low-memory")})
	return dev, usage(err)
}

// devices lists what --device can name here.
func devices(c *cli.Context, stdout io.Writer) error {
	if err := noArgs(c); err != nil {
		return err
	}
	dev, err := host.New(host.Options{})
	if err != nil {
		return err
	}
	defer dev.Close()
	infos := []gpu.Info{dev.Info()}
	if c.Bool("json") {
		return printJSON(stdout, infos)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tNAME\tDETAIL\tMEMORY")
	for _, i := range infos {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", i.Kind, i.Name, i.Detail, bytesText(i.Memory))
	}
	return w.Flush()
}

func printJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// bytesText is a size for a person.
func bytesText(n int64) string {
	switch {
	case n == 0:
		return "unknown"
	case n < 10e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n < 10e9:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
