// The dock's screen. It shows what the agent says, and says so in large letters where it hears nothing any more.

import { at, bytes, choose, count, language, languages, say, time } from "/words.js";

const GRACE = 4000;      // after a cut connection: a restart of the agent need not alarm anybody
const SILENCE = 12000;   // without a word on an open one: the agent speaks every five seconds
const AGAIN = 3000;
const SOON = 24 * 3600;  // seconds to a full disk of which a person is told

const byId = (id) => document.getElementById(id);
const tiles = byId("tiles");

let known = [];          // languages
let picture = null;      // {status, bays, others}, as last heard
let offset = null;       // the station's clock minus ours
let heard = performance.now();
let cut = null;          // since when the connection is cut
let stale = false;
let density = "full";    // how much a tile has room for: full, medium, short, tiny
let roomy = true;        // and whether its last line may be a sentence
let source = null;
let version = null;
let leads = [];          // what drivers want to be looked at, with its words
let leadsOf = "";        // for which of them it was asked

// -- hearing ---------------------------------------------------------------------------------------------------------

function listen() {
  source?.close();
  source = new EventSource(at("/v1/events"));
  source.addEventListener("state", (event) => hear(event, (told) => { picture = told; }));
  source.addEventListener("change", (event) => hear(event, merge));
  source.addEventListener("alive", (event) => hear(event, () => {}));
  source.addEventListener("error", () => {
    cut ??= performance.now();
    // A refusal ends an EventSource for good; a broken line it tries again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
    beat();
  });
}

function hear(event, apply) {
  const told = JSON.parse(event.data);
  const before = states();
  apply(told);
  if (!picture) return;
  heard = performance.now();
  cut = null;
  const moment = Date.parse(told.at ?? told.status?.at);
  if (moment) offset = moment - performance.now();
  version ??= picture.status.version;
  if (picture.status.version !== version) return location.reload();
  stale = false;
  show();
  announce(before);
}

function merge(change) {
  if (!picture) return;
  if (change.status) picture.status = change.status;
  if (change.others) picture.others = change.others;
  for (const bay of change.bays ?? []) picture.bays[picture.bays.findIndex((one) => one.name === bay.name)] = bay;
}

// Every second: the clock, and whether anybody still speaks.
function beat() {
  const now = performance.now();
  const silent = now - heard > SILENCE;
  if (!stale && picture && (silent || (cut !== null && now - cut > GRACE))) {
    stale = true;
    text(byId("said"), "");  // what was said last is not known any more
    show();
  }
  if (silent && source?.readyState === EventSource.OPEN) {  // a dead line that nobody told us of
    cut ??= heard;
    heard = now;
    listen();
  }
  showClock();
}

// -- showing ---------------------------------------------------------------------------------------------------------

function show() {
  document.body.className = !picture ? "waiting" : stale ? "stale" : "live";
  showLost();
  showClock();
  if (!picture) return;
  const { status, bays, others } = picture;
  document.title = say("title", { station: status.station.name });
  text(byId("station"), status.station.name);
  text(byId("agency"), status.station.agency);
  showFigures(status);
  showTiles(bays);
  showLeads(status.leads);
  showAlarms(status.problems, others);
  showStory();
}

function showLost() {
  const lost = byId("lost");
  const title = !picture ? say("connecting") : stale ? say("lost") : "";
  if (lost.dataset.shown === title + language) return;
  lost.dataset.shown = title + language;
  lost.replaceChildren();
  if (!title) return;
  lost.append(icon(picture ? "unknown" : "charging"), make("strong", "", title));
  if (stale) lost.append(make("span", "", say("lost_means", { time: time(new Date(heard + offset)) })));
}

function showClock() {
  const element = byId("clock").firstElementChild;
  const shown = offset === null ? "" : time(new Date(performance.now() + offset));
  text(element, shown);
  const mark = byId("mark");
  mark.hidden = picture !== null && cut === null && !stale;
  text(mark, mark.hidden ? "" : say(picture ? "lost_mark" : "connecting"));
  byId("clock").classList.toggle("marked", !mark.hidden);
}

