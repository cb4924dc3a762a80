// The words of one language, and how it writes numbers, bytes and times.

const FALLBACK = "en";
const KEPT = "evidock.language";

let words = {};
let english = {};
export let language = FALLBACK;

// An address that was opened with a password in it must not be repeated with it.
export const at = (path) => new URL(path, location.origin);

export async function languages() {
  return (await fetch(at("/languages.json"))).json();
}

// The language that was chosen here, else the browser's, else English.
export async function choose(code, known) {
  const asked = [code, new URLSearchParams(location.search).get("lang"), remembered(), ...navigator.languages];
  const fits = (wanted) => known.find((one) => one.code === wanted) || known.find((one) => wanted?.startsWith(one.code + "-"));
  language = (asked.map(fits).find(Boolean) || { code: FALLBACK }).code;
  english = await read(FALLBACK);
  words = language === FALLBACK ? english : await read(language);
  if (code) remember(code);
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
}

async function read(code) {
  return (await fetch(at(`/languages/${code}.json`))).json();
}

function remembered() {
  try { return localStorage.getItem(KEPT); } catch { return null; }
}

function remember(code) {
  try { localStorage.setItem(KEPT, code); } catch { /* a kiosk that keeps nothing asks again */ }
}

// `say("states.safe")`, `say("reconciled", {listed: 42})`; a word that a language lacks is said in English.
export function say(key, values = {}) {
  const text = find(words, key) ?? find(english, key) ?? "";
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

function find(from, key) {
  const found = key.split(".").reduce((inner, name) => inner?.[name], from);
  return typeof found === "string" ? found : undefined;
}

export function count(number) {
  return new Intl.NumberFormat(language).format(number);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function bytes(number) {
  let unit = 0;
  while (number >= 1000 && unit < UNITS.length - 1) { number /= 1000; unit += 1; }
  const digits = unit > 2 && number < 100 ? 1 : 0;
  const format = { style: "unit", unit: UNITS[unit], unitDisplay: unit ? "short" : "long", maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, format).format(number);
}

export function time(moment) {
  return new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }).format(moment);
}
