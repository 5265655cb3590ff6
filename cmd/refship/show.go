package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/keys"
)

type showCmd struct {
	chainFlags
	ID   deployName `arg:"" optional:"" name:"deploy" help:"${deploy}"`
	JSON bool       `help:"Print one JSON object: id, hash, foreign, signed, the record as it is stored, what mgmt reads of a foreign deploy, the commits that it brought, and how many files changed since the deploy before."`
}

func (c *showCmd) Run(ctx context.Context, a *app) error {
	return c.readDeploy(ctx, a, c.ID, false, func(chain *store.Chain, d *record.Deploy, out io.Writer) error {
		switch {
		case d.Record == nil:
			return c.showForeign(ctx, chain, d, out)
		case c.JSON:
			return showAsJSON(ctx, a, chain, d, out)
		}
		if err := show(out, d, a.now()); err != nil {
			return err
		}
		if err := showCertificate(ctx, chain, d, out); err != nil {
			return err
		}
		if err := showCommits(ctx, chain, d, out); err != nil {
			return err
		}
		_, err := showChanged(ctx, a, chain, d, out)
		return err
	})
}

// showAsJSON prints what is known of a deploy with a record, and then gives the error of what could not be read.
func showAsJSON(ctx context.Context, a *app, chain *store.Chain, d *record.Deploy, out io.Writer) error {
	brought, more, commitsErr := chain.NewCommits().Brought(ctx, d)
	changed, changedErr := showChanged(ctx, a, chain, d, io.Discard)
	all := showJSON{deployJSON: describe(d), Commits: describeCommits(brought), More: more, Changed: changed}
	return errors.Join(writeJSON(out, all), commitsErr, changedErr)
}

// showCertificate says who signed the push, where it was signed. Whether the key can be trusted is not looked at.
func showCertificate(ctx context.Context, chain *store.Chain, d *record.Deploy, out io.Writer) error {
	oid, err := tree.ParseOID(d.Record.PushCertificate)
	if err != nil {
		return nil //nolint:nilerr // "": it was not signed
	}
	data, err := chain.Object(ctx, "blob", oid)
	if err != nil {
		return err
	}
	by := "by another program than ssh, not looked at"
	if signed, signature := tree.SignedTag(data); keys.IsSSH(signature) {
		key, err := keys.Verify(keys.GitNamespace, signed, signature)
		if err != nil {
			return record.Corrupt(chain.ObjectKey(oid), err.Error())
		}
		by = "by " + ssh.FingerprintSHA256(key)
	}
	return writeFacts(out, [][2]string{{"push signed", by}})
}

// showCommits writes the commits that a deploy brought; nothing for a directory.
func showCommits(ctx context.Context, chain *store.Chain, d *record.Deploy, out io.Writer) error {
	brought, more, err := chain.NewCommits().Brought(ctx, d)
	if err != nil {
		return fmt.Errorf("read the commits of deploy %d: %w", d.ID, err)
	}
	lines := commitLines(brought, more)
	if len(lines) == 0 {
		return nil
	}
	_, err = fmt.Fprintf(out, "\nbrought:\n%s\n", strings.Join(lines, "\n"))
	return err
}

func (c *showCmd) showForeign(ctx context.Context, chain *store.Chain, d *record.Deploy, out io.Writer) error {
	foreign, unread := readForeign(ctx, chain, d)
	if c.JSON {
		all := describe(d)
		all.Mgmt = foreign
		return errors.Join(writeJSON(out, showJSON{deployJSON: all, Commits: describeCommits(nil)}), unread)
	}
	return errors.Join(showForeign(out, d, foreign), unread)
}

// showJSON is all that show tells of a deploy, for programs.
type showJSON struct {
	deployJSON
	Commits *[]commitJSON `json:"commits"`        // those that it brought and that are stored, newest first
	More    int           `json:"more,omitempty"` // as in loggedJSON
	Changed *changedJSON  `json:"changed"`        // null if not known, and for a foreign deploy
}

// deployJSON is a deploy for programs.
type deployJSON struct {
	ID       record.ID       `json:"id"`
	Hash     record.Hash     `json:"hash"`     // "" for a foreign deploy without one
	Foreign  bool            `json:"foreign"`  // another writer made it
	Signed   bool            `json:"signed"`   // there is a signature; it is not verified
	Damaged  string          `json:"damaged"`  // why it cannot be believed, "" if it can
	Restarts bool            `json:"restarts"` // the record begins a chain above others, which are damaged
	Record   json.RawMessage `json:"record"`   // as stored; null for a foreign or damaged deploy
	Mgmt     *foreignJSON    `json:"mgmt"`     // what mgmt reads of a foreign deploy; null for others
}

// foreignJSON is what mgmt reads of its own deploy. Nothing vouches for it.
type foreignJSON struct {
	Frontend   string            `json:"frontend"`
	Mode       string            `json:"mode"`       // of puppet
	Settings   map[string]string `json:"settings"`   // that are not mgmt's defaults
	Superblock string            `json:"superblock"` // its key without the namespace; "" if there is none
	Files      int               `json:"files"`
}

