package deploy

// What the tests of the package deploy_test look into.
var (
	EncodeRecord = (*Record).encode
	DecodeRecord = decodeRecord
	SubjectOf    = subjectOf
)
