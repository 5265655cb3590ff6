// Package mgmt makes of a git tree what a running mgmt cluster reads of a deploy, and reads it back.
//
// The facts are those of mgmt 1.1.0-140-g60c024dd (August 2026), read off what its own `mgmt deploy` wrote and by
// letting it run deploys that another program wrote. The dumps are in testdata/golden. What is marked [code] was read
// in mgmt's source and not tried out.
//
// # Words
//
// A frontend is how mgmt reads a deploy: lang (its language, mcl), yaml (a graph in one file), puppet (a manifest, up
// to mgmt 1.1.0), empty (nothing is run). The payload tells frontend, settings, and where the superblock is; the
// superblock is the list of files. NS is the namespace that mgmt keeps everything in, /_mgmt. Its client adds and
// removes NS by itself, so what stands in values is without NS. The entry file is the one that mgmt starts with.
//
// # Keys
//
//	NS/deploy/<N>/payload               base64 of the payload
//	NS/deploy/<N>/hash                  the deploy hash, raw, no line feed; absent after `mgmt deploy --no-git`
//	NS/fs/deploy/<N>-<uuid>             the superblock, as it is; none with empty, and for a puppet agent
//	NS/storage/{sha256}<64 hex digits>  a file's content, raw; the braces are literal; shared by all deploys
//
// N is decimal and counts from 1 without gaps; mgmt reads the highest one only, and may skip one that is soon followed.
// Contents and superblock have to be there no later than the payload: where a superblock is missing, mgmt writes an
// empty one and never looks again. The empty content need not be there.
//
// Below NS/deploy/ a key has exactly two more elements, and the first is a number:
//
//	NS/deploy/7/payload            read by mgmt
//	NS/deploy/7/<anything else>    ignored by mgmt, while it runs and when it starts
//	NS/deploy/latest               every running mgmt ignores EVERY deploy from then on, and a starting one exits
//	NS/deploy/7/meta/x             the same
//	NS/deploy/seven/payload        the same
//
// Every change below NS/deploy/ wakes every mgmt, and each then reads all payloads. Other keys below NS do no harm,
// but these are mgmt's own: scheduler, resources, strings, converged, chooser, endpoints, nominated, volunteer.
// Package mgmttest holds keys to these rules.
//
// # Format
//
// Payload and superblock are one value each in Go's gob (the documentation of encoding/gob specifies it). The payload
// is written as one line of standard, padded base64. Fields are matched by name: their order, the names of the types
// and their numbers differ from one writer to the next and mean nothing, so values are compared decoded, never as
// bytes. The one name that counts is that of an interface's type. These are the structs:
//
//	payload:     ID uint64         0: a reader takes N
//	             Name string       "lang", "yaml", "puppet" or "empty"; mgmt does not look at it [code]
//	             Noop bool
//	             Sema int          only > 0 has an effect; mgmt writes -1 for none
//	             NoAutoEdges bool
//	             NoAutoGroup bool
//	             GAPI interface    one of four types, registered under these names:
//	               "*gapi.GAPI"       lang:  InputURI string, Data *Data
//	                                         Data: UnificationStrategy map[string]string
//	               "*yamlgraph.GAPI"  yaml:  InputURI string
//	               "*puppet.GAPI"     puppet: InputURI string, Mode string: "file" or "agent"
//	               "*empty.GAPI"      empty: Wait bool
//
//	superblock:  DataPrefix string  "/storage"
//	             Hash string        "sha256"
//	             Tree *File         the root
//	File:        Path string        ONE element of a path without any slash, also of a directory; "" for the root
//	             Mode uint32        as os.FileMode: 0x80000000 is set in directories, and nowhere else
//	             ModTime time.Time  may be zero
//	             Children []*File   of a directory
//	             Hash string        sha256 of a file's content in lower-case hex; "" in a directory
//
// InputURI is "etcdfs://" and the superblock's key without NS, which makes three slashes. UnificationStrategy has to
// be a map, which may be empty, and not nil: otherwise mgmt logs "lang struct was not built properly" and goes on
// with what it ran before. Permission bits mean nothing to mgmt; we write 0644, 0755 for executable files and
// directories, and none for the root. There are no links: `mgmt deploy` writes the content that a link leads to, with
// the mode of a link, 0x080001ff. A reader has to take that for a file.
//
// A file is one value of etcd, and so is the superblock. A stock etcd takes 1.5 MiB a request. The superblock has about
// 96 bytes a file with short names: some 16,000 files.
//
// # What mgmt starts with
//
// With lang, /metadata.yaml. Of its keys mgmt reads main (the entry file; "main.mcl" by default), files (a directory;
// "files/" by default), path (a directory; no default), license, parentpathblock. Directories need a slash at their end
// [code]. Where a tree has none, Lay adds one with the entry file's name and nothing else:
//
//	main: "main.mcl"
//
// The one that mgmt adds beside a lone file empties files and path, too. With yaml, mgmt reads /start.yaml.
//
// lang finds modules that its code imports by URL below /modules/ [code]. With Options.Modules another directory of the
// tree is laid out there, too. A UnificationStrategy may have the keys "name" (of a solver) and "optimizations" (words
// with commas) [code].
//
// With Options.VersionFile, lang's tree has one file more, of the content that is given: the deploy's hash, which code
// reads as deploy.readfile("/files/version") and hosts write to NS/strings/refship/<hostname>, by a kv resource that is
// mapped.
//
// With puppet, it opens no file in mode agent: the payload has an InputURI, and there is no superblock. In mode file it
// opens /file.pp, whatever the manifest was called, and /puppet.conf if that is there. Its own command knows two modes
// more: string, which is read as file is, and dir, which mgmt answers with "not implemented".
//
// # Example
//
// What mgmt wrote for testdata/golden/yaml.input, a graph of 149 bytes. Each paragraph is one message: its length, its
// type (odd: a definition of the type with the next number), and fields, each after the distance from the one before;
// a zero ends a struct. Lengths and numbers below 128 are one byte; ff, fe, fc announce 1, 2, 4 bytes of a number. The
// payload, without base64, begins with the definition of Deploy: seven fields with name and type (6 is uint, 0c string,
// 2 bool, 4 int, 10 interface).
//
//	5f ff 87 03 01 01 06 44 65 70 6c 6f 79 01 ff 88 00 01 07 01 02 49 44 01 06 00 01 04 4e 61 6d 65
//	01 0c 00 01 04 4e 6f 6f 70 01 02 00 01 04 53 65 6d 61 01 04 00 01 0b 4e 6f 41 75 74 6f 45 64 67
//	65 73 01 02 00 01 0b 4e 6f 41 75 74 6f 47 72 6f 75 70 01 02 00 01 04 47 41 50 49 01 10 00 00 00
//
// The value: the second field is "yaml", the fourth is -1, the seventh an interface that holds a "*yamlgraph.GAPI".
// Before the value of that, its type is defined, with one field.
//
//	3a ff 88 02 04 79 61 6d 6c 02 01 03 0f 2a 79 61 6d 6c 67 72 61 70 68 2e 47 41 50 49
//	ff 89 03 01 01 04 47 41 50 49 01 ff 8a 00 01 01 01 08 49 6e 70 75 74 55 52 49 01 0c 00 00 00
//
// Its value has 3d bytes: the first field is "etcdfs:///fs/deploy/1-1b074858-5f1a-481d-9723-a289bbc828a9".
//
//	41 ff 8a 3d 01 3a 65 74 63 64 66 73 3a 2f 2f 2f 66 73 2f 64 65 70 6c 6f 79 2f 31 2d 31 62 30 37 34 38 35 38
//	2d 35 66 31 61 2d 34 38 31 64 2d 39 37 32 33 2d 61 32 38 39 62 62 63 38 32 38 61 39 00 00
//
// The superblock is at the key that this names. It begins with four definitions: superBlock, File, Time (which encodes
// itself: bytes with a length), and []*fs.File.
//
//	39 7f 03 01 01 0a 73 75 70 65 72 42 6c 6f 63 6b 01 ff 80 00 01 03 01 0a 44 61 74 61 50 72 65 66 69 78 01 0c 00
//	01 04 48 61 73 68 01 0c 00 01 04 54 72 65 65 01 ff 82 00 00 00
//
//	48 ff 81 03 01 01 04 46 69 6c 65 01 ff 82 00 01 05 01 04 50 61 74 68 01 0c 00 01 04 4d 6f 64 65 01 06 00
//	01 07 4d 6f 64 54 69 6d 65 01 ff 84 00 01 08 43 68 69 6c 64 72 65 6e 01 ff 86 00 01 04 48 61 73 68 01 0c 00 00 00
//
//	10 ff 83 05 01 01 04 54 69 6d 65 01 ff 84 00 00 00
//
//	19 ff 85 02 01 01 0a 5b 5d 2a 66 73 2e 46 69 6c 65 01 ff 86 00 01 ff 82 00 00
//
// The value has 83 (hex) bytes: "/storage", "sha256", and the root. Of the root, Path is not there, Mode is 80000000,
// and Children, two fields further, has one element: Path "start.yaml", Mode 1b6 (octal 666), ModTime with 0f bytes,
// and, two fields further, Hash of 40 (hex) digits. Three zeros end that file, the root, and the superblock.
//
//	ff 83 ff 80 01 08 2f 73 74 6f 72 61 67 65 01 06 73 68 61 32 35 36 01 02 fc 80 00 00 00 02 01
//	01 0a 73 74 61 72 74 2e 79 61 6d 6c 01 fe 01 b6 01 0f 01 00 00 00 0e e2 95 ef 76 38 7e eb af 00 00
//	02 40 62 64 38 61 33 35 35 35 64 64 35 31 32 64 37 38 66 63 65 66 37 64 31 62 65 32 39 39 30 31
//	35 38 30 39 63 61 30 37 66 38 37 34 35 32 35 64 61 36 38 34 32 64 36 34 32 66 39 33 35 30 64 35 34 39 00 00 00
//
// # Invariants
//
//   - What Lay gives, mgmt can read: every file is in Layout's Root with its sha256 and fits one value, and the entry
//     file is one of them. Everything else is refused, with the path, what is wrong, and what to do.
//   - A link is written as the file that it leads to, content and mode. It leads to a file inside the tree, or the
//     tree is refused. Submodules are left out, and listed.
//   - The same tree and options give the same layout; in one process, also the same bytes.
//   - What is read back may be anybody's: its size, its kinds of values and how deep they nest are looked at before gob
//     reads it.
//   - No tree keeps Lay busy: its steps are bounded, whatever the tree has, and it ends early with its context. Each
//     directory is read once.
//
// # Concurrency
//
// All functions may be called at the same time. Types are plain values. gob knows types by name for the whole
// process: the first payload that is encoded registers mgmt's four names. In a program that holds mgmt
// itself they are taken, and both are errors.
package mgmt
