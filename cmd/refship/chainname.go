package main

import (
	"fmt"
	"os"
	"strings"

	"refship/cmd/refship/overssh"
	"refship/deploy/bundle"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/target"
)

// deployHelp is how a deploy is named on the command line.
const deployHelp = "[CHAIN@]ID: ID is a number, head, head~N, or a commit, 7 digits of it at least: " +
	"its newest deploy. A CHAIN alone stands for its head."

// deployName names a deploy on the command line: [CHAIN@]ID, or a CHAIN alone for its head.
type deployName struct {
	chain string // REPO, REPO:TARGET, ssh://… or a bundle's path; "": not named
	id    string // "": the head
	alone string // what may be either, and stands in neither: site, or abcdef1
	bare  bool   // no id stands behind chain: the head, or all of the chain
}

func (n *deployName) UnmarshalText(arg []byte) error {
	s := string(arg)
	chain, id := cutChain(s)
	switch {
	case strings.Contains(s, "@") && (chain == "" || id == ""):
		return usagef("%s has nothing on one side of its @", text.Mention(text.Clip(s)))
	case chain != "":
		*n = deployName{chain: chain, id: id, bare: chain == s}
	default:
		*n = deployName{alone: s}
	}
	return nil
}

// resolve tells chain and deploy apart. What could be either is a deploy, unless a repository has that name and no
// number does.
func (f *chainFlags) resolve(a *app, n deployName) (chain string, id record.Selector, err error) {
	switch {
	case n.alone == "" && n.chain == "":
		return "", record.Head, nil
	case n.alone == "":
		if id, err = record.ParseSelector(n.id); err != nil {
			if address := addressOf(n.chain + "@" + n.id); address != nil {
				return "", id, address
			}
			err = asUsage("", err)
		}
		return n.chain, id, err
	}
	if bundle.IsOf(n.alone) {
		return n.alone, record.Head, nil
	}
	id, err = record.ParseSelector(n.alone)
	if err == nil && (id.Commit() == "" || id.Number() != 0) {
		return "", id, nil
	}
	if err == nil {
		if dir, dirErr := f.dir(a); dirErr != nil || !dir.hasRepo(n.alone) {
			return "", id, nil
		}
	}
	repository, _, _ := strings.Cut(n.alone, ":")
	if err != nil && (repos.CheckName(repository) != nil || looksLikeID(n.alone)) {
		return "", id, asUsage("", err)
	}
	return n.alone, record.Head, nil
}

// looksLikeID tells of what is no id whether it was meant to be one.
func looksLikeID(s string) bool {
	return strings.HasPrefix(s, "head~") || strings.Trim(s, "-0123456789") == ""
}

func (d dataDir) hasRepo(chain string) bool {
	repository, _, _ := strings.Cut(chain, ":")
	_, err := d.repos().Find(repository)
	return err == nil
}

// chainName is the chain that is named: on the command line, or else, without --namespace, in REFSHIP_CHAIN; "" if none
// is.
func (f *chainFlags) chainName(a *app, name string) (string, error) {
	fromEnv, _ := a.getenv("REFSHIP_NAMESPACE")
	isGiven := f.Namespace != "" && f.Namespace != fromEnv
	switch {
	case name != "" && isGiven:
		return "", usagef("a chain and --namespace can't be given together")
	case name != "" || isGiven:
		return name, nil
	}
	name, _ = a.getenv("REFSHIP_CHAIN")
	return name, nil
}

// findChain finds the chain that REPO or REPO:TARGET names in the data directory.
func (f *chainFlags) findChain(a *app, name string) (hooks.Place, error) {
	switch {
	case overssh.Is(name):
		return hooks.Place{}, elsewhere(name)
	case bundle.IsOf(name):
		return hooks.Place{}, fault.New(fault.Usage, text.Printable(name)+" is a bundle, which can only be read",
			"to put what it has into an etcd: refship import "+text.Quote(name))
	}
	if err := addressOf(name); err != nil {
		return hooks.Place{}, err
	}
	dir, err := f.dir(a)
	if err != nil {
		return hooks.Place{}, err
	}
	if strings.HasSuffix(name, bundle.Suffix) {
		if _, err := os.Stat(name); err == nil {
			return hooks.Place{}, fault.New(fault.Usage, text.Mention(text.Clip(name))+" is no chain",
				"a bundle is named by a path with a slash in it: ./"+text.Quote(name))
		}
	}
	repository, chosen, _ := strings.Cut(name, ":")
	repo, err := dir.repos().Find(repository)
	if err != nil {
		return hooks.Place{}, f.noChain(dir, name, err)
	}
	return hooks.FindPlace(repo.Name, repo.Dir, chosen)
}

// addressOf refuses what ssh and git take for a place on another machine, git@host:site, and says how it is named here.
func addressOf(name string) error {
	host, chain, isPlace := strings.Cut(name, ":")
	if !isPlace || !strings.Contains(host, "@") {
		return nil
	}
	return fault.New(fault.Usage, text.Mention(text.Clip(name))+" is no chain",
		"a chain on another machine is named ssh://"+host+"/"+strings.TrimLeft(chain, "/"))
}

// elsewhere refuses to change a chain of another machine, which its server does.
func elsewhere(name string) error {
	address, err := overssh.Parse(name)
	if err != nil {
		return err
	}
	return fault.New(fault.Usage, name+" is on another machine, where it can only be read",
		"what its server does there: "+address.Command("help"))
}

// noChain says of a name that no repository has which chains there are.
func (f *chainFlags) noChain(dir dataDir, name string, err error) error {
	listed, listErr := dir.repos().List()
	remedy := ""
	switch {
	case listErr != nil:
		return err
	case len(listed) > 0:
		remedy = "there are: " + chainNames(listed)
		if near := text.Nearest(name, append(repositoryNames(listed), allChains(listed)...)); near != "" {
			remedy = "did you mean " + near + "? " + remedy
		}
	case len(f.Endpoints) > 0:
		remedy = "without a data directory a chain is named by its namespace, such as --namespace /refship/" +
			text.Quote(name)
	default:
		remedy = remedyOf(err) + "\na chain on another machine is named ssh://[USER@]HOST[:PORT]/" + text.Quote(name)
	}
	return &fault.Error{
		What: fmt.Sprintf("no repository in %s is named %s", dir.path, text.Mention(text.Clip(name))), Remedy: remedy,
		Cause: err,
	}
}

// chainNames are the chains of repositories, as they are named on the command line.
func chainNames(listed []*repos.Repository) string { return text.FirstFew(allChains(listed)) }

func repositoryNames(listed []*repos.Repository) (names []string) {
	for _, repo := range listed {
		names = append(names, repo.Name)
	}
	return names
}

func allChains(listed []*repos.Repository) (names []string) {
	for _, repo := range listed {
		for _, t := range repo.Targets {
			names = append(names, chainNameOf(repo, t))
		}
	}
	return names
}

// chainNameOf is the chain of a target, as it is named on the command line.
func chainNameOf(repo *repos.Repository, t target.Target) string {
	if len(repo.Targets) > 1 || t.Name != defaultTarget {
		return repo.Name + ":" + t.Name
	}
	return repo.Name
}
