package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// process starts the program as a process of its own, in a folder; "" is this one's.
func process(t *testing.T, folder string, args ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(exe, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "STYLIZE_TEST_MAIN=1")
	stderr = &bytes.Buffer{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, stderr
}

// wasKilled waits for a process, and reports whether a kill came in time. Any other end
// than a good one is a failure.
func wasKilled(t *testing.T, cmd *exec.Cmd, stderr *bytes.Buffer) bool {
	t.Helper()
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args[1:], err, stderr)
	}
	return false
}

// killing is how often a test kills: as its flag says, else as often as suits the run;
// and what the moments come from, which is logged.
func killing(t *testing.T, asked, short, long int) (kills int, random *rand.Rand) {
	t.Helper()
	switch {
	case asked > 0:
		kills = asked
	case testing.Short():
		kills = short
	default:
		kills = long
	}
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-kill-seed %d", seed)
	return kills, rand.New(rand.NewPCG(seed, 0))
}

// linked takes the error of making a link. Only Windows may refuse one.
func linked(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
	case runtime.GOOS == "windows":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}
