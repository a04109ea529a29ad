// Package privacy keeps personal data in events so that it can be erased, though events never change: it is stored encrypted, under a
// key for each subject, and who destroys the key destroys the data, in every copy and backup of the log.
//
//	type CustomerRegistered struct {
//		Customer string                   `json:"customer" annals:"customer,stream"`
//		Name     privacy.Personal[string] `json:"name"`
//	}
//
//	keys, err := privacy.OpenKeys(ctx, dir, master) // CreateKeys, the first time
//	store, err := privacy.Protect(ctx, store, keys)
//	log := annals.NewLog(store, schema)
//	_, err = log.Append(ctx, []Event{CustomerRegistered{"7", privacy.Of("customer-7", "Ann Archer")}})
//	_, err = store.Erase(ctx, "customer-7", "asked for it", nil)
//
// # What is encrypted
//
// Values of type [Personal], wherever they lie in an event that is stored as JSON: AES-256-GCM under the subject's key, bound to the
// event, the place and the subject. The nonce follows from all of these and from the value, so that an event that is sent again is the
// same bytes again, and no two values share a nonce. Names, types, tags, streams and times are not encrypted: do not put personal data
// there. A subject is an opaque name, such as "customer-7"; it stays.
//
// # Keys
//
// A key is made when the first value of its subject is stored. Keys lie in a [Keystore] of their own, enveloped under a [Master] key, and
// are backed up apart from the log, for a backup of both together would bring back what was erased. A master key that is wrong is
// an error; a key that is missing is what erasure is.
//
// # Erasure
//
// [Store.Erase] writes down who asked for it and why, together with events of the application, by which read models learn of it, and then
// destroys the key. If the process ends between the two, the next [Protect] goes on. From then on values of the subject are erased:
// in reads of now and of the past, in states, snapshots (see [Snapshots]) and branches. Other processes learn of it within a second.
// A read model that keeps personal values in its rows has to let go of them when it sees the application's event.
package privacy
