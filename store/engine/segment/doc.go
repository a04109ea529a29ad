// Package segment keeps a journal in files: frames in segments, listed by a manifest, in a directory that has one
// writer. It knows how bytes get lost and how that is found out, and nothing of conditions.
//
// A frame is acknowledged when it is durable. Opening after an unclean stop distrusts the page cache, follows the chain
// of frames to its end, and cuts a torn tail, which it keeps in quarantine, only if nothing valid follows that was
// written after the torn frame was acknowledged. After a clean close nothing is ever cut. Whatever else does not verify is
// data loss: located, reported, and the rest is served.
//
// Powersafe overwrite is assumed: a sector that is written again ends as it was, as it was to be, or a mix, and bytes
// that are the same in both survive. The bytes are described in docs/format/segment.md and docs/format/manifest.md.
package segment
