"""Opens a client, creates a case, edits and watches it, closes and opens it again.

Run by `cargo test -p feldakte-ffi`; the first argument is a JSON object with directory and credentials.
"""

import asyncio
import atexit
import json
import sys
import time

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
    await client.edit(case, [Edit.ADD_ENTRY(part=Part.CLINICAL, entry_id=None, kind="vitals", fields=vitals)])
    await client.edit(case, [Edit.NOTE(part=Part.CLINICAL, text="Übelkeit, kaltschweißig 🚑. ")])
    whole = await client.read(case)
    parts = {document.part: document for document in whole.documents}
    assert set(parts) == {Part.OPERATIONS, Part.IDENTITY, Part.CLINICAL}, parts
    names = {fact.name: fact.values[0].value.text for fact in parts[Part.IDENTITY].facts}
    assert names == {"family_name": "Müßigbrodt"}, names
    fields = {field.name: field.value for field in parts[Part.CLINICAL].entries[0].fields}
    assert fields["heart_rate"].number == 104, fields
    entry = parts[Part.CLINICAL].entries[0]
    assert entry.kind == "vitals" and entry.is_current and entry.written_at_millis > 1_700_000_000_000, entry
    assert parts[Part.CLINICAL].narrative == "Übelkeit, kaltschweißig 🚑. "
    await narrate(client, case)
    await order(client, case, entry.id)
    await emergency(client, case)
    assert await client.link() is None
    await monitor(client, case)
    status = await client.status()
    assert status.cases == 1 and not status.all_safe, status
    assert whole.safety.state == feldakte.Safety.LOCAL and whole.safety.durable == 0, whole.safety
    await client.shutdown()
    return case


async def monitor(client, case):
    """Without a gateway nothing is ready, and what a monitor measures is in its case all the same."""
    readiness = await client.note_readiness(case)
    assert {channel.channel: channel.verdict for channel in readiness.channels} == dict.fromkeys(
        ["voice", "vitals", "ecg", "video", "photo"], feldakte.Verdict.RED
    ), readiness
    assert readiness.carried == [], readiness
    call, serial, now = client.new_id(), "C3-004711", int(time.time() * 1000)
    try:
        await client.publish_vitals(call, serial)
        raise AssertionError("a monitor that is bound to no case was published")
    except feldakte.FfiError.MonitorNotBound:
        pass
    await client.bind_monitor(case, serial, "corpuls3")
    watch, publisher = client.watch_vitals(call), await client.publish_vitals(call, serial)
    await publisher.numerics(now + 1000, [feldakte.Numeric(code="8867-4", unit="/min", scale=0, value=104)])
    lead = feldakte.Trace(kind="aVR", step_nano=2500, samples=[0, 10, -300, 4])
    await publisher.waves(now + 1000, 4000, [lead])
    quality = watch.quality()
    assert quality.silence_millis is None and quality.waves.received == 0, quality
    await client.unbind_monitor(serial)
    kinds = {part.part: [entry.kind for entry in part.entries] for part in (await client.read(case)).documents}
    assert kinds[Part.OPERATIONS] == ["readiness"], kinds
    assert {"monitor_binding", "vitals_block"} <= set(kinds[Part.CLINICAL]), kinds


class CallWatcher(feldakte.CallWatcher):
    def __init__(self, loop):
        self.loop = loop
        self.seen = asyncio.Queue()

    def on_call(self, event):
        self.loop.call_soon_threadsafe(self.seen.put_nowait, event)


async def calls(client):
    """A crew calls without a network: it is told so, and to take the telephone. Only a physician's desk goes on duty."""
    case = await client.create("mission", [Edit.SET_FACT(part=Part.OPERATIONS, name="keyword", value=text("Sturz"))])
    watcher = CallWatcher(asyncio.get_running_loop())
    client.watch_calls(watcher)
    call = await client.call(case, feldakte.CallCategory.EMERGENCY, "0151 23456")
    while True:
        event = await asyncio.wait_for(watcher.seen.get(), timeout=10)
        assert event.is_CHANGED() and event.call == call, event
        known = {known.call: known for known in await client.calls()}[call]
        assert known.phase == feldakte.CallPhase.DIALLING and not known.rings_here, known
        if known.use_phone:
            break
    for refused, why in (
        (client.on_duty(1), feldakte.FfiError.NotPermitted),
        (client.call(case, feldakte.CallCategory.URGENT, "ring me"), feldakte.FfiError.Argument),
        (client.send_signal(call, 1, "offer"), feldakte.FfiError.NotConnected),
        (client.accept("no id"), feldakte.FfiError.Argument),
        (client.transfer(call, "hagen"), feldakte.FfiError.Argument),
    ):
        try:
            await refused
            raise AssertionError(f"not refused: {why}")
        except why:
            pass