function showFigures(status) {
  const down = status.links.filter((link) => !link.up);
  const all = status.links.length;
  const link = all === 0 ? "none" : down.length === all ? "down" : down.length ? "some" : "up";
  figure("link", link === "up" ? "good" : "bad", say(`link_${link}`, { up: count(all - down.length), all: count(all) }));
  const { captures, bytes: length } = status.backlog;
  const rate = status.sending.rate ? " · " + say("rate", { bytes: bytes(status.sending.rate) }) : "";
  const waits = captures ? say("backlog_some", { captures: count(captures), bytes: bytes(length) }) + rate : say("backlog_none");
  figure("backlog", "", waits);
  const soon = status.room.full_in !== null && status.room.full_in < SOON;
  const full = soon ? " · " + say("full_in", { hours: count(Math.max(1, Math.round(status.room.full_in / 3600))) }) : "";
  figure("room", soon || !status.room.usable ? "bad" : "", bytes(status.room.usable) + full);
}

function figure(id, kind, value) {
  const element = byId(id);
  element.className = kind;
  text(element.querySelector("dd"), value);
}

function stateOf(bay) {
  return stale ? "unknown" : bay.state;
}

function showTiles(bays) {
  while (tiles.children.length > bays.length) tiles.lastElementChild.remove();
  while (tiles.children.length < bays.length) tiles.append(tile());
  arrange();
  bays.forEach((bay, place) => showTile(tiles.children[place].firstElementChild, bay));
  if (!tiles.querySelector("[tabindex='0']") && tiles.firstElementChild) tiles.firstElementChild.firstElementChild.tabIndex = 0;
  byId("none").hidden = bays.length > 0;
  text(byId("none"), bays.length ? "" : say("no_bays"));
}

function tile() {
  const item = document.createElement("li");
  const button = make("button", "tile");
  button.type = "button";
  button.tabIndex = -1;
  button.setAttribute("aria-haspopup", "dialog");
  const head = make("span", "head");
  head.append(make("span", "name"), make("span", "sign"));
  const foot = make("span", "foot");
  foot.append(make("span", "camera"), make("span", "officer"), make("span", "line"));
  const bar = make("span", "bar");
  bar.append(make("span"));
  button.append(head, make("span", "word"), foot, bar);
  button.addEventListener("click", () => openStory(button.dataset.bay));
  item.append(button);
  return item;
}

function showTile(button, bay) {
  const state = stateOf(bay);
  const part = (name) => button.querySelector("." + name);
  button.dataset.bay = bay.name;
  if (button.dataset.state !== state) {
    button.dataset.state = state;
    part("sign").replaceChildren(icon(state));
  }
  text(part("name"), bay.name);
  text(part("word"), say("states." + state));
  text(part("camera"), bay.device ? [camera(bay.device), stale ? "" : battery(bay)].filter(Boolean).join(" · ") : "");
  text(part("officer"), bay.officer ?? "");
  text(part("line"), stale ? "" : roomy ? line(bay) : shortLine(bay));
  const share = state === "copying" && bay.copying?.length ? bay.copying.done / bay.copying.length : null;
  part("bar").hidden = share === null;
  if (share !== null) part("bar").firstElementChild.style.setProperty("inline-size", `${(share * 100).toFixed(1)}%`);
}

function camera(device) {
  return device.serial ?? device.id;
}

function battery(bay) {
  const full = bay.care?.battery;
  return full === null || full === undefined ? "" : say("battery", { percent: count(full) });
}

function roomOf(bay) {
  const { free_bytes: free, room_bytes: all } = bay.care ?? {};
  return free === null || free === undefined ? "" : say("room_of", { free: bytes(free), all: bytes(all) });
}

function line(bay) {
  if (bay.state === "copying" && bay.copying) return progress(bay.copying);
  if (bay.state === "help" && bay.reason) return say("reasons." + bay.reason);
  return bay.index ? say("reconciled", counted(bay.index)) : "";
}

