"""UmaDB's own client, as PyPI has it, against an Annals server: umadb_client.py URL. It ends with 0 if all is as it should be."""

import sys
import uuid

import umadb


def positions(events):
    return [e.position for e in events]


def refused(client, *args):
    try:
        client.append(*args)
    except umadb.IntegrityError as error:
        return str(error)
    raise AssertionError("it was appended")


def main(url):
    client = umadb.Client(url)
    assert client.head() is None
    assert client.read().collect_with_head() == ([], None)

    opened = umadb.Event("Opened", b'{"x":1}', ["a:1", "b:2"], uuid.uuid4(), {"who": "me"})
    assert client.append([opened, umadb.Event("Opaque", b"\x00\xff", ["b:2"])]) == 2
    events, head = client.read().collect_with_head()
    assert positions(events) == [1, 2] and head == 2 and client.head() == 2
    event = events[0].event
    assert (event.event_type, event.data, sorted(event.tags), event.uuid) == ("Opened", b'{"x":1}', ["a:1", "b:2"], opened.uuid)
    assert event.metadata == {"who": "me"}, event.metadata
    assert events[1].event.data == b"\x00\xff"

    # Conditions.
    a1 = umadb.Query([umadb.QueryItem(tags=["a:1"])])
    assert "tag a:1" in refused(client, [umadb.Event("More", b"1", ["a:1"])], umadb.AppendCondition(a1))
    assert "tag a:1" in refused(client, [umadb.Event("More", b"1", ["a:1"])], umadb.AppendCondition(a1, after=0))
    assert client.append([umadb.Event("More", b"1", ["a:1"])], umadb.AppendCondition(a1, after=1)) == 3
    assert client.append([umadb.Event("More", b"1")], umadb.AppendCondition(umadb.Query(), after=1000)) == 4

    # The same append again has no second effect, whatever its condition.
    once = [umadb.Event("Once", b"1", ["once"], uuid.uuid4())]
    unique = umadb.AppendCondition(umadb.Query([umadb.QueryItem(tags=["once"])]))
    assert client.append(once, unique) == client.append(once, unique) == 5
    refused(client, [umadb.Event("Other", b"1", ["once"], once[0].uuid)], unique)

    # Reads.
    assert positions(client.read(start=3)) == [3, 4, 5]
    assert positions(client.read(start=3, backwards=True)) == [3, 2, 1]
    assert positions(client.read(backwards=True, limit=2)) == [5, 4]
    assert client.read(limit=2).collect_with_head()[1] == 2
    assert client.read(limit=0).collect_with_head() == ([], None)
    either = umadb.Query([umadb.QueryItem(types=["Once", "Opaque"]), umadb.QueryItem(types=["Opened"], tags=["b:2"])])
    assert positions(client.read(either)) == [1, 2, 5]
    many = [umadb.Event("Many", str(n).encode(), ["many"]) for n in range(950)]
    for _ in range(3):
        client.append(many)
    assert len(list(client.read(umadb.Query([umadb.QueryItem(tags=["many"])])))) == 2850

    # Tracking.
    assert client.get_tracking_info("up") is None
    last = client.append([umadb.Event("Tracked", b"1")], None, umadb.TrackingInfo("up", 7))
    assert client.get_tracking_info("up") == 7
    refused(client, [umadb.Event("Tracked", b"1")], None, umadb.TrackingInfo("up", 7))
    assert client.append([umadb.Event("Tracked", b"1")], None, umadb.TrackingInfo("up", 8)) > last

    # A subscription catches up and goes on.
    subscription = client.subscribe(either, after=1)
    assert [next(subscription).position for _ in range(2)] == [2, 5]
    live = client.append([umadb.Event("Opaque", b"1")])
    assert next(subscription).position == live
    subscription.cancel()

    try:
        client.append([umadb.Event("", b"1")])
        raise AssertionError("an event without a type was appended")
    except ValueError as error:
        assert not isinstance(error, umadb.IntegrityError), error
    assert client.check_health() == umadb.ServingStatus.SERVING


main(sys.argv[1])
print("umadb client: ok")
