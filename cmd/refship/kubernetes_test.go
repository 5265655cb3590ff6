package main

// What a user gains from this test: the example for Kubernetes starts a refship that knows every flag and variable in it.

import (
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"refship/cmd/refship/overssh"
)

const sidecar = "../../contrib/kubernetes/sidecar.yaml"

// container is what the test reads of one.
type container struct {
	Name          string   `yaml:"name"`
	RestartPolicy string   `yaml:"restartPolicy"`
	Command       []string `yaml:"command"`
	Args          []string `yaml:"args"`
	Env           []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
	Ports []struct {
		Name          string `yaml:"name"`
		ContainerPort int    `yaml:"containerPort"`
	} `yaml:"ports"`
	StartupProbe struct {
		HTTPGet struct {
			Path string `yaml:"path"`
			Port string `yaml:"port"`
		} `yaml:"httpGet"`
	} `yaml:"startupProbe"`
	VolumeMounts []struct {
		Name      string `yaml:"name"`
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type volume struct {
	Name string `yaml:"name"`
}

type deployment struct {
	Spec struct {
		Template struct {
			Spec struct {
				InitContainers []container `yaml:"initContainers"`
				Containers     []container `yaml:"containers"`
				Volumes        []volume    `yaml:"volumes"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

func TestKubernetesSidecar(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(sidecar)
	if err != nil {
		t.Fatal(err)
	}
	var d deployment
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	if len(pod.InitContainers) != 1 || pod.InitContainers[0].RestartPolicy != "Always" {
		t.Fatalf("there is no sidecar: %+v", pod.InitContainers)
	}
	agent := pod.InitContainers[0]
	c := parseContainer(t, agent)
	run, ok := c.Selected().Target.Addr().Interface().(*agentRunCmd)
	if !ok {
		t.Fatalf("it runs %q", c.Command())
	}
	if err := run.check(); err != nil {
		t.Error(err)
	}
	if !overssh.Is(run.Chain) {
		t.Errorf("the chain is %q", run.Chain)
	}
	// The probe asks the port that is bound, and every mount is of a volume; the root is whole in both containers.
	_, port, _ := strings.Cut(run.HTTPBind, ":")
	if probe := agent.StartupProbe.HTTPGet; probe.Path != "/" || len(agent.Ports) != 1 ||
		probe.Port != agent.Ports[0].Name || port != strconv.Itoa(agent.Ports[0].ContainerPort) {
		t.Errorf("the probe is %+v, the ports %+v, --http-bind %s", probe, agent.Ports, run.HTTPBind)
	}
	for _, of := range append(pod.Containers, agent) {
		hasRoot := false
		for _, mount := range of.VolumeMounts {
			hasRoot = hasRoot || mount.MountPath == run.Root
			if !slices.ContainsFunc(pod.Volumes, func(v volume) bool { return v.Name == mount.Name }) {
				t.Errorf("%s mounts %s, which is no volume", of.Name, mount.Name)
			}
		}
		if !hasRoot {
			t.Errorf("%s does not mount %s", of.Name, run.Root)
		}
	}
	// That a flag which does not exist is seen at all.
	agent.Args = append(agent.Args, "--no-such-flag")
	if _, err := parseArgs(agent); err == nil {
		t.Error("an unknown flag is taken")
	}
}

// parseContainer reads a container's command line as refship does.
func parseContainer(t *testing.T, c container) *kong.Context {
	t.Helper()
	if !slices.Equal(c.Command, []string{"refship"}) {
		t.Fatalf("%s runs %q", c.Name, c.Command)
	}
	parsed, err := parseArgs(c)
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, flag := range parsed.Flags() {
		known = append(known, envName(flag))
	}
	for _, env := range c.Env {
		if strings.HasPrefix(env.Name, "REFSHIP_") && env.Name != "REFSHIP_SSH_COMMAND" && !slices.Contains(known, env.Name) {
			t.Errorf("no flag has the variable %s", env.Name)
		}
	}
	return parsed
}

func parseArgs(c container) (*kong.Context, error) {
	env := map[string]string{"POD_NAME": "site-5d6e7f8-x2x4z"} // as Kubernetes names a pod
	for _, e := range c.Env {
		if e.Value != "" {
			env[e.Name] = e.Value
		}
	}
	var args []string
	for _, arg := range c.Args {
		args = append(args, strings.ReplaceAll(arg, "$(POD_NAME)", env["POD_NAME"]))
	}
	parser, err := newParser(&app{stdout: io.Discard, stderr: io.Discard, getenv: func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}}, &cli{})
	if err != nil {
		return nil, err
	}
	return parser.Parse(args)
}
