package main

import (
	"context"
	"encoding/json"
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
	ID   deployID `arg:"" name:"id" help:"The deploy's number, or head."`
	JSON bool     `help:"Print one JSON object: id, hash, foreign, signed, and the record as it is stored."`
}

func (c *showCmd) Run(ctx context.Context, a *app) error {
	return c.readDeploy(ctx, a, c.ID, func(_ *store.Chain, d *record.Deploy, out io.Writer) error {
		if c.JSON {
			return writeJSON(out, describe(d))
		}
		return show(out, d, a.now())
	})
}

// deployJSON is a deploy for programs.
type deployJSON struct {
	ID      record.ID       `json:"id"`
	Hash    record.Hash     `json:"hash"`    // "" for a foreign deploy without one
	Foreign bool            `json:"foreign"` // another writer made it
	Signed  bool            `json:"signed"`  // there is a signature; it is not verified
	Record  json.RawMessage `json:"record"`  // as stored; null for a foreign deploy
}

func describe(d *record.Deploy) deployJSON {
	return deployJSON{ID: d.ID, Hash: d.Hash, Foreign: d.Record == nil, Signed: d.Signature != nil, Record: d.RecordBytes}
}

func show(w io.Writer, d *record.Deploy, now time.Time) error {
	if d.Record == nil {
		hash := string(d.Hash)
		if hash == "" {
			hash = "none"
		}
		_, err := fmt.Fprintf(w, "id: %d\nhash: %s\nkind: foreign, made by another writer: there is no record\n",
			d.ID, text.Printable(hash))
		return err
	}
	signature, sigErr := describeSignature(d)
	for _, fact := range append(facts(d.Record, now), [2]string{"signature", signature}) {
		value := text.Printable(fact[1])
		if value == "" {
			value = "-"
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", fact[0], value); err != nil {
			return err
		}
	}
	return sigErr
}

// facts are the record's fields under their own names, in its order.
func facts(r *record.Record, now time.Time) [][2]string {
	var settings []string
	for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
		settings = append(settings, name+"="+r.Settings[name])
	}
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
	path := r.Path
	if path == "" {
		path = "the whole tree"
	}
	return [][2]string{
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
		{"settings", strings.Join(settings, ", ")},
		{"previous_hash", string(r.PreviousHash)},
		{"previous_record", previous},
		{"repository", r.Repository},
		{"target", r.Target},
		{"ref", r.Ref},
		{"commits", strconv.Itoa(r.Commits)},
		{"subject", r.Subject},
		{"author", r.Author},
		{"pusher", pusher},
		{"reason", r.Reason},
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
	key, err := keys.Verify("refship", d.RecordBytes, d.Signature)
	if err != nil {
		return "present, but it does not cover this record",
			fault.Newf(fault.Corrupt, "verify deploy %s: signature does not cover the record: %w", d.ID, err)
	}
	return "present, by " + ssh.FingerprintSHA256(key), nil
}
