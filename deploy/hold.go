package deploy

import (
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

// checkHold refuses while the chain is on hold.
func (c *Chain) checkHold(h *record.Hold) error {
	if h == nil {
		return nil
	}
	ask := ""
	if h.User != "" {
		ask = "ask " + text.Printable(record.Shorten(h.User)) + ": "
	}
	return fault.New(fault.Conflict, fmt.Sprintf("%s is on hold%s", c.ns, h),
		ask+"it deploys again when the key "+c.Key("hold")+" is gone from etcd")
}