func readForeign(ctx context.Context, chain *store.Chain, d *record.Deploy) (*foreignJSON, error) {
	f, err := chain.Foreign(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("read deploy %d: %w", d.ID, err)
	}
	p := f.Payload
	settings := record.Settings{
		Noop: p.Noop, Sema: max(p.Sema, 0), NoAutoEdges: p.NoAutoEdges, NoAutoGroup: p.NoAutoGroup,
		UnifyName: p.UnifyName, UnifyOptimizations: p.UnifyOptimizations,
	}
	described := &foreignJSON{Frontend: p.Frontend, Mode: p.Mode, Settings: settings.Text(), Files: f.Root.Files()}
	if p.HasFiles() {
		described.Superblock = p.SuperblockPath()
	}
	return described, nil
}

func describe(d *record.Deploy) deployJSON {
	all := deployJSON{ID: d.ID, Hash: d.Hash, Signed: d.Signature != nil, Restarts: d.Restarts}
	switch {
	case d.Damage != nil:
		all.Damaged = d.Damage.Error()
	case d.Record == nil:
		all.Foreign = true
	default:
		all.Record = d.RecordBytes
	}
	return all
}

func show(w io.Writer, d *record.Deploy, now time.Time) error {
	signature, sigErr := describeSignature(d)
	all := append(facts(d.Record, now), [2]string{"signature", signature})
	if d.Restarts {
		all = append(all, [2]string{"note", fmt.Sprintf("the chain restarts at %d: the records below are damaged", d.ID)})
	}
	return errors.Join(writeFacts(w, all), sigErr)
}

// showForeign shows what mgmt reads of a deploy; f is nil if that cannot be read.
func showForeign(w io.Writer, d *record.Deploy, f *foreignJSON) error {
	hash := string(d.Hash)
	if hash == "" {
		hash = "none"
	}
	all := [][2]string{
		{"id", d.ID.String()}, {"hash", hash}, {"kind", "foreign, made by another writer: there is no record"},
	}
	if f != nil {
		frontend := f.Frontend
		if f.Mode != "" {
			frontend += ", mode " + f.Mode
		}
		all = append(all, [][2]string{
			{"frontend", frontend}, {"settings", settingWords(f.Settings)}, {"superblock", f.Superblock},
			{"files", strconv.Itoa(f.Files)}, {"verified", "no: nothing vouches for what etcd holds of it"},
		}...)
	}
	return writeFacts(w, all)
}

func writeFacts(w io.Writer, all [][2]string) error {
	for _, fact := range all {
		value := text.Printable(fact[1])
		if value == "" {
			value = "-"
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", fact[0], value); err != nil {
			return err
		}
	}
	return nil
}

func settingWords(settings map[string]string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		words = append(words, name+"="+settings[name])
	}
	return strings.Join(words, ", ")
}

// facts are the record's fields under their own names, in its order.
func facts(r *record.Record, now time.Time) [][2]string {
	previous := ""
	if r.PreviousRecord.ID != 0 {
		previous = fmt.Sprintf("%d, sha256 %s", r.PreviousRecord.ID, r.PreviousRecord.SHA256)
	}
	pusher := r.Pusher.Name
	if r.Pusher.Key != "" {
		pusher += ", " + r.Pusher.Key
	}
	if r.Pusher.Via != "" {
		pusher += ", via " + r.Pusher.Via
	}
	var undone []string
	for _, u := range r.Undone {
		undone = append(undone, fmt.Sprintf("%d %s", u.ID, u.Hash))
	}
	again := ""
	if r.Again != 0 {
		again = r.Again.String()
	}
	path := r.Path
	if path == "" {
		path = "the whole tree"
	}
	return [][2]string{
		{"namespace", string(r.Namespace)},
		{"chain", string(r.Chain)},
		{"id", r.ID.String()},
		{"kind", string(r.Kind)},
		{"forced", strconv.FormatBool(r.Forced)},
		{"hash", string(r.Hash)},
		{"path", path},
		{"tree", r.Tree.String()},
		{"tree_sha256", r.TreeSHA256.String()},
		{"tree_size", strconv.FormatInt(r.TreeSize, 10)},
		{"files", strconv.Itoa(r.Files)},
		{"frontend", string(r.Frontend)},
		{"settings", settingWords(r.Settings)},
		{"previous_hash", string(r.PreviousHash)},
		{"previous_record", previous},
		{"repository", r.Repository},
		{"target", r.Target},
		{"ref", r.Ref},
		{"tag", strings.TrimSpace(r.Tag.OID + " " + r.Tag.Key)},
		{"commits", strings.TrimSuffix(strings.TrimSuffix(record.CountCommits(r.Commits), "s"), " commit")},
		{"subject", r.Subject},
		{"author", r.Author},
		{"pusher", pusher},
		{"reason", r.Reason},
		{"again", again},
		{"undone", strings.Join(undone, ", ")},
		{"next_signer", r.NextSigner},
		{"push_certificate", r.PushCertificate},
		{"server", r.Server},
		{"signer", r.Signer},
		{"time", fmt.Sprintf("%s (%s)", r.Time.Format(time.RFC3339Nano), text.Age(now.Sub(r.Time)))},
	}
}

// describeSignature says who signed the record. A signature that does not cover the record is an error of kind
// Corrupt. Whether the key can be trusted is not looked at.
func describeSignature(d *record.Deploy) (string, error) {
	if d.Signature == nil {
		return "none", nil
	}
	key, err := keys.Verify(keys.Namespace, d.RecordBytes, d.Signature)
	if err != nil {
		return "present, but it does not cover this record",
			fault.Newf(fault.Corrupt, "verify deploy %s: signature does not cover the record: %w", d.ID, err)
	}
	return "present, by " + ssh.FingerprintSHA256(key), nil
}
