// Package storetest is the conformance suite for implementations of [annals.Store]. Whoever writes a store runs it from
// a test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) annals.Store { return mystore.New() })
//	}
//
//	func TestModel(t *testing.T) {
//		for seed := range uint64(20) {
//			storetest.Model(t, func(t *testing.T) annals.Store { return mystore.New() }, seed)
//		}
//	}
//
// [Run] has one subtest for each promise that the contract makes, and its name is the promise. [Model] does random
// operations on the store and on store/memory, and wants the same answers. [RunPersistent] is for stores that outlive
// their process: it closes and opens them again.
//
// A store that passes can stand in for any other: the toolkit relies on nothing else.
package storetest