function shortLine(bay) {
  if (bay.state === "copying" && bay.copying) return progress(bay.copying, { speed: false, left: density !== "tiny" });
  if (bay.state === "help" && bay.reason) return say("reasons." + bay.reason);
  return bay.index ? say("reconciled_short", counted(bay.index)) : "";
}

function counted(index) {
  return Object.fromEntries(Object.entries(index).map(([name, value]) => [name, count(value)]));
}

function progress({ done, length, rate }, { speed = true, left = true } = {}) {
  const said = [];
  if (length) said.push(say("unit_percent", { percent: count(Math.floor((done / length) * 100)) }));
  if (rate && speed) said.push(say("rate", { bytes: bytes(rate) }));
  const minutes = rate ? Math.ceil((length - done) / rate / 60) : 0;
  if (left && minutes > 0 && minutes < 600) said.push(say("minutes", { minutes: count(minutes) }));
  return said.join(" · ");
}

function showAlarms(problems, others) {
  const list = byId("alarms").querySelector("ul");
  const most = 3;
  const shown = problems.slice(0, problems.length > most ? most - 1 : most).map((one) => {
    const item = make("li", one.state);
    const said = make("span", "said");
    const detail = make("span", "detail", [one.detail, one.todo].filter(Boolean).join(" — "));
    detail.lang = "en";  // what the agent says, it says in English
    said.append(make("strong", "", say("notices." + one.id.replace(".", "_")) || one.what), detail);
    item.append(icon(one.state === "problem" ? "help" : "warning"), said);
    return item;
  });
  if (problems.length > most) shown.push(make("li", "more", say("more_alarms", { count: count(problems.length - most + 1) })));
  if (!problems.length) {
    const item = make("li", "none");
    item.append(icon("safe"), make("span", "said", say("no_alarms")));
    shown.push(item);
  }
  if (others.length) shown.push(make("li", "others", say("others", { names: others.map((one) => one.name).join(", ") })));
  const sign = JSON.stringify([language, problems, others]);
  if (list.dataset.sign !== sign) {  // untouched as long as nothing changed: a screen reader stays where it is
    list.dataset.sign = sign;
    list.replaceChildren(...shown);
  }
}

// Events tell which leads there are; what they say and show is asked for, and lies nowhere else.
async function showLeads(ids) {
  const wanted = ids.join();
  if (wanted !== leadsOf) {
    leadsOf = wanted;
    try {
      const answer = ids.length ? await fetch(at("/v1/leads"), { cache: "no-store" }) : null;
      if (answer && !answer.ok) throw new Error(answer.status);
      const told = answer ? (await answer.json()).leads : [];
      if (wanted !== leadsOf) return;  // others came meanwhile, and are asked for
      leads = told;
    } catch {
      leadsOf = "";  // asked again with the next event
      return;
    }
  }
  const section = byId("leads");
  section.hidden = stale || !leads.length;
  const list = section.querySelector("ul");
  const sign = JSON.stringify([language, leads]);
  if (list.dataset.sign === sign) return;
  list.dataset.sign = sign;
  list.replaceChildren(...leads.map(leadItem));
}

function leadItem(lead) {
  const item = make("li", lead.urgent ? "urgent" : "");
  for (let number = 0; number < lead.pictures; number += 1) {
    const shown = make("img");
    shown.alt = say("lead_picture");
    shown.addEventListener("error", () => shown.remove());  // it is shown for a while only
    shown.src = at(`/v1/leads/${lead.id}/${number}`);
    item.append(shown);
  }
  const said = make("div", "said");
  const head = make("strong", "", lead.what);
  head.lang = "en";  // what drivers say, they say in English
  said.append(head, make("time", "", time(new Date(lead.at))));
  for (const line of [...lead.lines, lead.todo].filter(Boolean)) {
    const told = make("p", "", line);
    told.lang = "en";
    said.append(told);
  }
  item.append(said);
  return item;
}

// -- one bay's story -------------------------------------------------------------------------------------------------

