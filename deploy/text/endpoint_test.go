package text

import "testing"

func TestEndpointsShowNoPassword(t *testing.T) {
	for endpoint, want := range map[string]string{
		"localhost:2379":                        "localhost:2379",
		"https://10.0.0.1:2379":                 "https://10.0.0.1:2379",
		"http://ada:secret@etcd:2379":           "http://…@etcd:2379",
		"http://ada:se/cr@t@etcd:2379":          "http://…@etcd:2379",
		"ada:secret@etcd:2379":                  "…@etcd:2379",
		"https://token@etcd:2379":               "https://…@etcd:2379",
		"ftp://ada:secret@etcd":                 "ftp://…@etcd",
		"unix:///run/user@1000/etcd.sock":       "unix:///run/user@1000/etcd.sock",
		"http://ada:unix://secret@etcd:2379/x?": "http://…@etcd:2379/x?",
	} {
		if got := Endpoints(endpoint); got != want {
			t.Errorf("%s is shown as %s", endpoint, got)
		}
	}
	for want, all := range map[string][]string{
		"":                              nil,
		"a:1, b:2":                      {"a:1", "b:2"},
		"http://a:1, http://…@b:2":      {"http://a:1", "http://u:p@b:2"},
		"http://a:1, http://…@b:2, c:3": {"http://a:1", "http://u:secret", "se,cret@b:2", "c:3"},
		"…@b:2":                         {"u:sec", "ret@b:2"},
	} {
		if got := Endpoints(all...); got != want {
			t.Errorf("%q are shown as %s", all, got)
		}
	}
}
