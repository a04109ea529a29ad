package engine_test

import (
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/storetest"
)

func open(t *testing.T) annals.Store {
	t.Helper()
	return start(t, newJournal())
}

func TestTheStoreKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	storetest.Run(t, open)
}

func TestRandomOperationsGetTheAnswersOfTheReferenceStore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			storetest.Model(t, open, seed)
		})
	}
}
