// Holds golden documents, read by automerge's JavaScript library, against what their JSON says.
//
// Usage: node read.mjs FOLDER. Prints a line for each document and ends with 1 if one says something else.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as Automerge from "@automerge/automerge";

function main(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith(".automerge"));
  assert.notEqual(names.length, 0, `${folder} has golden documents`);
  for (const name of names.map((name) => name.replace(/\.automerge$/, ""))) {
    const document = Automerge.load(new Uint8Array(readFileSync(join(folder, `${name}.automerge`))));
    compare(name, document, JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")));
    console.log(`${name}: the same`);
  }
}

function compare(name, document, says) {
  same(`${name}: part`, says.part, plain(document.part));
  same(`${name}: heads`, says.heads, [...Automerge.getHeads(document)].sort());
  same(`${name}: changes`, says.changes, changes(document));
  same(`${name}: facts`, valuesOf(says.values.facts), registers(document.facts));
  same(`${name}: checklists`, valuesOf(says.values.checklists), registers(document.checklists));
  same(`${name}: min_schema`, says.values.min_schema, plain(document.min_schema ?? document.schema));
  compareContent(name, document, says.values);
  says.outcome.finalisations.forEach(({ heads }, index) => {
    const signed = Automerge.view(document, heads);
    const values = says.signed[index];
    // The library's conflicts are always those of today, so of a signed register only the value shown first.
    for (const kind of ["facts", "checklists"]) {
      same(`${name}: signed ${kind}`, shownOf(values[kind]), plain(signed[kind]));
    }
    compareContent(`${name}, signed`, signed, values);
  });
}

function compareContent(name, document, values) {
  same(`${name}: entries`, values.entries.map(withoutChange), entries(document.entries));
  same(`${name}: events`, values.events.map(({ fields }) => fields), plain(document.events));
  assert.equal(typeof document.narrative, "string", `${name}: the narrative is text`);
  same(`${name}: narrative`, values.narrative, document.narrative);
}

/** Every change, with the device's time as the writer's stamp has it: whole seconds, the rest in the message. */
function changes(document) {
  return Automerge.getAllChanges(document).map((bytes) => {
    const { hash, actor, startOp, time, message } = Automerge.decodeChange(bytes);
    const [rest = 0, offset = null] = message ? message.split(" ").map(Number) : [];
    return { hash, actor, start_op: startOp, time_ms: time * 1000 + rest, clock_offset_ms: offset };
  });
}

/** All values of every register. Equal ones count once, in the place of the first. */
function registers(map) {
  const values = (name) => {
    const conflicts = Automerge.getConflicts(map, name);
    const all = conflicts ? Object.values(conflicts).map(plain) : [plain(map[name])];
    assert.deepEqual(all.at(-1), plain(map[name]), `${name}: the value shown is the last one`);
    return all.filter((value, at) => all.findIndex((other) => isSame(other, value)) === at);
  };
  return Object.fromEntries(Object.keys(map).map((name) => [name, values(name)]));
}

function entries(list) {
  const all = plain(list).map(({ id, kind, replaces, ...fields }) => {
    return { id: id.bytes, kind, replaces: replaces?.bytes ?? null, fields };
  });
  const replacedBy = (id) => all.filter((other) => other.replaces === id).map((other) => other.id);
  return all.map((entry) => ({ ...entry, replaced_by: replacedBy(entry.id) }));
}

/** As the JSON writes values: see `shown.rs`. */
function plain(value) {
  if (value === null || ["string", "number", "boolean"].includes(typeof value)) return value;
  if (Automerge.isImmutableString(value)) return value.toString();
  if (value instanceof Date) return { timestamp: value.getTime() };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(plain);
  assert.equal(Object.getPrototypeOf(value), Object.prototype, `a ${value?.constructor?.name} is no value of ours`);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
}

const mapValues = (object, each) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, each(value)]));
const valuesOf = (facts) => mapValues(facts, (claims) => claims.map(({ value }) => value));
const shownOf = (facts) => mapValues(facts, (claims) => claims.at(-1).value);
const withoutChange = ({ change, ...entry }) => entry;

function same(what, expected, found) {
  assert.deepEqual(found, expected, `${what} differ: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
}

function isSame(one, other) {
  try {
    assert.deepEqual(one, other);
    return true;
  } catch {
    return false;
  }
}

main(process.argv[2]);
