package main

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/annalsdb/annals"
)

// recordedJSON is a recorded event as a line of JSON: what read prints, and append takes.
type recordedJSON struct {
	Position annals.Position  `json:"position,omitzero"`
	Revision *annals.Revision `json:"revision,omitempty"`
	Time     time.Time        `json:"time,omitzero"`
	eventJSON
}

// eventJSON is an event in JSON. Data and metadata are given as they are if they are JSON, but for white space between
// their parts, and else in base64.
type eventJSON struct {
	Stream         string          `json:"stream,omitempty"`
	ID             annals.ID       `json:"id,omitzero"`
	Type           string          `json:"type,omitempty"`
	Version        uint16          `json:"version,omitempty"`
	Tags           []string        `json:"tags,omitempty"`
	ContentType    string          `json:"contentType,omitempty"`
	Data           json.RawMessage `json:"data,omitempty"`
	DataBase64     []byte          `json:"dataBase64,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitempty"`
	MetadataBase64 []byte          `json:"metadataBase64,omitempty"`
}

func toJSON(r annals.Recorded) recordedJSON {
	e := recordedJSON{Position: r.Position, Time: r.Time, eventJSON: eventJSON{
		Stream: r.Stream, ID: r.ID, Type: r.Type, Version: r.Version, Tags: r.Tags, ContentType: r.ContentType,
	}}
	if r.Revision != annals.NoRevision {
		e.Revision = &r.Revision
	}
	e.Data, e.DataBase64 = asJSON(r.Data, isJSON(r.ContentType))
	e.Metadata, e.MetadataBase64 = asJSON(r.Metadata, true)
	return e
}

// isJSON tells whether data of this content type says that it is JSON.
func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return media == "" || media == annals.ContentTypeJSON || strings.HasSuffix(media, "+json")
}

// asJSON gives b as JSON if it is some, and else to be written in base64.
func asJSON(b []byte, meant bool) (json.RawMessage, []byte) {
	if len(b) == 0 || meant && json.Valid(b) && utf8.Valid(b) {
		return b, nil
	}
	return nil, b
}

// event is the event that e stands for.
func (e *eventJSON) event() (annals.Event, error) {
	switch {
	case e.Type == "":
		return annals.Event{}, errors.New("the event has no type")
	case e.Data != nil && e.DataBase64 != nil:
		return annals.Event{}, errors.New("the event has both data and dataBase64")
	case e.Metadata != nil && e.MetadataBase64 != nil:
		return annals.Event{}, errors.New("the event has both metadata and metadataBase64")
	case e.Data != nil && !isJSON(e.ContentType):
		return annals.Event{}, errors.New("the event's contentType is not JSON: give its data in base64, as dataBase64")
	}
	event := annals.Event{
		ID: e.ID, Type: e.Type, Stream: e.Stream, Version: e.Version, Tags: e.Tags, ContentType: e.ContentType,
		Data: e.DataBase64, Metadata: e.MetadataBase64,
	}
	if e.Data != nil {
		event.Data = e.Data
	}
	if e.Metadata != nil {
		event.Metadata = e.Metadata
	}
	return event, nil
}
