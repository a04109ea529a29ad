// Package frame is the bytes of the log: records, each one event, and frames, each one durable batch of records. It
// knows no files: the same frame lies in a segment on disk, in a message or in a row of a database, and its hash and
// its positions do not change when it moves.
//
// Everything is little-endian. Records and frames are multiples of 8 bytes; reserved bytes and padding are zero, and
// checked. Checksums are CRC32C (Castagnoli), hashes SHA-256. The layouts are drawn at [AppendBody] and [Builder].
package frame
