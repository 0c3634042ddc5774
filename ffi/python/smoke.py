"""Opens a client, creates a case, edits and watches it, closes and opens it again.

Run by `cargo test -p feldakte-ffi`; the first argument is a JSON object with directory and credentials.
"""

import asyncio
import json
import sys

import feldakte_ffi as feldakte
from feldakte_ffi import Edit, FieldValue, Part, Value


class Keys(feldakte.KeySource):
    def __init__(self, byte):
        self.key = bytes([byte]) * 32

    def database_key(self):
        return self.key


class LockedKeys(feldakte.KeySource):
    def database_key(self):
        raise feldakte.CallbackError.Locked()


class Watcher(feldakte.Watcher):
    def __init__(self, loop):
        self.loop = loop
        self.seen = asyncio.Queue()

    def on_event(self, event):
        self.loop.call_soon_threadsafe(self.seen.put_nowait, event)


async def until(watcher, wanted):
    while True:
        event = await asyncio.wait_for(watcher.seen.get(), timeout=10)
        if wanted(event):
            return event


def text(value):
    return Value.TEXT(text=value)


async def first_run(options):
    client = await feldakte.FeldakteClient.open(options, Keys(7))
    watcher = Watcher(asyncio.get_running_loop())
    client.observe(watcher)
    case = await client.create_case(
        [
            Edit.SET_FACT(part=Part.OPERATIONS, name="keyword", value=text("Brustschmerz")),
            Edit.SET_FACT(part=Part.IDENTITY, name="family_name", value=text("Müßigbrodt")),
        ]
    )
    await until(watcher, lambda event: event.is_CASE_CHANGED() and event.id == case)
    vitals = [
        FieldValue(name="heart_rate", value=Value.INTEGER(number=104)),
        FieldValue(name="temperature", value=Value.DECIMAL(number=36.6)),
    ]
    await client.edit(case, [Edit.ADD_ENTRY(part=Part.CLINICAL, kind="vitals", fields=vitals)])
    await client.edit(case, [Edit.NOTE(part=Part.CLINICAL, text="Übelkeit, kaltschweißig 🚑. ")])
    whole = await client.read(case)
    parts = {document.part: document for document in whole.documents}
    assert set(parts) == {Part.OPERATIONS, Part.IDENTITY, Part.CLINICAL}, parts
    names = {fact.name: fact.values[0].value.text for fact in parts[Part.IDENTITY].facts}
    assert names == {"family_name": "Müßigbrodt"}, names
    fields = {field.name: field.value for field in parts[Part.CLINICAL].entries[0].fields}
    assert fields["heart_rate"].number == 104 and "at" in fields, fields
    assert parts[Part.CLINICAL].narrative == "Übelkeit, kaltschweißig 🚑. "
    status = await client.status()
    assert status.cases == 1 and not status.all_safe, status
    assert whole.safety.state == feldakte.Safety.LOCAL and whole.safety.durable == 0, whole.safety
    await client.shutdown()
    return case


async def refusals(options, case):
    for keys, expected in ((Keys(8), feldakte.FfiError.WrongKey), (LockedKeys(), feldakte.FfiError.NoKey)):
        try:
            await feldakte.FeldakteClient.open(options, keys)
            raise AssertionError("a wrong key opened the store")
        except expected:
            pass
    client = await feldakte.FeldakteClient.open(options, Keys(7))
    try:
        await client.read("not a uuid")
        raise AssertionError("a malformed case id was taken")
    except feldakte.FfiError.Argument:
        pass
    again = await client.read(case)
    assert len(again.documents) == 3
    assert [line.id for line in await client.list()] == [case]
    await client.shutdown()
    try:
        await client.list()
        raise AssertionError("a client that was shut down still answers")
    except feldakte.FfiError.ShutDown:
        pass


def main():
    given = json.loads(sys.argv[1])
    options = feldakte.OpenOptions(**given)
    case = asyncio.run(first_run(options))
    asyncio.run(refusals(options, case))
    print("python smoke test passed")


main()
