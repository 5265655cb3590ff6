// Package webhook sends one HTTP request that tells another program something, and signs what it tells.
//
// # Format
//
// A request may have a body. With a secret it has the header that GitHub's webhooks have, and many programs check:
//
//	X-Hub-Signature-256: sha256=<HMAC-SHA256 of the body's bytes, keyed with the secret's, in hex>
//
// GitHub's own example: the secret "It's a Secret to Everybody" and the body "Hello, World!" give
//
//	sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17
//
// # Invariants
//
//   - No error and no answer names the URL, which may be a secret itself.
//   - No redirect to another method is followed, and none at all without [Request.Redirects]: a body and its signature
//     go to the URL that the operator gave, and nowhere else.
//   - Of an answer only the start is read, and nothing in it can do anything to a terminal.
//
// # Concurrency
//
// A Request does not change, and may be sent many times at once.
package webhook
