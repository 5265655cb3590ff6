package etcd

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// LogFile is how many bytes of the disk etcd takes at once for the next file of its log.
const LogFile = 64_000_000

// Space is how much an etcd holds and may hold, in bytes. Used is the size of its database file, which etcd compares
// with the quota: deleted keys count until compaction and defragmentation. InUse is what a defragmentation would leave
// of it, as far as it is compacted.
type Space struct {
	Used, InUse, Quota int64 // Quota 0: unknown (servers before 3.6) or none
	NoSpace            bool  // the NOSPACE alarm is on
}

// ReadSpace asks one member; an in-process client asks its own etcd. A member's status names the alarms of the whole
// cluster, and any user who has logged in may ask for it. (Not every server lets them list the alarms.) Errors are
// classified.
func ReadSpace(ctx context.Context, client *Client) (Space, error) {
	var status *clientv3.StatusResponse
	err := patience{client}.try(ctx, func(ctx context.Context) (err error) {
		status, err = readStatus(ctx, client)
		return err
	})
	if err != nil {
		return Space{}, fmt.Errorf("read etcd status: %w", Classify(err))
	}
	return spaceOf(status), nil
}

func spaceOf(status *clientv3.StatusResponse) Space {
	space := Space{Used: status.DbSize, InUse: status.DbSizeInUse, Quota: max(status.DbSizeQuota, 0)}
	for _, text := range status.Errors {
		space.NoSpace = space.NoSpace || strings.Contains(text, etcdserverpb.AlarmType_NOSPACE.String())
	}
	return space
}

// IsEmpty tells whether etcd holds no key at all. Errors are classified.
func IsEmpty(ctx context.Context, client *Client) (bool, error) {
	resp, err := Bounded(client).Get(ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
	if err != nil {
		return false, fmt.Errorf("read etcd: %w", err)
	}
	return len(resp.Kvs) == 0, nil
}
