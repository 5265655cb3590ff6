module refship

go 1.26.0

require (
	// secrets in a deploy, decrypted on its nodes only: the format and tools that people have
	filippo.io/age v1.3.2
	// the page: colors pieces of code; what a language's words are is never our own
	github.com/alecthomas/chroma/v2 v2.27.0
	// the command line: commands, flags and help from one grammar, so that they cannot contradict each other
	github.com/alecthomas/kong v1.17.0
	// tests: finds out whether concurrent answers were linearizable, a search that is easy to get wrong
	github.com/anishathalye/porcupine v1.3.1
	// tests: the requests and events of a browser's own protocol, by type
	github.com/chromedp/cdproto v0.160.1
	// tests: drives a real browser, Chromium, over that protocol, and looks at what it shows
	github.com/chromedp/chromedp v0.23.1
	// tells systemd that the server is ready and that it stops
	github.com/coreos/go-systemd/v22 v22.7.0
	// tests: ends the clock of chroma's regular expressions, which is no goroutine that was left behind
	github.com/dlclark/regexp2/v2 v2.2.1
	// reads and prints sizes such as 1GiB; units and rounding are easy to get wrong
	github.com/dustin/go-humanize v1.0.1
	// the SSH server: sessions, channels and requests above x/crypto, which stops at the bare protocol
	github.com/gliderlabs/ssh v0.3.8
	// git's objects, parsed: commits, trees, modes. It never receives a push: the system's git does. In tests, a client
	github.com/go-git/go-git/v5 v5.19.3
	// tests: says how two values differ, readably
	github.com/google/go-cmp v0.7.0
	// makes the UUIDs in the names of mgmt's superblocks, as mgmt does
	github.com/google/uuid v1.6.0
	// signatures as ssh-keygen -Y makes them, so that stock tools can check refship's
	github.com/hiddeco/sshsig v0.2.0
	// bundles: zstd, which stock tools decompress, too, and with a bound on what is decompressed
	github.com/klauspost/compress v1.20.1
	// /metrics: its text format, histograms, and the metrics of Go and the process
	github.com/prometheus/client_golang v1.25.0
	// the diff between two contents, as diff -p shows it, in O(n log n); in tests, the scripts that run the program
	github.com/rogpeppe/go-internal v1.16.0
	// the file of etcd's database, looked at before etcd opens it: what is damaged there ends the process
	go.etcd.io/bbolt v1.5.0
	// etcd's requests and errors by type; matching their text would break with its next version
	go.etcd.io/etcd/api/v3 v3.7.3
	// etcd's own TLS settings, for its client and its server
	go.etcd.io/etcd/client/pkg/v3 v3.7.3
	// etcd's client: endpoints, authentication, leases, watches
	go.etcd.io/etcd/client/v3 v3.7.3
	// makes an etcd's files out of its snapshot, with higher revisions: they are etcd's own, and change with its versions
	go.etcd.io/etcd/etcdutl/v3 v3.7.3
	// the etcd inside refship serve; nothing else to install for a first push
	go.etcd.io/etcd/server/v3 v3.7.3
	// the entries of etcd's log, looked at before etcd opens it
	go.etcd.io/raft/v3 v3.7.0
	// tests: finds goroutines that were left behind
	go.uber.org/goleak v1.3.0
	// the embedded etcd logs with it and with nothing else; carried over into log/slog
	go.uber.org/zap v1.27.1
	// reads mgmt's metadata.yaml; YAML has too many special cases for a parser of our own
	go.yaml.in/yaml/v3 v3.0.5
	// SSH keys, and the protocol below gliderlabs/ssh; cryptography is never our own
	golang.org/x/crypto v0.58.0
	// the transparency log: its hashes, its proofs, and its signed heads, which others check with the same code
	golang.org/x/mod v0.41.0
	// a bound on the connections of an HTTP server, and what may be the name of a header; in tests, reads HTML
	golang.org/x/net v0.61.0
	// errgroup: goroutines that end together, with the first error; and semaphores
	golang.org/x/sync v0.24.0
	// Linux calls that the standard library lacks, such as openat2, waitid and statfs
	golang.org/x/sys v0.49.0
	// subject and author of a commit in another encoding than UTF-8; tables that are never our own
	golang.org/x/text v0.43.0
	// the codes of the errors that etcd's client hands on, and how it dials
	google.golang.org/grpc v1.83.2
	// reads those entries
	google.golang.org/protobuf v1.36.12
	// tests: random inputs, shrunk to small ones when they fail
	pgregory.net/rapid v1.3.0
)

require (
	dario.cat/mergo v1.0.0 // indirect
	filippo.io/edwards25519 v1.2.0 // indirect
	filippo.io/hpke v0.4.0 // indirect
	github.com/Microsoft/go-winio v0.6.2 // indirect
	github.com/ProtonMail/go-crypto v1.1.6 // indirect
	github.com/anmitsu/go-shlex v0.0.0-20200514113438-38f4b401e2be // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/cloudflare/circl v1.6.3 // indirect
	github.com/coreos/go-semver v0.3.1 // indirect
	github.com/cyphar/filepath-securejoin v0.6.1 // indirect
	github.com/emirpasic/gods v1.18.1 // indirect
	github.com/go-git/gcfg v1.5.1-0.20230307220236-3a3c6141e376 // indirect
	github.com/go-git/go-billy/v5 v5.9.2 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/golang/groupcache v0.0.0-20241129210726-2c02b8208cf8 // indirect
	github.com/golang/protobuf v1.5.4 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus v1.1.0 // indirect
	github.com/grpc-ecosystem/go-grpc-middleware/v2 v2.3.3 // indirect
	github.com/grpc-ecosystem/grpc-gateway/v2 v2.29.0 // indirect
	github.com/jbenet/go-context v0.0.0-20150711004518-d14ea06fba99 // indirect
	github.com/jonboulle/clockwork v0.5.0 // indirect
	github.com/kevinburke/ssh_config v1.2.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/pjbgf/sha1cd v0.7.0 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/sergi/go-diff v1.3.2-0.20230802210424-5b0b94c5c0d3 // indirect
	github.com/sirupsen/logrus v1.9.4 // indirect
	github.com/skeema/knownhosts v1.3.1 // indirect
	github.com/soheilhy/cmux v0.1.5 // indirect
	github.com/spf13/pflag v1.0.10 // indirect
	github.com/tmc/grpc-websocket-proxy v0.0.0-20220101234140-673ab2c3ae75 // indirect
	github.com/xanzy/ssh-agent v0.3.3 // indirect
	github.com/xiang90/probing v0.0.0-20221125231312-a49e3df8f510 // indirect
	go.etcd.io/etcd/pkg/v3 v3.7.3 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc v0.68.0 // indirect
	go.opentelemetry.io/otel v1.45.0 // indirect
	go.opentelemetry.io/otel/exporters/otlp/otlptrace v1.45.0 // indirect
	go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc v1.45.0 // indirect
	go.opentelemetry.io/otel/metric v1.45.0 // indirect
	go.opentelemetry.io/otel/sdk v1.45.0 // indirect
	go.opentelemetry.io/otel/trace v1.45.0 // indirect
	go.opentelemetry.io/proto/otlp v1.11.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	golang.org/x/time v0.15.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260803160001-6ac0973c030d // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260803160001-6ac0973c030d // indirect
	gopkg.in/natefinch/lumberjack.v2 v2.2.1 // indirect
	gopkg.in/warnings.v0 v0.1.2 // indirect
	k8s.io/utils v0.0.0-20260108192941-914a6e750570 // indirect
	sigs.k8s.io/yaml v1.6.0 // indirect
)
