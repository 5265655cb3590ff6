package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"refship/deploy/disk"
	"refship/hooks/target"
)

const (
	// maxEntries and maxBytes are what a queue holds.
	maxEntries, maxBytes = 1000, 4 << 20
	// keepFor is for how long it is tried to deliver an entry.
	keepFor = 24 * time.Hour
)

// queue is what one receiver has yet to hear, in a directory of its own: see the package's format.
type queue struct {
	gitDir, dir string // the repository, and the directory in it
	entries     int    // that it holds at most
	bytes       int64

	mu   sync.Mutex
	wake chan struct{} // has an element when something may be there
}

// entry is one event in a queue.
type entry struct {
	name string // of its file
	size int64

	Queued time.Time       `json:"queued"`
	Body   json.RawMessage `json:"body"`
}

func newQueue(at Place, to target.Receiver) *queue {
	sum := sha256.Sum256([]byte(to.Text))
	return &queue{
		gitDir: at.GitDir, dir: filepath.Join(at.dir(), queuePrefix+hex.EncodeToString(sum[:8])),
		entries: maxEntries, bytes: maxBytes, wake: make(chan struct{}, 1),
	}
}

// clean removes what a crash has left half written.
func (q *queue) clean() error {
	files, err := os.ReadDir(q.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if disk.IsTemporary(f.Name()) {
			err = errors.Join(err, q.remove(f.Name()))
		}
	}
	return err
}

// number is the place of an entry by its file's name, "00000000000000000007-<id>"; 0: it is no entry.
func number(name string) uint64 {
	digits, _, _ := strings.Cut(name, "-")
	if len(digits) != 20 {
		return 0
	}
	n, _ := strconv.ParseUint(digits, 10, 64) // 0 with an error, too
	return n
}

// list gives the entries, the oldest first, without what is in them.
func (q *queue) list() ([]entry, error) {
	files, err := os.ReadDir(q.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, f := range files { // sorted by name
		info, err := f.Info()
		if number(f.Name()) == 0 || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, entry{name: f.Name(), size: info.Size()})
	}
	return all, nil
}

// add puts an event at the end, on disk when it returns; nothing happens if it is there already. A full queue gives up
// its oldest entries, which it returns. An event that is not must takes no more than half of the queue: then
// errCrowded.
func (q *queue) add(id string, body []byte, now time.Time, must bool) (givenUp []string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, err := q.list()
	if err != nil {
		return nil, err
	}
	next, total := uint64(1), int64(0)
	for _, e := range all {
		if strings.HasSuffix(e.name, "-"+id) {
			return nil, nil
		}
		next, total = number(e.name)+1, total+e.size
	}
	encoded, err := json.Marshal(&entry{Queued: now, Body: body})
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	total += int64(len(encoded))
	if !must && (len(all)+1 > q.entries/2 || total > q.bytes/2) {
		return nil, errCrowded
	}
	if err := makeDirs(q.gitDir, q.dir); err != nil {
		return nil, err
	}
	path := filepath.Join(q.dir, fmt.Sprintf("%020d-%s", next, id))
	if err := disk.WriteFile(path, encoded, 0o600); err != nil {
		return nil, err
	}
	for i := 0; i < len(all) && (len(all)-i+1 > q.entries || total > q.bytes); i++ {
		if err := q.remove(all[i].name); err != nil {
			return givenUp, err
		}
		total -= all[i].size
		givenUp = append(givenUp, all[i].name)
	}
	q.poke()
	return givenUp, nil
}

// errCrowded: more is waiting than an event that anybody may cause can be added to.
var errCrowded = errors.New("half of the queue is taken")

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// oldest reads the first entry; nil if there is none. One that cannot be read as an entry has no body.
func (q *queue) oldest() (*entry, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, err := q.list()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	e := &all[0]
	content, err := disk.ReadFile(filepath.Join(q.dir, e.name), maxBytes)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(content, e) != nil {
		e.Body = nil
	}
	return e, nil
}

// remove takes an entry out. After a crash it may be there again.
func (q *queue) remove(name string) error {
	err := os.Remove(filepath.Join(q.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
