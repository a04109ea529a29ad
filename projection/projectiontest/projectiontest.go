// Package projectiontest is the suite that every implementation of projection.Views passes.
//
//	func TestViewsKeepTheirPromises(t *testing.T) {
//		projectiontest.Run(t,
//			func(t *testing.T) annals.Store { return memory.New() },
//			func(t *testing.T) projection.Views { return myviews.Open(t.TempDir()) })
//	}
package projectiontest

import (
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// Run tests views: open makes empty ones, which Run closes; store makes an empty store to project from. Each is called
// for each test, and the tests run in parallel.
func Run(t *testing.T, store func(t *testing.T) annals.Store, open func(t *testing.T) projection.Views) {
	t.Helper()
	for _, test := range []struct {
		rule string
		test func(*rig)
	}{
		{"a new table is empty at checkpoint 0", newTable},
		{"rows and checkpoint become visible together", commitTogether},
		{"what a batch has changed is seen when it is committed", changesAreSeen},
		{"a batch takes many rows", manyRows},
		{"a batch that is rolled back leaves nothing", rollbackLeavesNothing},
		{"a commit that fails leaves neither rows nor checkpoint", failedCommitLeavesNothing},
		{"a batch begins only where the checkpoint is", beginChecksCheckpoint},
		{"one batch is open at a time", oneBatch},
		{"another shape under the same version is refused", shapeRefused},
		{"versions lie side by side", versionsApart},
		{"a dropped table says so and the next one is new", dropped},
		{"a batch whose context ended says so", batchCutOff},
		{"a checkpoint keeps the event it stands on", checkpointKept},
		{"the shapes that are stored are told", storedShapes},
		{"notes are set by who knows what they were", notes},
		{"of several one sets the note", oneSetsTheNote},
		{"what fails in a transaction ends the batch", transaction},
		{"tables are set up whole or not at all", setupFails},
		{"closed views say so", closed},
		{"nothing of an open batch is committed once the views are closed", closedInBatch},

		{"events make rows", rowsFollow},
		{"an event with several keys touches several rows", severalKeys},
		{"Delete drops the row", deleteDrops},
		{"Delete joined with an error is an error", deleteAlone},
		{"a row that is missing is not found", notFound},
		{"lists filter, order and page over columns", lists},
		{"lists refuse what was not declared", listsRefuse},
		{"pages are complete for every order and limit", pages},
		{"a join brings in what was known before the row and what comes after", joins},
		{"a join that brings the key of another comes before it", chainedJoins},
		{"columns and joins see rows as JSON keeps them", columnsAsKept},
		{"a run goes on where the last one stopped", resume},
		{"rebuilt rows equal live rows byte for byte, for any batching", rebuildEqualsLive},
		{"a row as of a position is the row as it was then", asOf},
		{"a row as of the past is folded from its own events", asOfOneKey},
		{"a row as of a revision is that of its own stream", asOfRevision},
		{"waiting ends when the position is applied", wait},
		{"rows that lag say so", lagging},
		{"progress over events that do not match is seen", progressSeen},
		{"what lies before an event that cannot be applied is seen", seenBeforeFailure},
		{"a run that is ended in the midst of a batch has not failed", endedInBatch},
		{"a run that does not begin leaves what stopped the last", failureKept},
		{"a reset leaves nothing to tell", resetForgets},
		{"an event that cannot be applied stops its projection alone", applyFails},
		{"an event that cannot be applied is parked with those of its row that follow", parks},
		{"rows whose events were parked equal rebuilt ones, for any history", parkedEqualsRebuilt},
		{"an event that cannot be decoded is parked for each of its rows", parksUndecodable},
		{"a row that a join fails to refresh is parked", parksRefresh},
		{"a parked event that is given up lets those behind it go on", skips},
		{"a parked event may be given up while the projection runs", skippedWhileRunning},
		{"a projection that parks too much stops", parksTooMuch},
		{"a paused projection stands still until it is resumed", pauses},
		{"what is parked is tried again when it is asked for", retriesOnDemand},
		{"a projection that runs is built anew when its rows are dropped", droppedWhileRunning},
		{"a new version serves once it has caught up", switchesOver},
		{"a new version that is held serves when it is switched to", held},
		{"the version that served is gone back to", rollsBack},
		{"versions are dropped unless they serve", dropsVersions},
		{"reports tell what a runner does", reports},
		{"rows are caught up to a position", catchesUpTo},
		{"a checkpoint of another store is refused", foreignStore},
		{"a projection runs once", runsOnce},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			views := open(t)
			t.Cleanup(func() {
				if err := views.Close(); err != nil {
					t.Errorf("close the views: %v", err)
				}
			})
			test.test(newRig(t, store(t), views))
		})
	}
}