def units(text):
    """Length in UTF-16 units, as places in narratives are counted."""
    return len(text.encode("utf-16-le")) // 2


async def narrate(client, case):
    """Edits behind an emoji and a combining mark land where they belong."""
    before = "Übelkeit, kaltschweißig 🚑. "
    at = units("Übelkeit, kaltschweißig 🚑")
    edit = Edit.NARRATE(part=Part.CLINICAL, at=at, remove=1, text=" 👩🏽‍⚕️ u\u0308bergibt;")
    await client.edit(case, [edit])
    clinical = [d for d in (await client.read(case)).documents if d.part == Part.CLINICAL][0]
    assert clinical.narrative == before[:-2] + " 👩🏽‍⚕️ u\u0308bergibt; ", clinical.narrative


async def emergency(client, case):
    """Nothing is here for anybody else; what is his own needs no emergency, and an emergency needs words."""
    reason = feldakte.EmergencyReason.LIFE_IN_DANGER
    assert await client.hidden_cases() == []
    await client.break_glass_offline(case, reason, "bewusstlos aufgefunden")
    for words, refusal in (("", feldakte.FfiError.NotPermitted), ("x" * 4096, feldakte.FfiError.TextTooLong)):
        try:
            await client.break_glass_offline(case, reason, words)
            raise AssertionError(f"{len(words)} bytes were taken")
        except refusal:
            pass


async def order(client, case, entry_id):
    """A crew may propose and cannot order; a correction replaces and keeps; a signature can be made."""
    order_id = client.new_id()
    content = [FieldValue(name="drug_text", value=text("Morphin")), FieldValue(name="dose", value=Value.DECIMAL(number=5.0))]
    for step in (feldakte.OrderStep.PROPOSED(content=content), feldakte.OrderStep.ORDERED(content=content)):
        await client.edit(case, [Edit.ORDER(part=Part.CLINICAL, order_id=order_id, step=step)])
    orders = await client.orders(case)
    assert [(o.id, o.state, o.flags) for o in orders] == [(order_id, "proposed", ["OrderedWithoutAuthority"])], orders
    fields = [FieldValue(name="heart_rate", value=Value.INTEGER(number=98))]
    correct = Edit.CORRECT_ENTRY(part=Part.CLINICAL, replaces=entry_id, kind="vitals", fields=fields)
    await client.edit(case, [correct])
    clinical = [d for d in (await client.read(case)).documents if d.part == Part.CLINICAL][0]
    assert [e.is_current for e in clinical.entries] == [False, True], clinical.entries
    await client.finalise(case)


async def catalogue(client):
    """A case of a kind takes only values of the types its catalogue gives."""
    case = await client.create("mission", [Edit.SET_FACT(part=Part.OPERATIONS, name="keyword", value=text("Sturz"))])
    wrong = Edit.SET_FACT(part=Part.OPERATIONS, name="keyword", value=Value.INTEGER(number=1))
    try:
        await client.edit(case, [wrong])
        raise AssertionError("a number was taken for a keyword")
    except feldakte.FfiError.Edit:
        pass
    newer = Edit.SET_FACT(part=Part.OPERATIONS, name="of_a_newer_app", value=Value.INTEGER(number=1))
    await client.edit(case, [newer])


async def users(client, case):
    """A PIN is judged without a network, and the next user sees nothing of what is unsent."""
    try:
        await client.set_pin("weber", None, "111111")
        raise AssertionError("an easy PIN was taken")
    except feldakte.FfiError.WeakPin:
        pass
    weber = await client.set_pin("weber", None, "493817")
    try:
        await client.sign_in_with_pin("weber", "493818")
        raise AssertionError("a wrong PIN was taken")
    except feldakte.FfiError.WrongPin:
        pass
    assert await client.sign_in_with_pin("weber", "493817") == weber
    assert await client.list() == [], "unsent work of nobody is not his"
    status = await client.status()
    assert status.user == weber and status.unsafe_of_others > 0, status
    assert [(user.id, user.is_active, user.has_pin) for user in await client.users()] == [(weber, True, True)]
    try:
        await client.sign_in_with_token("e30.e30.c2ln")
        raise AssertionError("a token was judged without a gateway")
    except feldakte.FfiError.SignInRefused:
        pass
    await client.sign_out()
    assert [line.id for line in await client.list()] == [case]


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
    await users(client, case)
    await catalogue(client)
    await calls(client)
    await client.shutdown()
    try:
        await client.list()
        raise AssertionError("a client that was shut down still answers")
    except feldakte.FfiError.ShutDown:
        pass


def main():
    # Without this the interpreter may end while a thread of the SDK still reports a result, and the process aborts.
    atexit.register(feldakte.end_threads)
    given = json.loads(sys.argv[1])
    options = feldakte.OpenOptions(**given)
    case = asyncio.run(first_run(options))
    asyncio.run(refusals(options, case))
    print("python smoke test passed")


main()
