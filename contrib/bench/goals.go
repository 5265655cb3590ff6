package main

import "slices"

// goal is a bound that refship means to keep.
type goal struct {
	Name  string
	Most  float64
	Least bool // Most is the least that it may be
	Of    key  // the figure itself, if Over is empty, or the dividend
	Over  *key // the divisor
}

// ratio is a goal for two figures, of which the first may be at most so many times the second.
func ratio(name string, most float64, of, over key) goal {
	return goal{Name: name, Most: most, Of: of, Over: &over}
}

// oneFileGoals are those of pushes to a repository that holds a corpus.
func oneFileGoals(p *plan) (all []goal) {
	for _, size := range p.sizes {
		one := func(name string) key { return key{"one file", size, name, "ms"} }
		nothing := func(name string) key { return key{"nothing to push", size, name, "ms"} }
		if size == "X" { // its deploy phase has a goal, below
			continue
		}
		all = append(all,
			ratio("one file, "+size+": refship / sshd", 0.20, one(embeddedName), one(sshdName)),
			ratio("one file, "+size+": refship / sshd with curve25519", 0.30, one(embeddedName), one(curveName)),
			ratio("one file, "+size+": refship / refship without a target", 1.10, one(embeddedName), one(plainName)),
			ratio("nothing to push, "+size+": refship / refship without a target", 1.05, nothing(embeddedName),
				nothing(plainName)))
	}
	phase := func(size string) key { return key{"deploy phase of one file", size, embeddedName, "ms"} }
	for _, size := range p.sizes[1:] {
		most := 1.2
		if size == "X" {
			most = 1.5
		}
		all = append(all, ratio("deploy phase of one file: "+size+" / S", most, phase(size), phase("S")))
	}
	return all
}

// firstGoals are those of first pushes, and of how fast their contents are stored.
func firstGoals(p *plan) []goal {
	var all []goal
	for _, size := range []string{p.large + looseName, p.large} {
		if !slices.Contains(p.firsts, size) {
			continue
		}
		first := func(name string) key { return key{"first push", size, name, "ms"} }
		all = append(all,
			ratio("first push of "+size+": refship / sshd", 1.10, first(embeddedName), first(sshdName)),
			ratio("first push of "+size+": refship with an external etcd / sshd", 1.15, first(externalName), first(sshdName)))
	}
	for _, size := range []string{p.large, "R"} {
		if !slices.Contains(p.firsts, size) {
			continue
		}
		content := func(name string) key { return key{firstContent, size, name, "MB/s"} }
		puts := func(name string) key { return key{ownPuts, size, name, "MB/s"} }
		embedded := ratio("content of a first "+size+" in the deploy phase / the embedded etcd's own puts", 2,
			content(embeddedName), puts(embeddedName))
		// The embedded etcd is set for refship's writes of 1 MiB, and is slow at single puts.
		usual := ratio("the same / the external etcd's own puts, "+size, 2, content(embeddedName), puts(externalName))
		external := ratio("the same with an external etcd / its own puts, "+size, 1.5, content(externalName),
			puts(externalName))
		embedded.Least, usual.Least, external.Least = true, true, true
		all = append(all, embedded, usual, external)
	}
	return all
}

func growthGoals(p *plan) []goal {
	return []goal{{
		Name: "growth of the database by one file in " + p.large + ", KiB", Most: 48,
		Of: key{growthOf, p.large, embeddedName, "KiB"},
	}}
}

func memoryGoals(p *plan) []goal {
	own := func(n string) key { return key{ownMemory + n, p.large, embeddedName, "MiB"} }
	return []goal{
		{
			Name: "peak memory of the server's process in a first push of " + p.large + ", MiB", Most: 450e6 / (1 << 20),
			Of: key{peakMemory, p.large, embeddedName, "MiB"},
		},
		ratio("own memory after four pushes of new content / after one", 1.2, own("4"), own("1")),
	}
}

func checkoutGoals(p *plan) (all []goal) {
	for _, size := range p.smallAndLarge() {
		most := 1.0
		if size == p.large && size != "S" {
			most = 0.5
		}
		checkout := func(name string) key { return key{"checkout", size, name, "ms"} }
		all = append(all, ratio("checkout of "+size+": refship / git clone --depth 1", most, checkout(checkoutName),
			checkout(cloneName)))
	}
	return all
}

func nodeGoals(p *plan) []goal {
	switched := func(size string) key { return key{nodeSwitch, size, agentName, "ms"} }
	return []goal{
		{Name: "publish to switched of one file in S, ms", Most: 50, Of: switched("S")},
		ratio("publish to switched of one file in "+p.large+" / cp -a of the tree", 1.5, switched(p.large),
			key{nodeCopy, p.large, copyName, "ms"}),
	}
}

func historyGoals(*plan) []goal {
	many := func(what, name string) key { return key{what + " after many", "S", name, "ms"} }
	return []goal{
		ratio("push after many pushes / after ten", 1.2, many("push", "old"), many("push", "young")),
		ratio("log -n 20 after many pushes / after ten", 1.2, many("log -n 20", "old"), many("log -n 20", "young")),
		ratio("clone after many pushes / of the same commits in one pack", 1.3, many("clone", "old"),
			many("clone", "one pack")),
	}
}

// reached is a goal beside what was measured.
type reached struct {
	Goal string  `json:"goal"`
	Must string  `json:"must"` // such as "≤ 0.20"
	Is   float64 `json:"is"`
	Met  bool    `json:"met"`
}

// judge gives a goal's figure; false: it was not measured.
func (r *results) judge(g goal) (reached, bool) {
	is, measured := r.median(g.Of)
	if measured && g.Over != nil {
		var over float64
		if over, measured = r.median(*g.Over); measured {
			is /= over
		}
	}
	sign, met := "≤ ", is <= g.Most
	if g.Least {
		sign, met = "≥ ", is >= g.Most
	}
	return reached{g.Name, sign + number(g.Most), is, met}, measured
}
