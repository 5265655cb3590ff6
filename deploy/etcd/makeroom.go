package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// workSpeed is how many bytes of its database a member compacts or defragments a second, from a slow disk.
const workSpeed = 10 << 20

// workGrace is how long that may take beside: an embedded etcd waits for a moment without a push.
const workGrace = 2 * time.Minute

// ReasonNotRoot: etcd has authentication on, and lets only a user with the role root do that.
const ReasonNotRoot fault.Reason = "etcd-not-root"

// Made is the room that MakeRoom has made.
type Made struct {
	Won    int64    // bytes by which the largest member's database has become smaller
	Space  Space    // of the largest member, now
	Missed []string // the names of members that no endpoint reaches: they were not defragmented
}

// MakeRoom frees in an etcd's databases what overwritten and deleted keys take: it compacts to the current revision,
// defragments one member after the other, and takes the alarm NOSPACE back. A client that reads at an older revision,
// or watches from one, is told that it is compacted. While a member defragments, it answers nothing.
//
// The client needs an endpoint for each member: an in-process client has none. With authentication on it needs a user
// with the role root, else the error is ErrDenied with ReasonNotRoot. Errors are classified.
func MakeRoom(ctx context.Context, client *Client) (Made, error) {
	members, missed, err := reach(ctx, client)
	if err != nil {
		return Made{}, fmt.Errorf("make room in etcd: %w", asNotRoot(err))
	}
	made := Made{Missed: missed}
	before := largest(members).Used
	if err := compact(ctx, client, members); err != nil {
		return made, fmt.Errorf("compact etcd: %w", asNotRoot(err))
	}
	for i := range members {
		if err := members[i].defragment(ctx, client); err != nil {
			return made, fmt.Errorf("defragment etcd %s: %w", members[i].endpoint, asNotRoot(err))
		}
	}
	made.Space = largest(members)
	made.Won = max(0, before-made.Space.Used)
	made.Space.NoSpace = false
	return made, Disarm(ctx, client)
}

// Disarm takes the alarm NOSPACE back, of all members: etcd itself keeps it, through any restart and with any quota. It
// comes on again with the next write that has no room. Other alarms stay. Errors are as those of MakeRoom.
func Disarm(ctx context.Context, client *Client) error {
	var alarms *clientv3.AlarmResponse
	err := patience{client}.try(ctx, func(ctx context.Context) (err error) {
		alarms, err = client.AlarmList(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("list etcd's alarms: %w", asNotRoot(err))
	}
	for _, alarm := range alarms.Alarms {
		if alarm.Alarm != etcdserverpb.AlarmType_NOSPACE {
			continue
		}
		if err := (patience{client}).try(ctx, func(ctx context.Context) error {
			_, err := client.AlarmDisarm(ctx, (*clientv3.AlarmMember)(alarm))
			return err
		}); err != nil {
			return fmt.Errorf("disarm etcd's alarm NOSPACE: %w", asNotRoot(err))
		}
	}
	return nil
}

// reached is a member that an endpoint leads to.
type reached struct {
	endpoint string
	status   *clientv3.StatusResponse
}

// reach asks each endpoint for its member, and etcd for those that none leads to. Learners are left out: they refuse.
func reach(ctx context.Context, client *Client) (found []reached, missed []string, err error) {
	var list *clientv3.MemberListResponse
	if err := (patience{client}).try(ctx, func(ctx context.Context) (err error) {
		list, err = client.MemberList(ctx)
		return err
	}); err != nil {
		return nil, nil, err
	}
	voters := map[uint64]string{}
	for _, member := range list.Members {
		if !member.IsLearner {
			voters[member.ID] = member.Name
		}
	}
	endpoints := client.Endpoints()
	statuses, errs := make([]*clientv3.StatusResponse, len(endpoints)), make([]error, len(endpoints))
	ctx, cancel := context.WithTimeout(ctx, electionTime)
	defer cancel()
	var asked sync.WaitGroup
	for i, endpoint := range endpoints {
		asked.Go(func() { statuses[i], errs[i] = client.Status(ctx, endpoint) })
	}
	asked.Wait()
	for i, status := range statuses {
		if status == nil {
			continue
		}
		if _, isNew := voters[status.Header.MemberId]; isNew {
			delete(voters, status.Header.MemberId)
			found = append(found, reached{endpoints[i], status})
		}
	}
	if len(found) == 0 {
		return nil, nil, errors.Join(append(errs, fault.New(fault.Unavailable, "no endpoint leads to a member", ""))...)
	}
	return found, slices.Sorted(maps.Values(voters)), nil
}

func (r *reached) space() Space { return spaceOf(r.status) }

func largest(all []reached) (most Space) {
	for i := range all {
		if space := all[i].space(); space.Used >= most.Used {
			most = space
		}
	}
	return most
}

// workTime is how long a member may take to compact, and to defragment.
func workTime(size int64) time.Duration {
	return workGrace + time.Duration(size/workSpeed)*time.Second
}

// compact compacts to the revision that the members had, and waits until that is done, by the member that gets the
// request. One that is sent again does not wait, so it is not cut off as others are.
func compact(ctx context.Context, client *Client, members []reached) error {
	ctx, cancel := context.WithTimeout(ctx, workTime(largest(members).Used))
	defer cancel()
	var revision int64
	for _, m := range members {
		revision = max(revision, m.status.Header.Revision)
	}
	for start := time.Now(); ; {
		_, err := client.Compact(ctx, revision, clientv3.WithCompactPhysical())
		switch {
		case errors.Is(asEtcd(err), rpctypes.ErrCompacted):
			return nil
		case err == nil || !isTransient(err) || time.Since(start) > electionTime || !sleep(ctx, firstPause):
			return err
		}
	}
}

// defragment defragments one member, and reads how large it is now. The member writes all that it holds a second time.
func (r *reached) defragment(ctx context.Context, client *Client) (err error) {
	if dir := SocketDir(r.endpoint); dir != "" {
		space, err := ReadSpace(ctx, client)
		if err == nil {
			err = checkDisk(dir, space.InUse)
		}
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, workTime(r.status.DbSize))
	defer cancel()
	if _, err := client.Defragment(ctx, r.endpoint); err != nil {
		return err
	}
	r.status, err = client.Status(ctx, r.endpoint)
	return err
}

// checkDisk refuses what would fill the disk of an etcd on this machine: its log must go on.
func checkDisk(dir string, need int64) error {
	free, err := disk.Free(dir)
	if err != nil {
		return err
	}
	if need += 2 * LogFile; free < need {
		return fault.New(fault.Unavailable, fmt.Sprintf("it needs %s on the disk of %s, and %s are free", text.Size(need),
			dir, text.Size(free)), "free some space there")
	}
	return nil
}

// asNotRoot is Classify, for what only root may do.
func asNotRoot(err error) error {
	if !errors.Is(asEtcd(err), rpctypes.ErrPermissionDenied) {
		return Classify(err)
	}
	return classified(ErrDenied, err, advice{"etcd lets only a user with the role root do that", ReasonNotRoot})
}
