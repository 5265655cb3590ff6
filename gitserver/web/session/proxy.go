package session

import (
	"net/netip"

	"golang.org/x/net/http/httpguts"

	"refship/deploy/fault"
)

// ParseProxies reads addresses and networks: 10.0.0.7, 10.0.0.0/24, 2001:db8::/32. One of all addresses is refused.
func ParseProxies(list []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" {
				return nil, fault.Newf(fault.Usage, "%q is neither an address nor a network such as 10.0.0.0/24", text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if addr := prefix.Addr(); addr.Is4In6() { // requests are compared without that form
			if prefix.Bits() < 96 {
				return nil, fault.Newf(fault.Usage, "%q is neither a network of IPv4 nor one of IPv6", text)
			}
			prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
		}
		if prefix.Bits() == 0 {
			return nil, fault.Newf(fault.Usage, "%q is every address: everybody could say who they are", text)
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}

// CheckHeader says what keeps a text from being the name of a user header.
func CheckHeader(name string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fault.Newf(fault.Usage, "%q is no header's name", name)
	}
	return nil
}

// remoteAddr is the address of a request's other end, as [net/http.Request].RemoteAddr has it.
func remoteAddr(remote string) netip.Addr {
	both, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{} // which is in no network, and not this machine's
	}
	return both.Addr().Unmap().WithZone("")
}

func (d *Door) isProxy(addr netip.Addr) bool {
	for _, proxy := range d.cfg.Proxies {
		if proxy.Contains(addr) {
			return true
		}
	}
	return false
}
