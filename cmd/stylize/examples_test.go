package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stylize-gpu/stylize/transfer/batch"
)

// job is docs/batch-job.yaml as far as the test goes; make examples holds the whole of it
// to Kubernetes' own schema.
type job struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Spec       struct {
		CompletionMode       string `yaml:"completionMode"`
		Completions          int
		Parallelism          int
		BackoffLimitPerIndex *int `yaml:"backoffLimitPerIndex"`
		PodFailurePolicy     struct {
			Rules []struct {
				Action      string
				OnExitCodes struct {
					ContainerName string `yaml:"containerName"`
					Operator      string
					Values        []int
				} `yaml:"onExitCodes"`
			}
		} `yaml:"podFailurePolicy"`
		Template struct {
			Spec struct {
				RestartPolicy string `yaml:"restartPolicy"`
				Containers    []struct {
					Name    string
					Command []string
					Args    []string
				}
			}
		}
	}
}

// data is what both examples expect: photos in folders, styles.
func data(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = album(t, n)
	for _, d := range []string{"photos", "photos/deep", "styles"} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		to := "photos"
		if i%2 == 1 {
			to = "photos/deep"
		}
		if err := os.Rename(fmt.Sprintf("in/%02d.png", i), fmt.Sprintf("%s/%02d.png", to, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename("style.jpg", "styles/waves.jpg"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantAll looks for each result once, painted once.
func wantAll(t *testing.T, n int) {
	t.Helper()
	if got := len(results(t, "results/*-waves.png")) + len(results(t, "results/deep/*-waves.png")); got != n {
		t.Errorf("%d results, want %d", got, n)
	}
	painted := map[string]int{}
	for _, r := range results(t, "reports/*.jsonl") {
		for _, l := range reportLines(t, r) {
			if l.Status == batch.Painted {
				painted[l.Content]++
			}
		}
	}
	if len(painted) != n {
		t.Errorf("%d painted, want %d", len(painted), n)
	}
	for c, times := range painted {
		if times != 1 {
			t.Errorf("%s was painted %d times", c, times)
		}
	}
}

// The pods of the example paint everything once.
func TestKubernetesExample(t *testing.T) {
	var j job
	if err := yaml.Unmarshal(read(t, "../../docs/batch-job.yaml"), &j); err != nil {
		t.Fatal(err)
	}
	s := j.Spec
	if j.APIVersion != "batch/v1" || j.Kind != "Job" || s.CompletionMode != "Indexed" || s.BackoffLimitPerIndex == nil || s.Template.Spec.RestartPolicy != "Never" || len(s.Template.Spec.Containers) != 1 {
		t.Fatalf("%+v", j)
	}
	c := s.Template.Spec.Containers[0]
	if !slices.Equal(c.Command, []string{"stylize", "batch"}) || !slices.Contains(c.Args, fmt.Sprintf("--shard=%d", s.Completions)) {
		t.Errorf("%d completions: %v %v", s.Completions, c.Command, c.Args)
	}
	rule := s.PodFailurePolicy.Rules[1]
	if rule.Action != "FailIndex" || rule.OnExitCodes.ContainerName != c.Name || !slices.Equal(rule.OnExitCodes.Values, []int{exitUsage, exitSome}) {
		t.Errorf("%+v", rule)
	}
	dir := data(t, 6)
	for i := range s.Completions {
		t.Setenv(envIndex, fmt.Sprint(i))
		var args []string
		for _, a := range c.Args {
			a = strings.NewReplacer("/data/", dir+"/", "$("+envIndex+")", fmt.Sprint(i)).Replace(a)
			if !strings.HasPrefix(a, "--weights=") && !strings.HasPrefix(a, "--devices=") {
				args = append(args, a)
			}
		}
		mustRun(t, batchArgs(args...)...)
	}
	wantAll(t, 6)
}

// script runs the Slurm example with this program in the place of stylize.
func script(t *testing.T, path string, task int, extra string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "stylize")
	text := fmt.Sprintf("#!/bin/sh\nexec env STYLIZE_TEST_MAIN=1 %s \"$@\" %s %s\n", exe, strings.Join(fast[:len(fast)-2], " "), extra)
	if err := os.WriteFile(program, []byte(text), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", path, ".")
	cmd.Env = append(os.Environ(), "STYLIZE="+program, "WEIGHTS=random:1", "DEVICES=cpu", fmt.Sprintf("SLURM_ARRAY_TASK_ID=%d", task), "SLURM_ARRAY_JOB_ID=77")
	return cmd
}

// The tasks of the example paint everything once; one that is told to stop has itself
// queued again, and then goes on.
func TestSlurmExample(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil || runtime.GOOS == "windows" {
		t.Skip("no bash here")
	}
	path, err := filepath.Abs("../../docs/batch-array.sh")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("bash", "-n", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := regexp.MustCompile(`(?m)^#SBATCH --array=0-(\d+)$`).FindSubmatch(read(t, path))
	n := regexp.MustCompile(`(?m)^  --shard (\d+) &$`).FindSubmatch(read(t, path))
	if m == nil || n == nil || fmt.Sprint(int(m[1][0]-'0')+1) != string(n[1]) {
		t.Fatalf("--array=0-%s and --shard %s do not belong together", m, n)
	}
	data(t, 6)
	for task := range int(n[1][0] - '0') {
		if out, err := script(t, path, task, "").CombinedOutput(); err != nil {
			t.Fatalf("task %d: %v\n%s", task, err, out)
		}
	}
	wantAll(t, 6)

	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "scontrol"), []byte("#!/bin/sh\necho \"$@\" >requeued\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if err := os.RemoveAll("results"); err != nil {
		t.Fatal(err)
	}
	// The task that has most pictures, which now take longer than the test.
	task, most := 0, 0
	for i := range 8 {
		if l := len(reportLines(t, fmt.Sprintf("reports/%d.jsonl", i))); l > most {
			task, most = i, l
		}
	}
	cmd := script(t, path, task, "-n 10000000")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !exists("results"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatal("it does not begin")
		}
	}
	time.Sleep(300 * time.Millisecond)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !exists("requeued") || string(read(t, "requeued")) != fmt.Sprintf("requeue 77_%d\n", task) {
		t.Errorf("exit %d\n%s", code, out.String())
	}
}
