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
	"refship/keys"
)

type showCmd struct {
	chainFlags
	ID   deployName `arg:"" optional:"" name:"deploy" help:"${deploy}"`
	JSON bool       `help:"Print one JSON object: id, hash, foreign, signed, the record as it is stored, and what mgmt reads of a foreign deploy."`
}

func (c *showCmd) Run(ctx context.Context, a *app) error {
	return c.readDeploy(ctx, a, c.ID, false, func(chain *store.Chain, d *record.Deploy, out io.Writer) error {
		var foreign *foreignJSON
		var unread error
		if d.Record == nil {
			foreign, unread = readForeign(ctx, chain, d)
		}
		var err error
		switch all := describe(d); {
		case c.JSON:
			all.Mgmt = foreign
			err = writeJSON(out, all)
		case d.Record == nil:
			err = showForeign(out, d, foreign)
		default:
			err = show(out, d, a.now())
		}
		return errors.Join(err, unread)
	})
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