function openStory(name) {
  byId("story").dataset.bay = name;
  showStory();
  byId("story").showModal();
}

function showStory() {
  const bay = picture.bays.find((one) => one.name === byId("story").dataset.bay);
  if (!bay) return byId("story").close();
  const state = stateOf(bay);
  byId("story").dataset.state = state;
  text(byId("story-title"), bay.name);
  text(byId("story-word"), say("states." + state));
  text(byId("story-means"), say("means." + meaning(state, bay)));
  const { device, index } = bay;
  const facts = {
    camera: device && [device.maker, device.model].filter(Boolean).join(" "),
    serial: device?.serial ?? device?.id,
    firmware: device?.firmware,
    battery: battery(bay),
    room: roomOf(bay),
    officer: bay.officer,
    reconciliation: index && say("reconciled", counted(index)),
    progress: bay.copying && progress(bay.copying),
    detail: bay.reason && say("reasons." + bay.reason),
    todo: [bay.detail, bay.todo].filter(Boolean).join(" — "),
  };
  const rows = Object.entries(facts).filter(([, value]) => value && !stale).flatMap(([name, value]) => {
    const told = make("dd", "", value);
    if (name === "todo") told.lang = "en";
    return [make("dt", "", say("facts." + name)), told];
  });
  byId("story").querySelector("dl").replaceChildren(...rows);
}

function meaning(state, bay) {
  if (state !== "safe") return state;
  return bay.index.listed === 0 ? "safe_none" : "safe_" + picture.status.policy.device;
}

// -- room for large letters ------------------------------------------------------------------------------------------

const SHAPE = 1.3;       // width of a tile to its height
const SHARE = { full: 0.39, medium: 0.42, short: 0.44, tiny: 0.5 };  // of a tile's height, for the large letters
const SMALLEST = { width: 108, height: 68 };
const pen = document.createElement("canvas").getContext("2d");

// As many columns as make the tiles largest, and one size of letters for all words of the language.
function arrange() {
  const main = byId("bays");
  const bays = tiles.children.length;
  if (!bays) return;
  const gap = parseFloat(getComputedStyle(tiles).columnGap) || 0;
  const { clientWidth: wide, clientHeight: high } = main;
  let best = { size: -1 };
  for (let columns = 1; columns <= bays; columns += 1) {
    const rows = Math.ceil(bays / columns);
    const width = (wide - gap * (columns - 1)) / columns;
    const height = (high - gap * (rows - 1)) / rows;
    const size = Math.min(width / SHAPE, height) * (width < SMALLEST.width ? 0.01 : 1);
    if (size > best.size) best = { size, columns, width, height: Math.max(height, SMALLEST.height) };  // else it scrolls
  }
  density = best.height < 100 ? "tiny" : best.height < 180 ? "short" : best.height < 260 ? "medium" : "full";
  roomy = density === "full" || (density === "medium" && best.width > 300);
  tiles.dataset.density = density;
  const room = { width: best.width * 0.9, height: best.height * SHARE[density] };
  set("--columns", best.columns);
  set("--height", `${best.height}px`);
  set("--base", `${Math.min(best.width / 9, best.height / 7.5)}px`);
  set("--word", `${lettering(room)}px`);
}

function set(name, value) {
  if (tiles.style.getPropertyValue(name) !== String(value)) tiles.style.setProperty(name, value);
}

// The size at which the longest word of any state fits, and no state takes more than two lines.
function lettering({ width, height }) {
  pen.font = `800 100px ${getComputedStyle(tiles).fontFamily}`;
  const measure = (said) => pen.measureText(said.toLocaleUpperCase(language)).width / 100;
  const said = ["empty", "charging", "copying", "safe", "do_not_remove", "help", "unknown"].map((one) => say("states." + one));
  const longest = Math.max(...said.flatMap((one) => one.split(/\s+/)).map(measure));
  const one = Math.max(...said.map(measure));
  const halved = Math.max(longest, ...said.map(twoLines));
  function twoLines(words) {
    const parts = words.split(/\s+/);
    const cuts = parts.map((_, place) => Math.max(measure(parts.slice(0, place).join(" ")), measure(parts.slice(place).join(" "))));
    return Math.min(...cuts);
  }
  const inOne = Math.min(width / one, height / 1.1);
  const inTwo = Math.min(width / halved, height / 2.1);
  return Math.floor(Math.max(inOne, inTwo) * 0.97);
}

