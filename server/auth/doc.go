// Package auth knows API keys: who they are, and what they may do. Keys lie in a file, as hashes; a key is shown once, when it is made.
//
//	keys, bootstrap, err := auth.Open("keys.json") // makes the file, with a key that may do everything, if there is none
//	who, err := keys.Authenticate(secret)
//	err = who.May(auth.Access{Store: "shop", Operation: auth.Append, Streams: []string{"order-1"}})
//
// A file that changes is read again within a second, so that a key that is revoked ends with what it has open.
package auth