// -- for those who do not look ---------------------------------------------------------------------------------------

function states() {
  return new Map((picture?.bays ?? []).map((bay) => [bay.name, stale ? "unknown" : bay.state]));
}

function announce(before) {
  if (!before.size) return;
  const most = 4;
  const news = picture.bays.filter((bay) => before.get(bay.name) !== bay.state).map((bay) => `${bay.name}: ${say("states." + bay.state)}`);
  if (!news.length) return;
  const more = news.length > most ? [say("and_more", { count: count(news.length - most) })] : [];
  text(byId("said"), [...news.slice(0, most), ...more].join(". "));
}

tiles.addEventListener("keydown", (event) => {
  const all = [...tiles.querySelectorAll(".tile")];
  const columns = Number(tiles.style.getPropertyValue("--columns")) || 1;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -all.length, End: all.length };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const here = all.indexOf(document.activeElement);
  const next = here + steps[event.key];
  const leap = Math.abs(steps[event.key]) === all.length;
  const to = leap ? Math.min(Math.max(next, 0), all.length - 1) : next;
  if (!all[to]) return;
  all[here].tabIndex = -1;
  all[to].tabIndex = 0;
  all[to].focus();
});

// -- small things ----------------------------------------------------------------------------------------------------

function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

function make(name, kind = "", content = "") {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  if (content) element.textContent = content;
  return element;
}

// Each state has a shape of its own; none of them is told by its colour alone.
const SHAPES = {
  empty: ["M32 8a24 24 0 1 0 .1 0z"],
  charging: ["M36 6 14 36h14l-4 22 26-32H35z"],
  copying: ["M32 8v30M18 26l14 14 14-14M10 54h44"],
  safe: ["M32 6a26 26 0 1 0 .1 0z", "m20 33 9 9 17-19"],
  do_not_remove: ["M21 5h22l16 16v22L43 59H21L5 43V21z", "M18 32h28"],
  help: ["M32 6 60 56H4z", "M32 24v15M32 47v.5"],
  warning: ["M32 6 60 56H4z", "M32 24v15M32 47v.5"],
  unknown: ["M22 22a10 10 0 1 1 14 9c-3 2-4 4-4 8M32 52v.5"],
};

function icon(state) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 64 64");
  drawing.setAttribute("aria-hidden", "true");
  drawing.setAttribute("class", "icon " + state);
  for (const line of SHAPES[state] ?? []) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", line);
    drawing.append(path);
  }
  return drawing;
}

function showLanguages() {
  const group = byId("languages");
  group.setAttribute("aria-label", say("language"));
  group.replaceChildren(...known.map(({ code, name }) => {
    const button = make("button", "", name);
    button.type = "button";
    button.lang = code;
    button.setAttribute("aria-pressed", String(code === language));
    button.addEventListener("click", () => speak(code, true));
    return button;
  }));
}

async function speak(code, focus = false) {
  await choose(code, known);
  showLanguages();
  if (focus) byId("languages").querySelector("[aria-pressed=true]")?.focus();
  show();
}

async function stayAwake() {
  try { await navigator.wakeLock?.request("screen"); } catch { /* a display that sleeps is woken by a hand */ }
}

async function begin() {
  try {
    known = await languages();
    await speak(null);
  } catch {
    return setTimeout(begin, AGAIN);  // the page came from somewhere's memory, and the agent is not there yet
  }
  new ResizeObserver(() => { if (picture) showTiles(picture.bays); }).observe(byId("bays"));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) stayAwake(); });
  stayAwake();
  listen();
  setInterval(beat, 1000);
}

begin();
